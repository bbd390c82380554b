"""Spectrograms of a recording or a part of it: decibels over time and frequency, as a picture.

A long recording is decoded once, piece by piece; what is kept is a column for each pixel of the picture.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from NatureLM.audio import probe, stream_blocks

COLUMNS = 900
"""Widest picture in pixels."""

ROWS = 257
"""Frequencies from 0 Hz to half the sample rate: a transform of 512 samples."""

SHORTEST_HOP = 32
"""Least distance from one spectrum to the next, in samples."""

HIGHEST_HZ = 24_000.0
"""Highest frequency shown unless asked for more; the bundled model hears no higher."""

RANGE_DB = 70.0
"""Decibels from the darkest to the brightest colour."""

VIRIDIS = (
    *(0x440154, 0x482475, 0x414487, 0x355F8D, 0x2A788E, 0x21918C),
    *(0x22A884, 0x44BF70, 0x7AD151, 0xBDDF26, 0xFDE725),
)
"""Matplotlib's viridis at eleven even steps (CC0): its brightness grows evenly, also for the colour-blind."""


@dataclass(frozen=True)
class Spectrogram:
    """Levels over time and frequency.

    Attributes
    ----------
    levels_db : float32 [frequencies, columns]
        Power in dB below that of a sine of full scale, from 0 Hz upwards.
    start_seconds, end_seconds : float
    highest_hz : float
        Frequency of the last row.
    """

    levels_db: npt.NDArray[np.float32]
    start_seconds: float
    end_seconds: float
    highest_hz: float


def spectrogram(
    path: Path,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    *,
    columns: int = COLUMNS,
    highest_hz: float = HIGHEST_HZ,
) -> Spectrogram:
    """Compute the spectrogram of a recording's part (Hann windows of 512 samples; mean of the channels).

    Parameters
    ----------
    path : Path
    start_seconds, end_seconds : float
        To the end where ``end_seconds`` is None.
    columns : int
        Most columns; each is the strongest of the spectra that fall into it, so that short calls are seen.
    highest_hz : float

    Raises
    ------
    RecordingError
        The recording cannot be read.
    """
    info = probe(path)
    rate = min(float(info.sample_rate), 2.0 * highest_hz)
    end = info.duration_seconds if end_seconds is None else min(end_seconds, info.duration_seconds)
    length = max(end - start_seconds, 1.0 / rate)
    size = 2 * (ROWS - 1)
    count = max(1, min(columns, round(length * rate / (2 * SHORTEST_HOP))))
    power = np.zeros((ROWS, count), dtype=np.float32)
    # About four spectra a column, but never further apart than that all sound is in one.
    hop = min(max(SHORTEST_HOP, round(length * rate / (4 * count))), size)
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    first, last = round(start_seconds * rate), round(end * rate)
    # Half a window of silence before and behind, so that spectra stand for the sound at their middles.
    silence = np.zeros(size // 2, dtype=np.float32)
    rest, position = silence, -(size // 2)
    done = 0
    for block in stream_blocks(path, rate, "mix"):
        samples = block.samples[max(first - done, 0) : max(last - done, 0), 0]
        done += len(block.samples)
        rest = np.concatenate([rest, samples])
        frames = max(0, (len(rest) - size) // hop + 1)
        position = _add(power, rest, window, hop, frames, position, length * rate)
        rest = rest[frames * hop :]
        if done >= last:
            break
    rest = np.pad(np.concatenate([rest, silence]), (0, size))
    _add(power, rest, window, hop, (len(rest) - size) // hop, position, length * rate)
    full_scale = (window.sum() / 2.0) ** 2
    levels = 10.0 * np.log10(np.maximum(power / full_scale, 1e-12))
    return Spectrogram(levels.astype(np.float32), start_seconds, max(end, start_seconds), rate / 2.0)


def _add(
    power: npt.NDArray[np.float32],
    samples: npt.NDArray[np.float32],
    window: npt.NDArray[np.float32],
    hop: int,
    frames: int,
    position: int,
    total: float,
) -> int:
    """Work the spectra of frames into their columns; return the position behind them, in samples."""
    if not frames:
        return position
    size, count = len(window), power.shape[1]
    cut = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop][:frames]
    spectra = (np.abs(np.fft.rfft(cut * window, axis=1)) ** 2).astype(np.float32)
    middles = position + hop * np.arange(frames) + size / 2
    places = np.clip((middles / total * count).astype(int), 0, count - 1)
    for place, spectrum in zip(places, spectra, strict=True):
        np.maximum(power[:, place], spectrum, out=power[:, place])
    return position + frames * hop


def picture(of: Spectrogram, *, height: int = ROWS) -> bytes:
    """Return a PNG: low frequencies below, colours from viridis over the upper 70 dB of what is there."""
    from PIL import Image

    levels = of.levels_db
    filled = levels[:, levels.max(axis=0) > -119.0]
    top = float(np.percentile(filled, 99.8)) if filled.size else 0.0
    floor = max(float(np.percentile(filled, 5)) if filled.size else -RANGE_DB, top - RANGE_DB)
    scaled = np.clip((levels - floor) / max(top - floor, 1.0), 0.0, 1.0)
    image = Image.fromarray(np.uint8(scaled[::-1] * 255), mode="L")
    palette = image.convert("P")
    palette.putpalette(_colours().tobytes())
    if height != image.height:
        palette = palette.resize((image.width, height))
    written = io.BytesIO()
    palette.save(written, "PNG", optimize=True)
    return written.getvalue()


def _colours() -> npt.NDArray[np.uint8]:
    """Return viridis, [256, 3]."""
    steps = np.linspace(0.0, 1.0, len(VIRIDIS))
    channels = [[colour >> shift & 255 for colour in VIRIDIS] for shift in (16, 8, 0)]
    return np.stack(
        [np.interp(np.linspace(0.0, 1.0, 256), steps, values) for values in channels], axis=1
    ).astype(np.uint8)


def data_url(png: bytes) -> str:
    """Return a picture as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def ticks(first: float, last: float, most: int = 8) -> list[float]:
    """Return round numbers from ``first`` to ``last``, at most ``most`` of them.

    Examples
    --------
    >>> ticks(0.0, 10.0, 6)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    span = max(last - first, 1e-6)
    steps = [base * 10.0**power for power in range(-3, 6) for base in (1, 2, 5)]
    steps += [15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0]
    step = next(step for step in sorted(set(steps)) if span / step + 1 <= most)
    start = int(np.ceil(first / step - 1e-9))
    return [round(place * step, 6) for place in range(start, int(np.floor(last / step + 1e-9)) + 1)]
