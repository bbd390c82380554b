"""The player: a spectrogram with its axes, the answers over it, and playback with a moving cursor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

import numpy as np
import soundfile

from NatureLM.app.spectrogram import Spectrogram, data_url, picture, ticks
from NatureLM.audio import stream_blocks

PLAYED_RATE = 44_100
"""Hz of what a browser plays; above it nobody hears."""

LONGEST_WAV_SECONDS = 60.0
"""Longer ones are made MP3, which every browser plays."""


@dataclass(frozen=True)
class Span:
    """An answer's place over the spectrogram; ``confidence`` in [0, 1] is its shade."""

    start_seconds: float
    end_seconds: float
    label: str
    confidence: float | None = None


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


def shade(confidence: float | None) -> float:
    """Return how opaque an answer of this confidence is drawn, from .35 to 1."""
    return 0.35 + 0.65 * (0.0 if confidence is None else min(max(confidence, 0.0), 1.0))


def write_playable(path: Path, folder: Path) -> Path:
    """Write a recording as a browser plays it, mono at 44.1 kHz; what can be read of a damaged one.

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
            file.write(np.clip(block.samples[:, 0], -1.0, 1.0))
    return played


def player_html(
    of: Spectrogram, name: str, played: Path | None, spans: Sequence[Span] = (), *, selectable: bool = True
) -> str:
    """Return the player of a recording.

    Parameters
    ----------
    of : Spectrogram
    name : str
        The recording's.
    played : Path or None
        What is played, in the upload folder.
    spans : sequence of Span
    selectable : bool
        Whether dragging over it sets start and end.
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
    over = "".join(_span(span, start, end) for span in spans)
    source = "" if played is None else f' src="gradio_api/file={quote(played.as_posix())}"'
    audio = (
        ""
        if played is None
        else (f'<audio controls preload="metadata"{source} aria-label="Playback of {escape(name)}"></audio>')
    )
    hint = "Drag over the picture to choose a part; click to jump there." if selectable else ""
    return (
        f'<figure class="player" data-start="{start}" data-end="{end}" data-selectable="{int(selectable)}">'
        f'<div class="player-plot"><div class="player-khz" aria-hidden="true"><b>kHz</b>{heights}</div>'
        f'<div class="player-picture"><img alt="Spectrogram of {escape(name)}, {clock(length)} long, 0 to '
        f'{top_khz:g} kHz" src="{data_url(picture(of))}" draggable="false">'
        f'<div class="player-spans">{over}</div><div class="player-selection" hidden></div>'
        f'<div class="player-cursor" hidden></div></div>'
        f'<div class="player-time" aria-hidden="true">{times}</div></div>{audio}'
        f"<figcaption><b>{escape(name)}</b> {hint}</figcaption></figure>"
    )


def _tick(seconds: float, last: float) -> str:
    return clock(seconds, whole=True) if last >= 60 else f"{seconds:g} s"


def _span(span: Span, start: float, end: float) -> str:
    first, last = max(span.start_seconds, start), min(span.end_seconds, end)
    if last <= first:
        return ""
    length = end - start
    sure = "" if span.confidence is None else f", confidence {span.confidence:.2f}"
    label = escape(span.label)
    return (
        f'<div class="player-span" style="left:{100 * (first - start) / length:.2f}%;'
        f'width:{100 * (last - first) / length:.2f}%" title="{label}: {first:g} to {last:g} s{sure}">'
        f'<span style="background:rgba(6,78,59,{shade(span.confidence):.2f})">{label}</span></div>'
    )
