"""Recordings: find them, ask what they hold, and stream them resampled at constant memory.

Everything that libsndfile reads is read (WAV, FLAC, MP3, Ogg, AIFF, ...), at any sample rate and with any
number of channels. What cannot be read is a `RecordingError` whose message names the file, what was found
and what to do. A file that is damaged further on yields what it holds before the damage, and then says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soxr

from NatureLM.audio.decoding import PathLike, SoundReader, display_path
from NatureLM.audio.finding import find_recordings
from NatureLM.errors import ConfigError, RecordingError

__all__ = [
    "Channel",
    "RecordingInfo",
    "StreamBlock",
    "find_recordings",
    "parse_channel",
    "probe",
    "stream",
    "stream_blocks",
    "ultrasonic_warning",
]

Channel = Literal["mix", "each"] | int
"""Mean of all channels, every channel on its own, or one channel by its number from 1."""

BLOCK_SECONDS = 1.0
MOST_SAMPLES_PER_BLOCK = 2**20
"""Of one block before resampling, over all channels: 4 MiB, whatever rate a header states."""

NOTICEABLE_SECONDS = 0.1
"""Shorter losses at the end of a file are not worth a word."""

USED = "The sound before the damage is used."
"""Said of a damaged recording where that is so."""

ULTRASONIC_SAMPLE_RATE = 96_000
"""Hz; recorders for audible sound stop here, bat detectors start above (192 kHz and up)."""


@dataclass(frozen=True)
class RecordingInfo:
    """What a recording's header says.

    Attributes
    ----------
    path : Path
    sample_rate : int
        In Hz.
    channels : int
    frames : int
        Samples per channel. An estimate in MP3 files without a frame count, and more than can be decoded
        in damaged FLAC, MP3 and Ogg files: only decoding tells.
    duration_seconds : float
        ``frames / sample_rate``.
    """

    path: Path
    sample_rate: int
    channels: int
    frames: int
    duration_seconds: float


@dataclass(frozen=True)
class StreamBlock:
    """A stretch of resampled sound.

    Attributes
    ----------
    samples : np.ndarray
        Float32 (samples, channels); follows the block before without gap or overlap, and may be empty.
    decoded_seconds : float
        Sound decoded up to now, in seconds of the recording; in the last block its true duration.
    damage : str or None
        In the last block of a recording that goes on, but cannot be read any further: what is wrong with it.
    """

    samples: np.ndarray
    decoded_seconds: float
    damage: str | None = None


def parse_channel(value: str | int) -> Channel:
    """Read a channel option: ``"mix"``, ``"each"``, or a number from 1 (``2`` or ``"2"``).

    Raises
    ------
    ConfigError
        For anything else.
    """
    if value == "mix" or value == "each":
        return value  # type: ignore[return-value]  # narrowed by value, not by type
    try:
        number = int(value) if not isinstance(value, (bool, float)) else 0
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        raise ConfigError(f"channel is {value!r}; give 'mix', 'each' or a channel's number, counted from 1.")
    return number


def check_sample_rate(name: str, sample_rate: float) -> None:
    """Raise `ConfigError` unless the rate is a positive, finite number of Hz."""
    if not 0 < sample_rate < float("inf"):
        raise ConfigError(f"{name} is {sample_rate!r}; give a positive number of Hz.")


def probe(path: PathLike) -> RecordingInfo:
    """Ask a recording's header for its sample rate, channels and length.

    Where the header states no length, the file is decoded once to count.

    Raises
    ------
    RecordingError
        If the file is missing, not readable, not audio, or holds no samples.

    Examples
    --------
    >>> probe("assets/dawn.wav").sample_rate  # doctest: +SKIP
    48000
    """
    with SoundReader(path) as reader:
        frames = reader.frames
        if frames is None:
            buffer = _buffer(reader, BLOCK_SECONDS)
            frames = sum(iter(lambda: reader.read_into(buffer), 0))
        if frames == 0:
            raise _without_samples(reader.path)
        return RecordingInfo(
            reader.path, reader.sample_rate, reader.channels, frames, frames / reader.sample_rate
        )


def stream(
    path: PathLike, sample_rate: float, channel: Channel = "mix", block_seconds: float = BLOCK_SECONDS
) -> Iterator[np.ndarray]:
    """Decode a recording piece by piece, as mono at another sample rate.

    The pieces joined together are bit for bit what resampling the whole recording at once gives (soxr, HQ).

    Parameters
    ----------
    path : path
    sample_rate : float
        Of the result, in Hz.
    channel : {"mix"} or int, default "mix"
        Mean of all channels, or one channel by its number from 1.
    block_seconds : float, default 1.0
        Sound decoded at a time.

    Yields
    ------
    np.ndarray
        Float32 (samples,), not clipped.

    Raises
    ------
    ConfigError
        If an option makes no sense.
    RecordingError
        On the first piece, if the file cannot be read or has no such channel; after the last one before the
        damage, if it is damaged further on.
    """
    if channel == "each":
        raise ConfigError("channel 'each' gives several signals; use stream_blocks or recording_windows.")
    return _mono(stream_blocks(path, sample_rate, channel, block_seconds))


def _mono(blocks: Iterator[StreamBlock]) -> Iterator[np.ndarray]:
    for block in blocks:
        if len(block.samples):
            yield block.samples[:, 0]
        if block.damage is not None:
            raise RecordingError(block.damage)


def stream_blocks(
    path: PathLike, sample_rate: float, channel: Channel = "mix", block_seconds: float = BLOCK_SECONDS
) -> Iterator[StreamBlock]:
    """Decode a recording piece by piece at another sample rate, one column per channel asked for.

    Parameters are those of `stream`; with ``channel="each"`` there is a column for every channel. Damage
    further on ends the recording, and the last block names it.

    Raises
    ------
    ConfigError
        At once, if an option makes no sense.
    RecordingError
        On the first piece, if the file cannot be read or has no such channel.
    """
    channel = parse_channel(channel)
    check_sample_rate("sample rate", sample_rate)
    if not 0 < block_seconds < float("inf"):
        raise ConfigError(f"block_seconds is {block_seconds!r}; give a positive number of seconds.")
    return _stream_blocks(path, sample_rate, channel, block_seconds)


def _stream_blocks(
    path: PathLike, sample_rate: float, channel: Channel, block_seconds: float
) -> Iterator[StreamBlock]:
    with SoundReader(path) as reader:
        if isinstance(channel, int) and channel > reader.channels:
            has = "1 channel" if reader.channels == 1 else f"{reader.channels} channels"
            raise RecordingError(
                f"{display_path(reader.path)} has {has}, so there is no channel {channel}; "
                f"choose a number up to {reader.channels}, 'mix' or 'each'."
            )
        yield from resample_blocks(_decoded(reader, channel, block_seconds), reader.sample_rate, sample_rate)


def _without_samples(path: Path) -> RecordingError:
    return RecordingError(
        f"{display_path(path)} holds no sound (0 samples can be decoded); leave it out or replace it by an "
        "intact copy."
    )


def _decoded(reader: SoundReader, channel: Channel, block_seconds: float) -> Iterator[np.ndarray]:
    """Blocks of float32 (frames, channels), each overwritten by the next; RecordingError at damage."""
    buffer = _buffer(reader, block_seconds)
    position = 0
    while count := reader.read_into(buffer):
        block = choose_channels(buffer[:count], channel)
        yield from finite_part(block, position, reader.sample_rate, display_path(reader.path))
        position += count
    if position == 0:
        raise _without_samples(reader.path)
    _check_complete(reader, position / reader.sample_rate)


def _buffer(reader: SoundReader, seconds: float) -> np.ndarray:
    frames = min(int(reader.sample_rate * seconds), MOST_SAMPLES_PER_BLOCK // reader.channels)
    return np.empty((max(frames, 1), reader.channels), dtype=np.float32)


def choose_channels(frames: np.ndarray, channel: Channel) -> np.ndarray:
    """Columns of float32 (frames, channels) that `channel` asks for, as (frames, 1) unless it is "each"."""
    if channel == "each" or frames.shape[1] == 1:
        return frames
    if isinstance(channel, int):
        return np.ascontiguousarray(frames[:, channel - 1 : channel])
    total = frames[:, 0].copy()
    for column in range(1, frames.shape[1]):  # many times faster than mean(axis=1) over a few channels
        total += frames[:, column]
    total /= np.float32(frames.shape[1])
    return total[:, None]


def finite_part(block: np.ndarray, position: int, sample_rate: float, name: str) -> Iterator[np.ndarray]:
    """Yield a block (frames, channels) that begins at frame `position`, up to its first NaN or infinity.

    Raises
    ------
    RecordingError
        Behind that part, if there is such a sample.
    """
    finite = np.isfinite(block)
    if finite.all():
        yield block
        return
    row, column = np.argwhere(~finite)[0]
    if row:
        yield block[:row]
    raise RecordingError(
        f"{name} is damaged: the sample at {(position + row) / sample_rate:.3f} s is {block[row, column]}, "
        "not a number that sound can have. Export it again, or cut the damaged part away."
    )


def resample_blocks(
    blocks: Iterable[np.ndarray], input_sample_rate: float, sample_rate: float
) -> Iterator[StreamBlock]:
    """Resample consecutive float32 blocks (frames, channels) (soxr, HQ).

    A RecordingError of `blocks` ends them like their end: what the resampler still holds is sound from before
    the damage. The last block names it; without any block it is raised.
    """
    resampler: soxr.ResampleStream | None = None
    decoded = channels = 0
    damage: RecordingError | None = None

    def up_to_damage() -> Iterator[np.ndarray]:
        nonlocal damage
        try:
            yield from blocks
        except RecordingError as error:
            damage = error

    for block in up_to_damage():
        decoded += len(block)
        channels = block.shape[1]
        if input_sample_rate == sample_rate:
            samples = block.copy()
        else:
            if resampler is None:
                resampler = soxr.ResampleStream(input_sample_rate, sample_rate, channels, dtype="float32")
            samples = resampler.resample_chunk(block)
        yield StreamBlock(samples, decoded / input_sample_rate)
    if damage is not None and decoded == 0:
        raise damage
    rest = np.empty((0, channels), dtype=np.float32)
    if resampler is not None:
        rest = resampler.resample_chunk(rest, last=True)
    yield StreamBlock(rest, decoded / input_sample_rate, None if damage is None else str(damage))


def _check_complete(reader: SoundReader, decoded_seconds: float) -> None:
    name = display_path(reader.path)
    promised = reader.promised_frames
    expected = None if promised is None else promised / reader.sample_rate
    if expected is not None and expected - decoded_seconds >= NOTICEABLE_SECONDS:
        raise RecordingError(
            f"{name} is cut off or damaged: {decoded_seconds:.1f} s of the expected {expected:.1f} s could "
            "be decoded; replace it by an intact copy to have the rest."
        )
    if reader.fault is not None:
        raise RecordingError(
            f"{name} is damaged behind {decoded_seconds:.1f} s ({reader.fault}); replace it by an "
            "intact copy to have the rest."
        )
    unclaimed_seconds = reader.unclaimed_frames / reader.sample_rate
    if unclaimed_seconds >= NOTICEABLE_SECONDS:
        raise RecordingError(
            f"{name} is damaged behind {decoded_seconds:.1f} s: its header states no more, but "
            f"{unclaimed_seconds:.1f} s follow, sound or remains of other files; if they are sound, have the "
            "header corrected to have the rest."
        )


def ultrasonic_warning(
    info: RecordingInfo, model_sample_rate: float, time_expansion: float = 1.0
) -> str | None:
    """One sentence for a recording above 96 kHz, to be said of the first in a run; None for all others.

    Parameters
    ----------
    info : RecordingInfo
    model_sample_rate : float
        In Hz; the model hears up to half of it, its Nyquist frequency.
    time_expansion : float, default 1.0
        Factor by which the recording is slowed before the model hears it.
    """
    heard_rate = model_sample_rate * time_expansion
    if info.sample_rate <= max(ULTRASONIC_SAMPLE_RATE, heard_rate):
        return None
    slowed = "" if time_expansion == 1.0 else f" (slowed {time_expansion:g} times)"
    enough = math.ceil(info.sample_rate / model_sample_rate)
    return (
        f"{display_path(info.path)} is sampled at {info.sample_rate / 1000:g} kHz, but the model hears only "
        f"up to {heard_rate / 2000:g} kHz{slowed}: ultrasonic calls go unheard, and the answer None means "
        f"none of the classes that the model knows. --time-expansion {enough} slows them until all is heard "
        "(said once for all such recordings)."
    )
