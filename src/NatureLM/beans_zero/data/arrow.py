"""Arrow shards, as ``datasets`` saves and caches them: mapped into memory, never read whole."""

from __future__ import annotations

import mmap
import threading
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from NatureLM.beans_zero.data.sound import sound_of
from NatureLM.beans_zero.data.source import Fields, Signal, check_columns
from NatureLM.errors import DataError

ROWS_AT_ONCE = 1000
"""Rows whose text is in memory together."""

SHARDS_OPEN = 4

_FILE_MAGIC = b"ARROW1"


class ArrowShards:
    """Rows of Arrow files, of the streaming or the file format, one file after the other.

    Parameters
    ----------
    name : str
        How messages call the data.
    folder : Path
        Where paths in the data begin.
    paths : sequence of Path
        The files, in the order of their rows.
    """

    def __init__(self, name: str, folder: Path, paths: Sequence[Path]) -> None:
        self.name = name
        self._folder = folder
        self._paths = list(paths)
        self._opening = threading.Lock()
        self._opened = lru_cache(maxsize=SHARDS_OPEN)(lambda number: _Shard(self._paths[number]))
        self._starts: list[int] = []

    def fields(self, components: Collection[str]) -> Iterator[Fields]:
        """Yield the text of all rows."""
        place = 0
        for number, path in enumerate(self._paths):
            shard = self._shard(number)
            columns = check_columns(str(path), shard.columns)
            status = path.stat()
            self._starts[number:] = [place]
            for batch in shard.batches:
                text = batch.select(columns)
                for start in range(0, len(batch), ROWS_AT_ONCE):
                    for values in _values(path, text.slice(start, ROWS_AT_ONCE)):
                        yield Fields(place, values, (status.st_size, status.st_mtime_ns))
                        place += 1
            shard.forget()

    def sounds(self, places: Sequence[int]) -> ArrowShards:
        """Return itself: any row can be read at any time."""
        return self

    def read(self, place: int, seconds: float, sample_rate: int | None) -> Signal:
        """Return the first seconds of a row's sound."""
        number = bisect_right(self._starts, place) - 1
        shard = self._shard(number)
        try:
            return sound_of(shard.cell(place - self._starts[number]), seconds, sample_rate, self._folder)
        finally:
            shard.forget()

    def _shard(self, number: int) -> _Shard:
        with self._opening:
            return self._opened(number)


def _values(path: Path, text: Any) -> list[dict[str, Any]]:
    try:
        return list(text.to_pylist())
    except ValueError as error:  # no UTF-8, for one
        raise DataError(f"{path}: its text cannot be read ({_first_line(error)}).") from None


class _Shard:
    """One file: its batches point into the mapped file, so that only rows that are looked at are read."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            of_file_format = self._map[: len(_FILE_MAGIC)] == _FILE_MAGIC
            source = pa.py_buffer(self._map)
            reader = pa.ipc.open_file(source) if of_file_format else pa.ipc.open_stream(source)
            self.columns = reader.schema.names
            numbers = range(reader.num_record_batches) if of_file_format else None
            self.batches = list(reader) if numbers is None else [reader.get_batch(each) for each in numbers]
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read as Arrow data ({_first_line(error)}).") from None
        self._starts = []
        count = 0
        for batch in self.batches:
            self._starts.append(count)
            count += len(batch)

    def cell(self, row: int) -> Any:
        number = bisect_right(self._starts, row) - 1
        return self.batches[number].column("audio")[row - self._starts[number]]

    def forget(self) -> None:
        """Let the system take back the pages that were read; they are read again if they are needed."""
        if hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
