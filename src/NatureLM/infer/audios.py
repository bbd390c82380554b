"""Recordings as Python has them: paths, arrays, tensors, and lists of these."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from NatureLM.audio import Channel, is_folder
from NatureLM.errors import ConfigError
from NatureLM.infer.engine import Recording

Audio = str | os.PathLike[str] | npt.ArrayLike
"""A path, or samples as an array or tensor: [samples], [channels, samples] or [samples, channels]."""


def as_list(audios: Audio | Sequence[Audio]) -> list[Audio]:
    """Return the recordings; an array or tensor is one, unless it holds paths (a table's column)."""
    if isinstance(audios, (str, os.PathLike)):
        return [audios]
    holds_paths = getattr(getattr(audios, "dtype", None), "kind", "") in ("O", "U")
    if (hasattr(audios, "ndim") or hasattr(audios, "__array__")) and not holds_paths:
        return [cast(Audio, audios)]
    return list(cast("Sequence[Audio]", audios))


def recordings_of(
    audios: Sequence[Audio],
    queries: Sequence[tuple[str, ...]],
    input_sample_rate: int | None,
    channel: Channel,
) -> list[Recording]:
    """Return the recordings with what is asked of each.

    Raises
    ------
    RecordingError
        A path does not exist.
    ConfigError
        Samples without a rate, or with a channel chosen of them.
    """
    recordings = []
    for number, (audio, asked) in enumerate(zip(audios, queries, strict=True), start=1):
        if isinstance(audio, (str, os.PathLike)):
            path = Path(audio)
            is_folder(path)  # says at once if there is no such path
            recordings.append(Recording(os.fspath(audio), asked, path=path))
            continue
        if input_sample_rate is None or input_sample_rate <= 0:
            raise ConfigError("Arrays need input_sample_rate, their rate in Hz, for example 48000.")
        if channel != "mix":
            raise ConfigError(
                f"Arrays are mixed to mono, so channel {channel!r} cannot be had of them; "
                "pass the channel itself."
            )
        recordings.append(
            Recording(f"array {number}", asked, samples=_samples_of(audio), sample_rate=input_sample_rate)
        )
    return recordings


def _samples_of(audio: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return the samples of an array, tensor (on any device) or nested list.

    Raises
    ------
    ConfigError
        A single number: a list of samples was taken for a list of recordings.
    """
    if hasattr(audio, "detach"):
        audio = audio.detach().cpu()
    samples = np.asarray(audio)
    if samples.ndim == 0:
        raise ConfigError(
            f"{audio!r} is no recording; pass samples as an array, for example numpy.array(samples)."
        )
    return samples
