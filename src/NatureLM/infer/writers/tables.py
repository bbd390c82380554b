"""Tables: CSV for every program, Parquet with types and the run's parameters in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from NatureLM.infer.writers.rows import SPECIES_COLUMNS, as_utf8

ROWS_PER_GROUP = 10_000
METADATA_KEY = "naturelm_run"
NUMBERS = ("start_seconds", "end_seconds", "confidence", "mean_logprob", "score", "probability")


class CsvWriter:
    r"""RFC 4180 with ``\n``: a line of columns, then the rows; None is empty, lists and booleans are JSON.

    Parameters
    ----------
    path : path
        File to be created.
    columns : sequence of str
        Keys of the rows, which are also the first line.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._columns = columns
        self._file = path.open("w", encoding="utf-8", newline="")
        self._file.write(csv_line(columns))

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row."""
        self._file.write(csv_line([row.get(column) for column in self._columns]))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def csv_line(values: Sequence[Any]) -> str:
    r"""Return a line of a CSV file.

    Examples
    --------
    >>> csv_line(["Tit, Great", 0.5, None])
    '"Tit, Great",0.5,\n'
    """
    return ",".join(map(_csv_field, values)) + "\n"


def _csv_field(value: Any) -> str:
    if value is None:
        return ""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict, bool)) else str(value)
    text = as_utf8(text)
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\r\n]', text) else text


class ParquetWriter:
    """Typed columns, written in groups of rows; needs pyarrow.

    Parameters
    ----------
    path : path
        File to be created.
    columns : sequence of str
        Keys of the rows.
    parameters : mapping
        The run's parameters; they lie as JSON in the file's metadata, under ``naturelm_run``.
    species_columns : sequence of str
        Keys of the detections in a row.
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        parameters: Mapping[str, Any],
        species_columns: Sequence[str] = SPECIES_COLUMNS,
    ) -> None:
        import pyarrow
        import pyarrow.parquet

        species = pyarrow.struct(
            [(name, pyarrow.float64() if name in NUMBERS else pyarrow.string()) for name in species_columns]
        )
        types = dict.fromkeys(NUMBERS, pyarrow.float64())
        types |= {"silent": pyarrow.bool_(), "detections": pyarrow.list_(species)}
        types["scores"] = pyarrow.map_(pyarrow.string(), pyarrow.float64())
        metadata = {METADATA_KEY: as_utf8(json.dumps(parameters, ensure_ascii=False))}
        self._schema = pyarrow.schema(
            [(column, types.get(column, pyarrow.string())) for column in columns], metadata=metadata
        )
        self._table = pyarrow.Table
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)
        self._rows: list[dict[str, Any]] = []

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one row, with its group once that is full."""
        written = {column: _utf8_only(row.get(column)) for column in self._schema.names}
        if written.get("scores") is not None:
            written["scores"] = list(written["scores"].items())
        self._rows.append(written)
        if len(self._rows) == ROWS_PER_GROUP:
            self._write_group()

    def close(self) -> None:
        """Write the last group and finish the file."""
        try:
            if self._rows:
                self._write_group()
        finally:
            self._writer.close()

    def _write_group(self) -> None:
        self._writer.write_table(self._table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()


def _utf8_only(value: Any) -> Any:
    if isinstance(value, str):
        return as_utf8(value)
    if isinstance(value, list):
        return [_utf8_only(inner) for inner in value]
    if isinstance(value, dict):
        return {as_utf8(key): _utf8_only(inner) for key, inner in value.items()}
    return value
