"""Audio files beside a table of rows, CSV or JSON lines."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from NatureLM.beans_zero.data.sound import read_file
from NatureLM.beans_zero.data.source import FIELDS, Fields, Signal, check_columns
from NatureLM.errors import ConfigError, DataError, RecordingError
from NatureLM.json_text import parse_json

PATH_COLUMNS = ("audio", "audio_path", "file_name")
"""Columns that may name the audio file, from the table's folder; the first that is there does."""


class AudioTable:
    """Rows of a table, each of which names an audio file.

    Parameters
    ----------
    path : Path
        The table, ``.csv`` with a header or ``.jsonl``; UTF-8.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._audio: dict[int, str] = {}

    def fields(self, components: Collection[str]) -> Iterator[Fields]:
        """Yield the text of all rows."""
        self._audio = {}
        rows = _jsonl(self._path) if self._path.suffix.lower() == ".jsonl" else _csv(self._path)
        try:
            for place, row in enumerate(rows):
                if place == 0:
                    check_columns(self.name, row, PATH_COLUMNS)
                audio = next((row[column] for column in PATH_COLUMNS if column in row), None)
                self._audio[place] = audio if isinstance(audio, str) else ""
                values = {column: row[column] for column in FIELDS if column in row}
                yield Fields(place, values, self._stamp(self._audio[place]))
        except FileNotFoundError:
            raise ConfigError(f"--data-path {self.name}: no such file.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{self.name}: cannot be read as UTF-8 text ({error}).") from None

    def sounds(self, places: Sequence[int]) -> AudioTable:
        """Return itself: any file can be read at any time."""
        return self

    def read(self, place: int, seconds: float, sample_rate: int | None) -> Signal:
        """Return the first seconds of a row's sound."""
        if not self._audio[place]:
            raise RecordingError("it names no audio file; write one, from the table's folder, into 'audio'.")
        return read_file(self._path.parent / self._audio[place], seconds)

    def _stamp(self, audio: str) -> tuple[int, int]:
        try:
            status = (self._path.parent / audio).stat()
        except (OSError, ValueError):
            return (-1, -1)
        return (status.st_size, status.st_mtime_ns)


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = parse_json(line)
            except ValueError as error:
                raise DataError(f"{path}, line {number}: is not JSON ({error}).") from None
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number}: each line must be one JSON object.")
            yield row


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines)
        try:
            header = next(rows, [])
            for row in rows:
                if row and len(row) != len(header):
                    raise DataError(
                        f"{path}, line {rows.line_num}: has {len(row)} fields, its header {len(header)}; "
                        "quote fields that hold commas."
                    )
                if row:
                    yield dict(zip(header, row, strict=True))
        except csv.Error as error:
            raise DataError(f"{path}, line {rows.line_num}: is not CSV ({error}).") from None
