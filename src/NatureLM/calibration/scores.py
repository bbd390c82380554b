"""The detections of a run, read back from its results: jsonl, csv or parquet, a row per answer or species."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from NatureLM.errors import ConfigError
from NatureLM.json_text import parse_json

RUN = ".run.json"
METADATA_KEY = b"naturelm_run"
FORMATS = (".jsonl", ".csv", ".parquet")


@dataclass(frozen=True)
class Scored:
    """A species that a run named in a window, with its score in [0, 1].

    Attributes
    ----------
    audio_path, channel : str
    start_seconds, end_seconds : float
    common_name, scientific_name : str
    score : float
    """

    audio_path: str
    channel: str
    start_seconds: float
    end_seconds: float
    common_name: str
    scientific_name: str
    score: float


@dataclass
class Scores:
    """What a run's results hold of its detections.

    Attributes
    ----------
    detections : list of Scored
        Each once, however many questions it was an answer to.
    recordings : set of str
        All that were heard.
    model : str
    run : mapping
        Parameters of the run; empty where they do not lie beside the results, nor in them.
    """

    detections: list[Scored] = field(default_factory=list)
    recordings: set[str] = field(default_factory=set)
    model: str = ""
    run: Mapping[str, Any] = field(default_factory=dict)


def read_scores(path: Path) -> Scores:
    """Read the results of a run.

    Raises
    ------
    ConfigError
        No such file, another format, no results, no scores in them, or those of several models.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(
            f"--scores {path}: expected results of naturelm infer that end in {', '.join(FORMATS)}."
        )
    if not path.is_file():
        raise ConfigError(f"--scores {path}: no such file; give the results of naturelm infer.")
    try:
        scores = _collected(_rows(path), path)
    except (OSError, csv.Error, AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ConfigError(
            f"--scores {path}: cannot be read as results of naturelm infer ({type(error).__name__}: {error})."
        ) from None
    scores.run = _run_of(path)
    return scores


def _collected(rows: Iterable[Mapping[str, Any]], path: Path) -> Scores:
    scores = Scores()
    models: dict[str, None] = {}
    found: dict[Scored, None] = {}
    for row in rows:
        scores.recordings.add(row["audio_path"])
        models.setdefault(row["model"])
        for detection in _detections(row):
            score = detection.get("score")
            if score is None or score == "":
                continue
            found.setdefault(
                Scored(
                    *(row["audio_path"], str(row["channel"])),
                    *(float(row["start_seconds"]), float(row["end_seconds"])),
                    *(detection.get("common_name") or "", detection.get("scientific_name") or ""),
                    float(score),
                )
            )
    if len(models) > 1:
        raise ConfigError(
            f"--scores {path}: holds answers of several models ({', '.join(models)}); give those of one."
        )
    if not found:
        raise ConfigError(
            f"--scores {path}: holds no detection with a score; give results in which the bundled model "
            "names species."
        )
    scores.detections, scores.model = list(found), next(iter(models))
    return scores


def _detections(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the detections of a row, whether it is an answer's or a species'."""
    if "detections" not in row:
        return [row] if row["common_name"] or row["scientific_name"] else []
    detections = row["detections"]
    if isinstance(detections, str):
        detections = parse_json(detections)
    return list(detections)


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    ending = path.suffix.lower()
    if ending == ".jsonl":
        from NatureLM.infer.writers import read_rows

        yield from read_rows(path)
    elif ending == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file)
    else:
        parquet = _parquet(path)
        for batch in parquet.iter_batches():
            yield from batch.to_pylist()


def _parquet(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError(
            f"--scores {path}: reading parquet needs pyarrow, which is not installed: pip install pyarrow, "
            "or give the jsonl or csv of the run."
        ) from None
    try:
        return pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowException as error:
        raise ConfigError(f"--scores {path}: cannot be read as parquet ({error}).") from None


def _run_of(path: Path) -> Mapping[str, Any]:
    """Return the parameters of the run: from parquet's metadata, or the record beside the results."""
    if path.suffix.lower() == ".parquet":
        written = (_parquet(path).schema_arrow.metadata or {}).get(METADATA_KEY)
        if written:
            return _object(written)
    # The record of a run in several formats lies beside the first of them.
    for beside in (path.name, *(path.with_suffix(ending).name for ending in FORMATS)):
        record = path.with_name(beside + RUN)
        if record.is_file():
            return _object(record.read_bytes())
    return {}


def _object(written: bytes) -> Mapping[str, Any]:
    try:
        content = parse_json(written)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
