"""Tables of one or several models beside the published figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from NatureLM.beans_zero.components import COMPONENTS, Component
from NatureLM.beans_zero.results import Results
from NatureLM.beans_zero.scoring import Score

__all__ = ["PUBLISHED", "Cell", "Line", "as_csv", "as_markdown", "as_text", "lines", "notes"]

PUBLISHED = "paper"
"""Heading of the figures of NatureLM-audio in Robinson et al. 2025."""

CIDER = "CIDEr/10"
"""Shown for captions without SPIDEr: the half of it that needs no Java."""


@dataclass(frozen=True)
class Cell:
    """A model's value of a line, with its interval where one is known."""

    value: float
    interval: tuple[float, float] | None
    rows: int

    def __str__(self) -> str:
        if self.interval is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.interval[0]:.3f}, {self.interval[1]:.3f}]"


@dataclass(frozen=True)
class Line:
    """A component's metric: the published figure, if there is one, and each model's value."""

    component: Component
    metric: str
    published: float | None
    cells: tuple[Cell | None, ...]


def lines(results: Sequence[Results]) -> list[Line]:
    """Return the lines of a report: the paper's metric of every component that a model has answered."""
    found = []
    for component in COMPONENTS:
        scores = [each.scores.get(component.name) for each in results]
        metrics = [component.headline, "CIDEr"] if component.task == "captioning" else [component.headline]
        if not any(component.headline in score.metrics for score in scores if score):
            metrics = metrics[-1:]
        elif all(component.headline in score.metrics for score in scores if score):
            metrics = metrics[:1]
        for metric in metrics:
            if any(score is not None for score in scores):
                published = component.published if metric == component.headline else None
                scale, shown = (10.0, CIDER) if metric == "CIDEr" else (1.0, metric)
                cells = tuple(_cell(score, metric, scale) for score in scores)
                found.append(Line(component, shown, published, cells))
    return found


def notes(results: Sequence[Results], *, failed_rows: bool = True) -> list[str]:
    """Return what to know beside the table: rows left out, components without a score, metrics skipped.

    Parameters
    ----------
    results : sequence of Results
    failed_rows : bool, default True
        Whether to say how many rows failed; a run has said so itself.
    """
    several = len(results) > 1
    said = []
    for each in results:
        whose = f"{each.model}, " if several else ""
        if (limit := each.about.get("limit")) is not None:
            said.append(f"{whose}at most {limit} rows a component (--limit); the paper's figures are of all.")
        if failed_rows and (count := _failed_rows(each)):
            said.append(
                f"{whose}{count} row{'' if count == 1 else 's'} failed and are left out of its figures."
            )
        if each.about.get("labels") == "component":
            said.append(f"{whose}matched to all labels of a component; the paper's figures to those present.")
        for name, score in each.scores.items():
            if score.problem is not None:
                said.append(f"{whose}{name}: {'' if score.metrics else 'not scored: '}{score.problem}")
            elif score.skipped:
                reasons = " ".join(dict.fromkeys(score.skipped.values()))
                said.append(f"{whose}{name}: {' and '.join(score.skipped)} skipped: {reasons.rstrip('.')}.")
    return said


def _failed_rows(results: Results) -> int:
    failed = results.about.get("failed_rows")
    return sum(each for each in failed.values() if isinstance(each, int)) if isinstance(failed, dict) else 0


def as_text(results: Sequence[Results], width: int | None = None) -> str:
    """Return the table for a terminal.

    Parameters
    ----------
    results : sequence of Results
    width : int, optional
        Columns of the terminal; as wide as it needs unless given.
    """
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, pad_edge=False)
    for place, heading in enumerate(_headings(results)):
        table.add_column(Text(heading), justify="right" if place > 1 else "left", no_wrap=place < 3)
    for row in _rows(results):
        table.add_row(*map(Text, row))
    written = io.StringIO()
    Console(file=written, width=width or 1000, color_system=None).print(table)
    return "".join(f"{line.rstrip()}\n" for line in written.getvalue().splitlines() if line.strip())


def as_markdown(results: Sequence[Results]) -> str:
    """Return the table in Markdown."""
    rows = [_headings(results), ["---", "---", *["---:"] * (1 + len(results))], *_rows(results)]
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "".join(f"| {' | '.join(row)} |\n" for row in escaped)


def as_csv(results: Sequence[Results]) -> str:
    """Return the table as CSV, a row per component and model; what could not be scored has no value."""
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(["component", "task", "metric", PUBLISHED, "model", "value", "low", "high", "rows"])
    for line in lines(results):
        for each, cell in zip(results, line.cells, strict=True):
            values: list[object] = ["", "", "", ""]
            if cell is not None:
                values = [cell.value, *(cell.interval or ("", "")), cell.rows]
            published = "" if line.published is None else line.published
            rows.writerow(
                [line.component.name, line.component.task, line.metric, published, each.model, *values]
            )
    return written.getvalue()


def _headings(results: Sequence[Results]) -> list[str]:
    return ["component", "metric", PUBLISHED, *(each.model for each in results)]


def _rows(results: Sequence[Results]) -> list[list[str]]:
    return [
        [
            line.component.name,
            line.metric,
            "" if line.published is None else f"{line.published:.3f}",
            *("-" if cell is None else str(cell) for cell in line.cells),
        ]
        for line in lines(results)
    ]


def _cell(score: Score | None, metric: str, scale: float) -> Cell | None:
    if score is None or metric not in score.metrics:
        return None
    interval = score.intervals.get(metric)
    scaled = None if interval is None else (interval[0] / scale, interval[1] / scale)
    return Cell(score.metrics[metric] / scale, scaled, score.rows)
