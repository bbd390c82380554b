"""Where recordings lie, and what their headers say: for formats that point back at them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from NatureLM.errors import NatureLMError

MODEL_NYQUIST_HZ = 24000.0
"""Upper end of the bundled model's band, for recordings that are not at hand any more."""


@dataclass(frozen=True)
class Place:
    """A recording's place: ``root / folder / name``.

    Attributes
    ----------
    root : str
        Shared by all of a run; that of its drive, where they lie on several.
    folder, name : str
    drive : str
        The drive's name as part of a path (``E``), where recordings lie on several; else empty.
    """

    root: str
    folder: str
    name: str
    drive: str = ""


@dataclass(frozen=True)
class Header:
    """What a recording's header says; ``duration_seconds`` is None where it cannot be read."""

    path: str
    nyquist_hz: float
    duration_seconds: float | None


def common_folder(audio_paths: Iterable[str]) -> str:
    """Return the folder that all recordings lie in or beneath; empty where there is none."""
    common: str | None = None
    for audio_path in audio_paths:
        folder = os.path.dirname(os.path.abspath(audio_path))
        try:
            common = folder if common is None else os.path.commonpath([common, folder])
        except ValueError:  # two drives
            return ""
    return common or ""


def place_of(audio_path: str, root: str) -> Place:
    """Return where a recording lies beneath ``root``, as :func:`common_folder` gave it."""
    folder, name = os.path.split(os.path.abspath(audio_path))
    drive = "" if root else os.path.splitdrive(folder)[0]
    root = root or drive + os.sep
    beneath = os.path.relpath(folder, root)
    return Place(
        root, "" if beneath == os.curdir else beneath, name, re.sub(r"[\\/:]+", "_", drive).strip("_")
    )


def read_header(audio_path: str) -> Header:
    """Ask a recording for its sample rate and duration; where it cannot be read, take the model's band."""
    path = os.path.abspath(audio_path)
    try:
        now = os.stat(path)
        sample_rate, duration = _probed(path, now.st_size, now.st_mtime_ns)
    except (NatureLMError, OSError, ValueError):
        return Header(audio_path, MODEL_NYQUIST_HZ, None)
    return Header(path, sample_rate / 2, duration)


@lru_cache(maxsize=1024)
def _probed(path: str, size: int, changed: int) -> tuple[int, float]:
    """Return sample rate and duration of a file as it is now: a changed one is asked again."""
    from NatureLM.audio import probe

    info = probe(path)
    return info.sample_rate, info.duration_seconds
