"""A part of a recording, decoded whole: what a conversation is about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from NatureLM.audio.decoding import display_path
from NatureLM.audio.recording import USED, Channel, stream_blocks
from NatureLM.audio.windows import MIN_NEW_SECONDS, long_enough
from NatureLM.errors import ConfigError, RecordingError


def part_of_recording(
    path: Path,
    sample_rate: int,
    channel: Channel,
    start_seconds: float,
    end_seconds: float | None,
    longest: float,
    time_expansion: float = 1.0,
    warn: Callable[[str], object] | None = None,
) -> npt.NDArray[np.float32]:
    """Decode a part of a recording, at constant memory wherever it begins.

    Parameters
    ----------
    path : Path
    sample_rate : int
        Of the result, in Hz.
    channel : "mix" or int
    start_seconds, end_seconds : float
        The part; to the end where ``end_seconds`` is None.
    longest : float
        Most seconds that the part may have, of the slowed sound.
    time_expansion : float, default 1.0
        Factor by which the sound is slowed; the part's bounds are seconds of the recording.
    warn : callable, optional
        Told what is wrong with a recording whose sound before its damage is used.

    Returns
    -------
    float32 [samples]
        Of a whole recording below half a second, with silence after it up to that.

    Raises
    ------
    ConfigError
        If the part is longer, or its bounds make no sense.
    RecordingError
        If the recording cannot be read, or has less than half a second there, being longer.
    """
    rate = sample_rate * time_expansion
    first = round(start_seconds * rate)
    last = None if end_seconds is None else round(end_seconds * rate)
    if first < 0 or (last is not None and last <= first):
        raise ConfigError(
            f"The part from {start_seconds:g} to {end_seconds} s is empty; end_seconds must come after "
            "start_seconds, which is 0 or more."
        )
    kept: list[npt.NDArray[np.float32]] = []
    done = count = 0
    damage: str | None = None
    for block in stream_blocks(path, rate, channel):
        samples = block.samples[max(first - done, 0) : None if last is None else max(last - done, 0), 0]
        kept.append(np.array(samples, dtype=np.float32))
        done, count = done + len(block.samples), count + len(samples)
        if count > longest * sample_rate:
            raise ConfigError(
                f"{display_path(path)} is longer than the {longest / time_expansion:g} s that a conversation "
                "can be about; say which part by start_seconds and end_seconds."
            )
        if last is not None and done >= last:
            break
        damage = block.damage
    if count < MIN_NEW_SECONDS * sample_rate:
        least = float(MIN_NEW_SECONDS) / time_expansion
        if damage is not None:
            raise RecordingError(f"{damage} Before that there is less than {least:g} s of the part.")
        if count and not first and last is None:
            return long_enough(np.concatenate(kept), sample_rate)
        raise RecordingError(
            f"{display_path(path)} has less than {least:g} s after {start_seconds:g} s; choose another part."
        )
    if damage is not None and warn is not None:
        warn(f"{damage} {USED}")
    return np.concatenate(kept)
