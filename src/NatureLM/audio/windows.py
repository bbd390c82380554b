"""Cut recordings into windows of equal length, while they are decoded.

Windows are ``[k * hop, k * hop + length)`` in seconds. The part that remains at the end is a window of its
own if it brings at least 0.5 s that no window before it holds; a recording shorter than that is one window.
Which windows there are follows from what was decoded, never from what a header says, so no window ends behind
its recording.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from NatureLM.audio.decoding import PathLike
from NatureLM.audio.recording import (
    BLOCK_SECONDS,
    USED,
    Channel,
    StreamBlock,
    check_sample_rate,
    choose_channels,
    finite_part,
    parse_channel,
    resample_blocks,
    stream_blocks,
)
from NatureLM.errors import ConfigError, RecordingError

MIN_NEW_SECONDS = Fraction(1, 2)
"""Least new sound worth a last, partial window. Models need no more than this to hear anything."""

TOLERANCE_SECONDS = Fraction(1, 1_000_000)
"""Decimal seconds are inexact; a window may miss this much of its length (less than a sample at 384 kHz)."""


@dataclass(frozen=True)
class Window:
    """A stretch of a recording, in seconds from its start."""

    start_seconds: float
    end_seconds: float


class _Grid:
    """The windows of one length and hop, in exact arithmetic: no drift over any number of hops.

    Seconds are those of the recording, of which slowed sound brings fewer into a window.
    """

    def __init__(
        self, window_length_seconds: float, hop_length_seconds: float, time_expansion: float = 1.0
    ) -> None:
        self.time_expansion = _positive("time expansion", time_expansion, "factor")
        self.length = _positive("window length", window_length_seconds) / self.time_expansion
        self.hop = _positive("hop length", hop_length_seconds) / self.time_expansion
        self.least_new = MIN_NEW_SECONDS / self.time_expansion

    def end(self, index: int) -> Fraction:
        return index * self.hop + self.length

    def window(self, index: int, duration: Fraction) -> Window | None:
        """Window `index` of a recording of this duration; None if it has no such window, nor later ones."""
        start = index * self.hop
        end = start + self.length
        if end <= duration:
            return Window(float(start), float(end))
        if end <= duration + TOLERANCE_SECONDS:
            return Window(float(start), float(duration))
        if index == 0:
            return Window(0.0, float(duration))
        heard_until = max(start, self.end(index - 1))
        if duration - heard_until >= self.least_new - TOLERANCE_SECONDS:
            return Window(float(start), float(duration))
        return None


def _positive(name: str, value: float, unit: str = "number of seconds") -> Fraction:
    if isinstance(value, bool) or not math.isfinite(value) or value <= 0:
        raise ConfigError(f"{name} is {value!r}; give a positive {unit}.")
    return _exactly(value)


def _exactly(seconds: float) -> Fraction:
    """Take the number as a person wrote it: 0.1 is one tenth, not the nearest binary fraction."""
    return Fraction(str(float(seconds)))


def plan_windows(
    duration_seconds: float, window_length_seconds: float, hop_length_seconds: float
) -> list[Window]:
    """List the windows of a recording of known duration.

    Parameters
    ----------
    duration_seconds : float
    window_length_seconds : float
    hop_length_seconds : float
        From the start of a window to the start of the next; shorter than a window gives overlap, longer
        leaves gaps.

    Returns
    -------
    list of Window

    Raises
    ------
    ConfigError
        If window or hop length is not a positive number.
    RecordingError
        If the duration is no positive number.

    Examples
    --------
    >>> [(w.start_seconds, w.end_seconds) for w in plan_windows(25.0, 10.0, 10.0)]
    [(0.0, 10.0), (10.0, 20.0), (20.0, 25.0)]
    """
    grid = _Grid(window_length_seconds, hop_length_seconds)
    if not 0 < duration_seconds < math.inf:
        raise RecordingError(
            f"the recording's duration is {duration_seconds!r}; give a positive number of seconds."
        )
    duration = _exactly(duration_seconds)
    windows: list[Window] = []
    while window := grid.window(len(windows), duration):
        windows.append(window)
    return windows


def long_enough(waveform: np.ndarray, sample_rate: float) -> np.ndarray:
    """Return a waveform [samples] that any model can hear: silence follows one of less than 0.5 s."""
    missing = math.ceil(MIN_NEW_SECONDS * _exactly(sample_rate)) - len(waveform)
    return np.pad(waveform, (0, missing)) if missing > 0 else waveform


def recording_windows(
    path: PathLike,
    sample_rate: int,
    window_length_seconds: float,
    hop_length_seconds: float,
    channel: Channel = "mix",
    time_expansion: float = 1.0,
) -> Iterator[tuple[Window, str, np.ndarray]]:
    """Stream the windows of a recording, in one pass and at constant memory.

    Parameters
    ----------
    path : path
    sample_rate : int
        Of the result, in Hz.
    window_length_seconds, hop_length_seconds : float
        See `plan_windows`.
    channel : {"mix", "each"} or int, default "mix"
        Mean of all channels, each channel on its own, or one channel by its number from 1.
    time_expansion : float, default 1.0
        Factor by which the sound is slowed, and so lowered in pitch: the waveforms, and the lengths of
        windows and hops, are those of the slowed sound.

    Yields
    ------
    window : Window
        As `plan_windows` gives them for the decoded duration; always in seconds of the recording itself.
    label : str
        "mix", or the channel's number: "1", "2" ... With "each", a window comes once per channel.
    waveform : np.ndarray
        Float32 (samples,), not clipped, the caller's own. A full window has ``round(window_length_seconds *
        sample_rate)`` samples and begins at sample ``round(start * time_expansion * sample_rate)`` of the
        resampled recording; a partial window is as long as what is left.

    Raises
    ------
    ConfigError
        At once, if an option makes no sense.
    RecordingError
        On the first window, if the recording cannot be read or lacks the channel. After the last one, if the
        recording is damaged (cut off, NaN, infinity): the windows of the sound before the damage have been
        yielded and are valid; count the recording as failed and keep them.
    """
    channel = parse_channel(channel)
    grid = _Grid(window_length_seconds, hop_length_seconds, time_expansion)
    rate = _expanded_rate(grid, sample_rate)
    blocks = stream_blocks(path, rate, channel, _block_seconds(grid))
    return (
        (window, str(column + 1) if channel == "each" else str(channel), np.array(samples[:, column]))
        for window, samples in _cut(blocks, grid, rate)
        for column in range(samples.shape[1])
    )


def array_windows(
    array: np.ndarray,
    input_sample_rate: float,
    sample_rate: int,
    window_length_seconds: float,
    hop_length_seconds: float,
    time_expansion: float = 1.0,
) -> Iterator[tuple[Window, np.ndarray]]:
    """Stream the windows of a waveform in memory, mixed to mono; see `recording_windows`.

    Parameters
    ----------
    array : np.ndarray
        (samples,), or two-dimensional, where the shorter axis is the channels: (channels, samples) or
        (samples, channels); (channels, samples) if both are equal. Floats are taken as they are; signed
        integers are divided by their full scale (int16: 32768), unsigned ones first centred.
    input_sample_rate : float
        In Hz.
    sample_rate, window_length_seconds, hop_length_seconds, time_expansion
        See `recording_windows`.

    Yields
    ------
    window : Window
    waveform : np.ndarray
        Float32 (samples,).

    Raises
    ------
    ConfigError
        At once, if an option makes no sense.
    RecordingError
        At once, if the array has another shape or type, or is empty; after the windows of the sound before a
        NaN or infinity.
    """
    check_sample_rate("input sample rate", input_sample_rate)
    grid = _Grid(window_length_seconds, hop_length_seconds, time_expansion)
    rate = _expanded_rate(grid, sample_rate)
    frames = _frames_first(np.asarray(array))
    pieces = _array_blocks(frames, input_sample_rate, _block_seconds(grid))
    blocks = resample_blocks(pieces, input_sample_rate, rate)
    return ((window, np.array(samples[:, 0])) for window, samples in _cut(blocks, grid, rate))


def _frames_first(array: np.ndarray) -> np.ndarray:
    if array.ndim not in (1, 2) or array.size == 0:
        raise RecordingError(
            f"the array has shape {array.shape}; give (samples,), (channels, samples) or "
            "(samples, channels), with at least one sample."
        )
    if array.dtype.kind not in "fiu" or (array.dtype.kind in "iu" and array.dtype.itemsize > 4):
        raise RecordingError(
            f"the array holds {array.dtype}, whose full scale is unknown; give floats from -1 to 1, or "
            "integers of 8, 16 or 32 bits."
        )
    if array.ndim == 1:
        return array[:, None]
    return array if array.shape[0] > array.shape[1] else array.T


def _array_blocks(frames: np.ndarray, sample_rate: float, seconds: float) -> Iterator[np.ndarray]:
    """Mono float32 (frames, 1) of an array (frames, channels), some seconds at a time."""
    step = max(1, int(sample_rate * seconds))
    for start in range(0, len(frames), step):
        block = frames[start : start + step]
        if block.dtype.kind in "iu":
            half_scale = 2.0 ** (8 * block.dtype.itemsize - 1)
            block = (block.astype(np.float64) - (half_scale if block.dtype.kind == "u" else 0.0)) / half_scale
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which finite_part names
            block = np.ascontiguousarray(block, dtype=np.float32)
        yield from finite_part(choose_channels(block, "mix"), start, sample_rate, "the array")


def _expanded_rate(grid: _Grid, sample_rate: float) -> float:
    """Return the rate at which the recording has the samples that slowed sound has at `sample_rate`."""
    check_sample_rate("sample rate", sample_rate)
    rate = _exactly(sample_rate) * grid.time_expansion
    for name, seconds in (("window length", grid.length), ("hop length", grid.hop)):
        if seconds * rate < 1:
            raise ConfigError(
                f"{name} is {float(seconds * grid.time_expansion)!r} s, less than a sample at "
                f"{sample_rate} Hz; give a longer one."
            )
    return float(rate)


def _block_seconds(grid: _Grid) -> float:
    """Return the seconds to decode at a time, so that slowed sound takes no more memory."""
    return BLOCK_SECONDS / max(1.0, float(grid.time_expansion))


def _cut(
    blocks: Iterator[StreamBlock], grid: _Grid, sample_rate: float
) -> Iterator[tuple[Window, np.ndarray]]:
    """Windows with their samples (samples, channels), which are only valid until the next."""
    damage: str | None = None
    rate = _exactly(sample_rate)
    full = round(grid.length * rate)
    kept = _Kept()
    index, start, decoded = 0, 0, Fraction(0)
    for block in blocks:
        kept.append(block.samples)
        decoded, damage = _exactly(block.decoded_seconds), block.damage
        while decoded >= grid.end(index) and kept.stop >= start + full:
            window = grid.window(index, decoded)
            assert window is not None  # its end has been decoded
            yield window, kept.get(start, start + full)
            index += 1
            start = round(index * grid.hop * rate)
            kept.forget(start)
    while window := grid.window(index, decoded):
        samples = kept.get(start, start + full)
        missing = full - len(samples)
        if grid.end(index) <= decoded + TOLERANCE_SECONDS and missing:
            samples = np.pad(samples, ((0, missing), (0, 0)))  # a sample or two that rounding took
        yield window, samples
        index += 1
        start = round(index * grid.hop * rate)
    if damage is not None:
        raise RecordingError(f"{damage} {USED}" if index else damage)


class _Kept:
    """The samples of a stream, (samples, channels), that later windows still need."""

    def __init__(self) -> None:
        self.stop = 0
        self._wanted = 0
        self._store = np.empty((0, 0), dtype=np.float32)
        self._first = self._last = 0  # rows of the store in use; the last one is sample `stop` - 1

    def append(self, samples: np.ndarray) -> None:
        count, live = len(samples), self._last - self._first
        if self._store.shape[1] != samples.shape[1]:  # the first samples, of which there may be none
            self._store = np.empty((0, samples.shape[1]), dtype=np.float32)
        if self._last + count > len(self._store):
            remaining = self._store[self._first : self._last].reshape(live, samples.shape[1])
            if 2 * (live + count) > len(self._store):
                self._store = np.empty((2 * (live + count), samples.shape[1]), dtype=np.float32)
            self._store[:live] = remaining
            self._first, self._last = 0, live
        self._store[self._last : self._last + count] = samples
        self._last += count
        self.stop += count
        self.forget(self._wanted)

    def forget(self, position: int) -> None:
        """Let go of all samples before `position` of the stream, those to come included."""
        self._wanted = position
        self._first = max(self._first, self._last - max(0, self.stop - position))

    def get(self, start: int, stop: int) -> np.ndarray:
        """Return samples `start` to `stop` of the stream, fewer at its end."""
        origin = self.stop - self._last
        return self._store[start - origin : min(stop, self.stop) - origin]
