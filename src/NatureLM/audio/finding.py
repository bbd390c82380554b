"""Find the recordings that a user's paths stand for."""

from __future__ import annotations

import os
import stat
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import soundfile

from NatureLM.audio.decoding import PathLike, display_path, logger
from NatureLM.errors import RecordingError

_FURTHER_SUFFIXES = {
    "AIFF": ("aif", "aifc"),
    "AU": ("snd",),
    "IRCAM": ("sf",),
    "MP3": ("mp2",),
    "NIST": ("sph",),
    "OGG": ("oga", "opus"),
    "SVX": ("iff",),
    "WAV": ("wave", "bwf"),
}
"""Usual suffixes of a format beside its libsndfile name."""

_SYSTEM_FOLDERS = frozenset({"$recycle.bin", "system volume information"})
"""What Windows keeps on every disk: deleted files, and records of them that end like recordings."""

_NOT_COLLECTED = {"RAW", "MAT4", "MAT5"}
"""Without a header; Matlab files, which rarely hold sound."""

UNREADABLE_AUDIO_SUFFIXES = frozenset(
    {".m4a", ".mp4", ".aac", ".wma", ".wac", ".w4v", ".amr", ".ape", ".wv", ".dsf"}
)
"""Sound that libsndfile does not read: skipped in folders, but never silently."""


@lru_cache(maxsize=1)
def recording_suffixes() -> frozenset[str]:
    """Lower-case suffixes, dot included, of the formats that this machine's libsndfile reads."""
    names: set[str] = set()
    for audio_format in set(soundfile.available_formats()) - _NOT_COLLECTED:
        names.add(audio_format.lower())
        names.update(_FURTHER_SUFFIXES.get(audio_format, ()))
    return frozenset(f".{name}" for name in names)


def find_recordings(paths: PathLike | Iterable[PathLike]) -> list[Path]:
    """List the recordings that files and folders stand for.

    Files are taken as named, whatever their suffix. Folders are searched with all folders in them for
    files with a suffix of `recording_suffixes` in any case; names that begin with a dot are skipped (macOS
    keeps ``._x.wav`` beside ``x.wav``), and so are Windows' ``$RECYCLE.BIN`` and
    ``System Volume Information``. Links to folders are followed, each folder once. Folders that cannot
    be opened, named folders without recordings, folders that are named like a recording, and formats that
    need converting first are reported as warnings of the logger ``NatureLM.audio``.

    Returns
    -------
    list of Path
        Sorted by their text, without duplicates; relative where the given path is.

    Raises
    ------
    RecordingError
        If a given path does not exist or a given folder cannot be opened.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    found: dict[str, Path] = {}
    kinds = [(path, is_folder(path)) for path in map(Path, paths)]
    for path, searched in kinds:
        recordings = _in_folder(path) if searched else [path]
        for recording in recordings:
            found.setdefault(os.path.abspath(recording), recording)
    return sorted(found.values(), key=str)


def is_folder(path: PathLike) -> bool:
    """Tell whether a path that exists is a folder.

    Raises
    ------
    RecordingError
        If there is nothing at that path, or it cannot be asked (no access, name too long).
    """
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except FileNotFoundError:
        raise RecordingError(f"{display_path(path)} does not exist; check the path.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RecordingError(f"{display_path(path)} cannot be opened: {reason}; check the path.") from None


def _in_folder(root: Path) -> list[Path]:
    recordings: list[Path] = []
    unreadable: Counter[str] = Counter()
    for path in _files(root):
        suffix = path.suffix.lower()
        if suffix in recording_suffixes():
            recordings.append(path)
        elif suffix in UNREADABLE_AUDIO_SUFFIXES:
            unreadable[suffix] += 1
    if unreadable:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(unreadable.items()))
        logger.warning(
            "%s holds audio that cannot be read (%s); convert it to WAV or FLAC.", display_path(root), kinds
        )
    if not recordings:
        logger.warning("%s holds no recordings.", display_path(root))
    return recordings


def _files(root: Path) -> Iterator[Path]:
    """Files below a folder; links are followed last, so that a folder goes by its own name if it has one."""
    waiting, seen = deque([root]), set[tuple[int, int]]()
    while waiting:
        folder = waiting.popleft()
        if folder.suffix.lower() in recording_suffixes():
            logger.warning("%s is a folder, not a recording; it is searched.", display_path(folder))
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as listing:
                visible = [entry for entry in listing if not _is_hidden(entry.name)]
        except OSError as error:
            if folder == root:
                raise RecordingError(
                    f"{display_path(root)} cannot be searched: {error.strerror}; check its permissions."
                ) from None
            logger.warning("%s cannot be searched: %s.", display_path(folder), error.strerror)
            continue
        entries = sorted(visible, key=lambda entry: entry.name)
        inner = [entry for entry in entries if _leads_to_folder(entry)]
        waiting.extendleft(folder / entry.name for entry in reversed(inner) if not entry.is_symlink())
        waiting.extend(folder / entry.name for entry in inner if entry.is_symlink())
        yield from (folder / entry.name for entry in entries if not _leads_to_folder(entry))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself: taken for a file, which then fails with its reason
        return False
