"""What the files of a run are called: beside the results, half of a run, or moved out of the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

FAILURES = ".failures.jsonl"
RUN = ".run.json"
JOURNAL = ".journal"


def move_aside(results: Path, *others: Path) -> Path:
    """Give results and their companions a name that is free, ``results.1.jsonl``; return it.

    ``others`` go with them and take the same number: the same results in other formats, or others that are in
    the way too. Journals stay: the run that moves results aside has done so with their journal, if they had
    one, at its beginning.
    """
    number = free_number(results, *others)
    for path in dict.fromkeys((results, *others)):
        for suffix in ("", FAILURES, RUN):
            if beside(path, suffix).exists():
                beside(path, suffix).rename(beside(numbered(path, number), suffix))
    return numbered(results, number)


def free_number(results: Path, *others: Path, companions: Sequence[str] = (FAILURES, RUN)) -> int:
    """Return the first number, from 1, that no file of these results and companions has."""
    moved = [path for path in dict.fromkeys((results, *others)) if path == results or path.exists()]
    number = 1
    while any(
        beside(numbered(path, number), suffix).exists() for path in moved for suffix in ("", *companions)
    ):
        number += 1
    return number


def first_free(names: Iterable[Path]) -> Path:
    """Return the first of these names that nothing has."""
    return next(path for path in names if not path.exists())


def numbered(path: Path, number: int) -> Path:
    """Return ``a.1.jsonl`` for ``a.jsonl``."""
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


def partial_name(path: Path) -> Path:
    """Return ``a.jsonl.partial`` for ``a.jsonl``."""
    return beside(path, ".partial")


def beside(path: Path, suffix: str) -> Path:
    """Return ``a.jsonl.run.json`` for ``a.jsonl`` and ``.run.json``."""
    return path.with_name(path.name + suffix)
