"""The player: a spectrogram with its axes, the answers over it, and playback with a moving cursor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np
import soundfile

from NatureLM.app.spectrogram import Spectrogram, data_url, picture, ticks
from NatureLM.audio import stream_blocks
from NatureLM.models.answering import NOTHING_HEARD

PLAYED_RATE = 44_100
"""Hz of what a browser plays; above it nobody hears."""

LONGEST_WAV_SECONDS = 60.0
"""Longer ones are made MP3, which every browser plays."""


@dataclass(frozen=True)
class Span:
    """An answer's place over the spectrogram; its shade says how sure it is.

    Attributes
    ----------
    start_seconds, end_seconds : float
    label : str
    confidence, evidence : float or None
        In [0, 1].
    """

    start_seconds: float
    end_seconds: float
    label: str
    confidence: float | None = None
    evidence: float | None = None

    @property
    def sure(self) -> str:
        """Evidence, else confidence, in words."""
        if self.evidence is not None:
            return f", evidence {self.evidence:.2f}"
        return "" if self.confidence is None else f", confidence {self.confidence:.2f}"

    @property
    def opacity(self) -> float:
        """How dark it is drawn."""
        return shade(self.confidence, self.evidence)


def clock(seconds: float, *, whole: bool = False) -> str:
    """Return a time as people write it.

    Examples
    --------
    >>> clock(7.5), clock(65.0), clock(3725.0)
    ('7.5 s', '1:05', '1:02:05')
    """
    if seconds < 60 and not whole:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


FAINTEST = 0.25
"""Opacity of the least sure answer."""

SUREST = math.log(0.999 / 0.001)
"""Log-odds of the confidence that is drawn darkest: models are rarely unsure, the last hundredths count."""


def shade(confidence: float | None, evidence: float | None = None) -> float:
    """Return how opaque an answer is drawn, from .25 to 1.

    Evidence counts where there is any, else confidence: evenly in its log-odds from even chances to 0.999.

    Examples
    --------
    >>> [round(shade(confidence), 2) for confidence in (0.5, 0.9, 0.98, 0.999)]
    [0.25, 0.49, 0.67, 1.0]
    >>> shade(1.0, evidence=0.2)
    0.4
    """
    share = 0.0
    if evidence is not None:
        share = evidence
    elif confidence is not None:
        held = min(max(confidence, 0.5), 0.999)
        share = math.log(held / (1.0 - held)) / SUREST
    return FAINTEST + (1.0 - FAINTEST) * min(max(share, 0.0), 1.0)


def joined(spans: Sequence[Span]) -> list[Span]:
    """Return the spans with neighbours of one label as one, which is as sure as the surest of them."""
    runs: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start_seconds):
        before = runs[-1] if runs else None
        if before and before.label == span.label and span.start_seconds <= before.end_seconds + 1e-3:
            surest = max(before, span, key=lambda each: each.opacity)
            end = max(before.end_seconds, span.end_seconds)
            runs[-1] = replace(surest, start_seconds=before.start_seconds, end_seconds=end)
        else:
            runs.append(span)
    return runs


def write_playable(path: Path, folder: Path, longest_seconds: float = math.inf) -> Path:
    """Write a recording as a browser plays it, mono at 44.1 kHz; what can be read of a damaged one.

    Parameters
    ----------
    path, folder : Path
    longest_seconds : float
        Of a longer one its beginning is written, to about this length.

    Raises
    ------
    RecordingError
        It cannot be read at all.
    """
    from NatureLM.audio import probe

    info = probe(path)
    rate = (
        min(PLAYED_RATE, info.sample_rate)
        if info.sample_rate in (16000, 22050, 24000, 32000)
        else PLAYED_RATE
    )
    is_long = info.duration_seconds > LONGEST_WAV_SECONDS
    played = folder / f"play.{'mp3' if is_long else 'wav'}"
    options = {"format": "MP3"} if is_long else {"format": "WAV", "subtype": "PCM_16"}
    with soundfile.SoundFile(played, "w", samplerate=rate, channels=1, **options) as file:
        for block in stream_blocks(path, rate, "mix"):
            left = longest_seconds * rate - file.frames
            if left <= 0:
                break
            file.write(np.clip(block.samples[: math.ceil(min(left, len(block.samples))), 0], -1.0, 1.0))
    return played


def player_html(
    of: Spectrogram, name: str, played: Path, spans: Sequence[Span] = (), *, asked: str | None = None
) -> str:
    """Return the player of a recording.

    Parameters
    ----------
    of : Spectrogram
    name : str
        The recording's.
    played : Path
        What is played, in the upload folder.
    spans : sequence of Span
        Named over the picture, neighbours as one; below it, each is as dark as it is sure.
    asked : str, optional
        The question that they answer.
    """
    start, end = of.start_seconds, of.end_seconds
    length = max(end - start, 1e-6)
    top_khz = of.highest_hz / 1000.0
    times = "".join(
        f'<span style="left:{100 * (tick - start) / length:.2f}%">{_tick(tick, end)}</span>'
        for tick in ticks(start, end)
    )
    heights = "".join(
        f'<span style="bottom:{100 * tick / top_khz:.2f}%">{tick:g}</span>' for tick in ticks(0.0, top_khz, 7)
    )
    spans = [span for span in spans if span.start_seconds < end and span.end_seconds > start]
    labels = "".join(_label(span, start, end) for span in joined(spans))
    bars = "".join(_bar(span, start, end) for span in spans)
    told = ""
    if asked:
        told = f"<p>Over it, the answers to “{escape(asked)}”; the darker the bar below, the surer.</p>"
    return (
        f'<figure class="player" data-start="{start}" data-end="{end}">'
        f'<div class="player-plot"><div class="player-khz" aria-hidden="true"><b>kHz</b>{heights}</div>'
        f'<div class="player-picture"><img alt="Spectrogram of {escape(name)}, {clock(length)} long, 0 to '
        f'{top_khz:g} kHz" src="{data_url(picture(of))}" draggable="false">'
        f'<div class="player-spans">{labels}</div><div class="player-selection" hidden></div>'
        f'<div class="player-cursor" hidden></div></div>'
        f'<div class="player-lane">{bars}</div>'
        f'<div class="player-time" aria-hidden="true">{times}</div></div>'
        f'<audio controls preload="metadata" src="gradio_api/file={quote(played.as_posix())}" '
        f'aria-label="Playback of {escape(name)}"></audio>'
        f"<figcaption><b>{escape(name)}</b> Drag over the picture to choose a part; click to jump there."
        f"{told}</figcaption></figure>"
    )


def _tick(seconds: float, last: float) -> str:
    return clock(seconds, whole=True) if last >= 60 else f"{seconds:g} s"


def _label(span: Span, start: float, end: float) -> str:
    kind = "player-span none" if span.label == NOTHING_HEARD else "player-span"
    return f'<div class="{kind}" {_place(span, start, end)}><span>{escape(span.label)}</span></div>'


def _bar(span: Span, start: float, end: float) -> str:
    return f"<i {_place(span, start, end, f'opacity:{span.opacity:.2f}')}></i>"


def _place(span: Span, start: float, end: float, style: str = "") -> str:
    """Return where a span lies, and what is read where the mouse rests on it."""
    first, last = max(span.start_seconds, start), min(span.end_seconds, end)
    left, width = 100 * (first - start) / (end - start), 100 * max(last - first, 0.0) / (end - start)
    title = f"{escape(span.label)}: {clock(span.start_seconds)} to {clock(span.end_seconds)}{span.sure}"
    return f'style="left:{left:.2f}%;width:{width:.2f}%;{style}" title="{title}"'
