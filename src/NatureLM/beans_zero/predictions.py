"""Files of predictions: JSON lines or CSV with the columns prediction, label and dataset_name."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from NatureLM.errors import ConfigError, PredictionsError
from NatureLM.json_text import parse_json

__all__ = ["COLUMNS", "Answers", "read_predictions"]

COLUMNS = ("prediction", "label", "dataset_name")
"""What each row must hold; ``id`` is optional, and checked for doubles where it is there."""


@dataclass
class Answers:
    """A component's predictions and true labels, in the file's order."""

    predictions: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


def read_predictions(path: str | Path) -> dict[str, Answers]:
    """Read a file of predictions, by component.

    Parameters
    ----------
    path : path
        ``.jsonl``, an object a line, or ``.csv`` with a header; UTF-8.

    Raises
    ------
    ConfigError
        No such file, or another kind of file.
    PredictionsError
        A column is missing, a value is not text, an id comes twice within a component, or there are no rows.
    """
    path = Path(path)
    if path.suffix.lower() not in _READERS:
        raise ConfigError(f"{path}: predictions are read from .jsonl or .csv; name such a file.")
    components: dict[str, Answers] = {}
    seen: dict[tuple[str, object], int] = {}
    try:
        for number, row in _READERS[path.suffix.lower()](path):
            prediction, label, name = (_text(row, column, path, number) for column in COLUMNS)
            answers = components.setdefault(name, Answers())
            answers.predictions.append(prediction)
            answers.labels.append(label)
            if (identity := row.get("id")) not in (None, ""):
                first = seen.setdefault((name, str(identity)), number)
                if first != number:
                    raise PredictionsError(
                        f"{path}, line {number}: {name} has an answer with id '{identity}' already "
                        f"(line {first}); keep one of the two."
                    )
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; name a file of predictions (.jsonl or .csv).") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PredictionsError(f"{path}: cannot be read as UTF-8 text ({error}).") from None
    if not components:
        raise PredictionsError(f"{path}: holds no predictions; there is nothing to score.")
    return components


def _jsonl(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = parse_json(line)
            except ValueError as error:
                reason = getattr(error, "msg", error)
                raise PredictionsError(
                    f"{path}, line {number}: is not JSON ({reason}); each line must be one object."
                ) from None
            if not isinstance(row, dict):
                raise PredictionsError(
                    f"{path}, line {number}: holds a JSON {type(row).__name__}; each line must be one object."
                )
            yield number, row


def _csv(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines)
        try:
            header = next(rows, [])
            for column in COLUMNS if header else ():
                if column not in header:
                    raise PredictionsError(f"{path}: {_missing(column, header)}")
            for row in rows:
                if row and len(row) != len(header):
                    raise PredictionsError(
                        f"{path}, line {rows.line_num}: has {len(row)} fields, its header {len(header)}; "
                        "quote fields that hold commas."
                    )
                if row:
                    yield rows.line_num, dict(zip(header, row, strict=True))
        except csv.Error as error:
            raise PredictionsError(f"{path}, line {rows.line_num}: is not CSV ({error}).") from None


_READERS = {".jsonl": _jsonl, ".csv": _csv}


def _text(row: Mapping[str, Any], column: str, path: Path, number: int) -> str:
    if column not in row:
        raise PredictionsError(f"{path}, line {number}: {_missing(column, row)}")
    value = row[column]
    if isinstance(value, str):
        return value
    raise PredictionsError(f"{path}, line {number}: '{column}' is {json.dumps(value)}; it must be text.")


def _missing(column: str, there: Any) -> str:
    needed = f"{', '.join(COLUMNS[:-1])} and {COLUMNS[-1]}"
    return f"has no '{column}'; needed are {needed}, found {', '.join(map(str, there)) or 'nothing'}."
