"""Parquet shards, of a folder or of the hub: text first, then sounds, page after page.

Of a row group only the columns asked for are read, and row groups without rows that are asked for not at all:
one component of the hub's data is had without the others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from NatureLM.beans_zero.data.sound import sound_of
from NatureLM.beans_zero.data.source import Fields, Signal, Stamp, check_columns
from NatureLM.errors import DataError, RecordingError

TEXT_ROWS_AT_ONCE = 1000
BUFFER_BYTES = 2**20
"""Read of a column at a time. Without it all of a row group's sound, often a gigabyte, would be."""


@dataclass(frozen=True)
class ParquetFile:
    """A file of Parquet: its name, what opens it for pyarrow, and its stamp."""

    name: str
    open: Callable[[], Any]
    stamp: Stamp


def local_file(path: Path) -> ParquetFile:
    """Return a file of this machine."""
    status = path.stat()
    return ParquetFile(str(path), lambda: str(path), (status.st_size, status.st_mtime_ns))


class ParquetShards:
    """Rows of Parquet files, one file after the other.

    Parameters
    ----------
    name : str
        How messages call the data.
    folder : Path or None
        Where paths in the data begin; None on the hub.
    files : sequence of ParquetFile
        In the order of their rows.
    """

    def __init__(self, name: str, folder: Path | None, files: Sequence[ParquetFile]) -> None:
        self.name = name
        self._folder = folder
        self._files = files
        self._groups: list[tuple[ParquetFile, int, int, int]] = []
        """Of each row group: its file, its number in it, the places of its first row and behind its last."""

    def fields(self, components: Collection[str]) -> Iterator[Fields]:
        """Yield the text of the rows; row groups whose statistics exclude the components are passed over."""
        self._groups = []
        place = 0
        for file in self._files:
            with closing(_opened(file)) as parquet:
                columns = check_columns(file.name, parquet.schema_arrow.names)
                for group in range(parquet.num_row_groups):
                    about = parquet.metadata.row_group(group)
                    end = place + about.num_rows
                    self._groups.append((file, group, place, end))
                    if _may_hold(about, components):
                        yield from _text(file, parquet, group, columns, place)
                    place = end

    def sounds(self, places: Sequence[int]) -> ParquetSounds:
        """Return what reads these rows' sound, each once and about in this order."""
        return ParquetSounds(self._groups, places, self._folder)


class ParquetSounds:
    """Reads forward through the row groups; what other threads will ask for next waits in memory."""

    def __init__(
        self,
        groups: Sequence[tuple[ParquetFile, int, int, int]],
        places: Sequence[int],
        folder: Path | None,
    ) -> None:
        self._folder = folder
        self._reading = threading.Lock()
        self._passed: dict[int, Any] = {}
        self._cells = _cells(groups, places)

    def read(self, place: int, seconds: float, sample_rate: int | None) -> Signal:
        """Return the first seconds of a row's sound."""
        with self._reading:
            while place not in self._passed:
                passed, cell = next(self._cells)
                self._passed[passed] = cell
            cell = self._passed.pop(place)
        if isinstance(cell, Exception):
            raise RecordingError(f"its audio cannot be read ({str(cell).partition(chr(10))[0].rstrip('.')}).")
        return sound_of(cell, seconds, sample_rate, self._folder)


def _cells(
    groups: Sequence[tuple[ParquetFile, int, int, int]], places: Sequence[int]
) -> Iterator[tuple[int, Any]]:
    """Yield the places with their cells, or with what kept them from being read."""
    wanted = sorted(places, reverse=True)
    for file, group, start, end in groups:
        here = []
        while wanted and wanted[-1] < end:
            here.append(wanted.pop())
        if not here:
            continue
        missing = set(here)
        fault: Exception = RecordingError("its row group ends before it")
        try:
            with closing(_opened(file)) as parquet:
                rows = parquet.iter_batches(1, row_groups=[group], columns=["audio"])  # one is megabytes
                for place, batch in enumerate(rows, start):
                    if place in missing:
                        missing.remove(place)
                        yield place, batch.column(0)[0]
                    if not missing:
                        break
        except (DataError, OSError, ValueError, RuntimeError) as error:  # pyarrow's own are among them
            fault = error
        for place in sorted(missing):
            yield place, fault


def _opened(file: ParquetFile) -> Any:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        return pa.parquet.ParquetFile(file.open(), buffer_size=BUFFER_BYTES, pre_buffer=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DataError(f"{file.name}: cannot be read as Parquet ({reason}).") from None


def _text(
    file: ParquetFile, parquet: Any, group: int, columns: Sequence[str], place: int
) -> Iterator[Fields]:
    try:
        for batch in parquet.iter_batches(TEXT_ROWS_AT_ONCE, row_groups=[group], columns=list(columns)):
            for values in batch.to_pylist():
                yield Fields(place, values, file.stamp)
                place += 1
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DataError(f"{file.name}: its text cannot be read ({reason}).") from None


def _may_hold(row_group: Any, components: Collection[str]) -> bool:
    if not components:
        return True
    for number in range(row_group.num_columns):
        column = row_group.column(number)
        if column.path_in_schema == "dataset_name":
            known = column.statistics
            if known is None or not known.has_min_max:
                return True
            return any(known.min <= component <= known.max for component in components)
    return True
