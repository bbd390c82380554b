"""The rows of a run as JSON lines: what is written during a run, and what every other format is made of."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

from NatureLM.errors import ConfigError
from NatureLM.json_text import parse_json


class Writer(Protocol):
    """Takes rows one by one."""

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row."""

    def close(self) -> None:
        """Finish the file."""


class JsonlWriter:
    """One JSON object a line, UTF-8, handed to the system row by row; rows are whole or not there.

    Parameters
    ----------
    target : path or int
        File to be created (an existing one is replaced), or the descriptor of an open one, which stays open.
    """

    def __init__(self, target: Path | int) -> None:
        self._ours = not isinstance(target, int)
        self._file = open(target, "wb", buffering=0, closefd=self._ours)  # noqa: SIM115
        self._size = 0

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row; infinities and NaN become null, since JSON has no words for them.

        Raises
        ------
        OSError
            The row cannot be written; a file of ours ends with the row before it.
        """
        self._size += append_line(self._file, row, self._size if self._ours else None)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def append_line(file: IO[bytes], row: Mapping[str, Any], size: int | None = None) -> int:
    """Write a row to the end of an unbuffered file and return its length in bytes, line break included.

    Raises
    ------
    OSError
        It cannot be written; the file is cut back to ``size`` bytes, where that is given.
    """
    text = json.dumps(_plain(row), ensure_ascii=False, allow_nan=False) + "\n"
    # File names that are no UTF-8 hold lone surrogates; escaped like this they are valid JSON.
    line = memoryview(text.encode("utf-8", "backslashreplace"))
    written = 0
    try:
        while written < len(line):
            written += file.write(line[written:])
    except BaseException:
        if size is not None:
            with suppress(OSError):
                file.truncate(size)
                file.seek(size)
        raise
    return written


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a finished file, one in memory at a time.

    Raises
    ------
    ConfigError
        A line that is no row of answers.
    OSError
        The file cannot be read.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = parse_json(line)
            except ValueError:
                row = None
            if not isinstance(row, dict) or "audio_path" not in row:
                raise ConfigError(
                    f"{path}, line {number}: is no row of answers; give the jsonl file that a run wrote."
                )
            yield row


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
