"""Whether a table of a run is as the run wrote it: verdicts and notes that people put in are not lost."""

from __future__ import annotations

import hashlib
import os
from itertools import chain, count
from pathlib import Path

from NatureLM.infer.output_names import first_free


def stamp(path: Path) -> str:
    """Return 16 hexadecimal digits over size and time of change of a file, or of all files in a folder.

    A folder's are taken with their names; hidden ones (``.DS_Store``) do not count. Another name for the file
    or folder itself changes nothing.

    Raises
    ------
    OSError
        It is not there, or cannot be asked.
    """
    lines = [f"{name}\t{size}\t{changed}" for name, size, changed in sorted(_files(path))]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def set_aside(path: Path) -> Path:
    """Give a file or folder a name that is free, ``june.changed.csv``; return it."""
    ends = chain([""], (f".{number}" for number in count(2)))
    return path.rename(first_free(path.with_name(f"{path.stem}.changed{end}{path.suffix}") for end in ends))


def _files(path: Path) -> list[tuple[str, int, int]]:
    if not path.is_dir():
        status = path.stat()
        return [("", status.st_size, status.st_mtime_ns)]
    found = []
    for place, _, names in os.walk(path):
        for name in names:
            if not name.startswith("."):
                status = os.stat(os.path.join(place, name))
                beneath = os.path.relpath(os.path.join(place, name), path)
                found.append((beneath, status.st_size, status.st_mtime_ns))
    return found
