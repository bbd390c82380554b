"""Formats of the results, behind one small interface."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from NatureLM.errors import ConfigError


class Writer(Protocol):
    """Takes rows one by one; each is safe on disk, as far as the system goes, when ``write`` returns."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row."""

    def close(self) -> None:
        """Finish the file."""


class JsonlWriter:
    """One JSON object a line, UTF-8, handed to the system row by row; rows are whole or not there.

    Parameters
    ----------
    path : path
        File to be created; an existing one is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._size = 0

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row; infinities and NaN become null, since JSON has no words for them.

        Raises
        ------
        OSError
            The row cannot be written; the file ends with the row before it.
        """
        text = json.dumps(_plain(row), ensure_ascii=False, allow_nan=False) + "\n"
        # File names that are no UTF-8 hold lone surrogates; escaped like this they are valid JSON.
        line = memoryview(text.encode("utf-8", "backslashreplace"))
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
        except BaseException:
            with suppress(OSError):
                self._file.truncate(self._size)
                self._file.seek(self._size)
            raise
        self._size += written

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


FORMATS: dict[str, type[JsonlWriter]] = {".jsonl": JsonlWriter}
"""Suffix of the results file to what writes it."""


def check_format(path: Path) -> None:
    """Refuse a results file whose suffix names no known format.

    Raises
    ------
    ConfigError
        Naming the known ones.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(
            f"--output-path {path}: results are written as {', '.join(FORMATS)}; name a file that ends so, "
            "for example results.jsonl."
        )


def open_writer(path: Path, results: Path) -> Writer:
    """Return a writer to ``path`` in the format that the suffix of ``results`` names."""
    return FORMATS[results.suffix.lower()](path)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
