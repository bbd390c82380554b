"""Rows as the formats need them: one per species and window, neighbours merged, absences marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from NatureLM.errors import CheckpointError
from NatureLM.infer.answers import Answer
from NatureLM.models.species import SpeciesTable
from NatureLM.models.vocabulary import UNKNOWN

Row = Mapping[str, Any]

COLUMNS = tuple(field.name for field in fields(Answer))
"""Columns of a row, in their order."""

SPECIES_COLUMNS = ("common_name", "scientific_name", "score")
LONG_COLUMNS = (*(name for name in COLUMNS if name != "detections"), *SPECIES_COLUMNS)
"""Columns of a row per species and window."""

PROBABILITY = "probability"
"""What species have beside that where a calibration was given."""

TOUCHING_SECONDS = 1e-3
"""Windows at most this far apart follow one another."""


def species_columns(calibrated: bool) -> tuple[str, ...]:
    """Return what a detection is made of."""
    return (*SPECIES_COLUMNS, PROBABILITY) if calibrated else SPECIES_COLUMNS


def long_columns(calibrated: bool) -> tuple[str, ...]:
    """Return the columns of a row per species and window."""
    return (*LONG_COLUMNS, PROBABILITY) if calibrated else LONG_COLUMNS


def are_calibrated(rows: Iterable[Row]) -> bool:
    """Return whether any detection of the rows has a probability."""
    return any(PROBABILITY in detection for row in rows for detection in row.get("detections") or ())


def have_several_queries(rows: Iterable[Row]) -> bool:
    """Return whether the rows answer more than one question."""
    queries = (row.get("query") for row in rows)
    first = next(queries, None)
    return any(query != first for query in queries)


def long_rows(rows: Iterable[Row], *, merge: bool = False) -> Iterator[dict[str, Any]]:
    """Yield a row per species and window; an answer that names none keeps one, without names.

    Parameters
    ----------
    rows : iterable of mapping
        Rows of answers, recording by recording.
    merge : bool
        Whether windows of a recording, channel, query and species that touch or overlap become one row.
    """
    single = (part for row in rows for part in _by_species(row))
    return _merged(single) if merge else single


def annotation_rows(rows: Iterable[Row], *, merge: bool = False) -> Iterator[dict[str, Any]]:
    """Yield rows as :func:`long_rows` does, with a ``label`` and its ``certainty``.

    The label is the species' name, else the answer itself. It is None where there is nothing to mark:
    the recording was heard, but the answer says that something is not there.
    """
    for row in long_rows(rows, merge=merge):
        named = row["common_name"] or row["scientific_name"]
        row["label"] = named or (None if _is_absence(row) else row["output"])
        row["certainty"] = row["confidence"] if row["score"] is None else row["score"]
        yield row


def as_utf8(text: str) -> str:
    r"""Return text that UTF-8 can hold: lone surrogates (names that are no UTF-8) as ``\udce9``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _by_species(row: Row) -> Iterator[dict[str, Any]]:
    shared = {name: row.get(name) for name in LONG_COLUMNS if name not in SPECIES_COLUMNS}
    detections: list[dict[str, Any]] = row.get("detections") or [{}]
    for detection in detections:
        calibrated = PROBABILITY in detection
        yield shared | {name: detection.get(name) for name in species_columns(calibrated)}


def _merged(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Merge neighbours; what is held in memory is the merged rows of one recording."""
    for _, recording in groupby(rows, key=itemgetter("audio_path")):
        merged: list[dict[str, Any]] = []
        latest: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in recording:
            key = itemgetter("channel", "query", "common_name", "scientific_name")(row)
            before = latest.get(key)
            named = row["common_name"] or row["scientific_name"]
            if named and before and row["start_seconds"] <= before["end_seconds"] + TOUCHING_SECONDS:
                _extend(before, row)
            else:
                latest[key] = row
                merged.append(row)
        yield from merged


def _extend(before: dict[str, Any], row: dict[str, Any]) -> None:
    """Let the row reach over the next window; what it says of the answer is the surer window's."""
    end = max(before["end_seconds"], row["end_seconds"])
    if _strength(row) > _strength(before):
        began = {name: before[name] for name in ("start_seconds", "recorded_at")}
        before.update(row)
        before.update(began)
    before["end_seconds"] = end


def _strength(row: Row) -> tuple[float, float]:
    score, confidence = row["score"], row["confidence"]
    return (-1.0 if score is None else score, -1.0 if confidence is None else confidence)


def _is_absence(row: Row) -> bool:
    """Whether an answer without species says that something is not there, or that the model cannot tell."""
    words = str(row["output"] or "").strip(" .!\n").casefold()
    if words in ("", "none", UNKNOWN.strip(".").casefold()):
        return True
    return words.split(",")[0].split(".")[0] == "no" and _names_species(row["query"] or "")


@lru_cache(maxsize=256)
def _names_species(query: str) -> bool:
    with suppress(CheckpointError, OSError):
        return bool(_known_species().mentions(query))
    return False


@lru_cache(maxsize=1)
def _known_species() -> SpeciesTable:
    return SpeciesTable.load()
