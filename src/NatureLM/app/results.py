"""What the page shows of answers: a table, a chart of counts, a timeline, and files to keep."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from NatureLM.app.player import Span, clock, shade
from NatureLM.app.spectrogram import ticks
from NatureLM.infer.answers import Failure
from NatureLM.infer.output_names import FAILURES
from NatureLM.infer.writers import JsonlWriter, annotation_rows, read_rows, write_tables
from NatureLM.infer.writers.annotations import AudacityWriter, RavenWriter
from NatureLM.infer.writers.places import Header, read_header
from NatureLM.infer.writers.rows import are_calibrated, have_several_queries

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

MOST_ROWS = 2000
"""Rows of a table on the page; the files hold all."""

MOST_REASONS = 50
"""Recordings that could not be read, as the page names them; a file holds all."""

MOST_LANES = 25
"""Species of a chart, the most frequent first."""

MOST_MARKS = 500
"""Of a lane: a screen tells no more apart, and hours of sound would fill the page."""

HEADERS = ("recording", "start (s)", "end (s)", "answer", "confidence", "evidence", "question")
"""Columns of the table."""

WIDTHS = ["165px", "75px", "75px", "165px", "105px", "165px", "200px"]
"""Of these columns; where the page is narrower, the table is moved sideways within it."""


def table(rows: Iterable[Mapping[str, Any]]) -> Styler:
    """Return rows of results as a table; the shades of confidence and evidence say how high they are."""
    import pandas

    kept = [row for _, row in zip(range(MOST_ROWS), rows, strict=False)]
    cells = [
        (
            row["audio_path"],
            round(row["start_seconds"], 2),
            round(row["end_seconds"], 2),
            row["output"],
            None if row["confidence"] is None else round(row["confidence"], 3),
            ", ".join(
                f"{found['common_name'] or found['scientific_name']} {found['score']:.2f}"
                for found in row["detections"]
                if found["score"] is not None
            ),
            row["query"],
        )
        for row in kept
    ]
    frame = pandas.DataFrame(cells, columns=list(HEADERS))
    shades = {
        "confidence": [_shaded(row["confidence"], None) for row in kept],
        "evidence": [_shaded(None, _evidence(row)) for row in kept],
    }
    styled = frame.style.apply(lambda column: shades[column.name], subset=list(shades))
    return styled.format(precision=3, subset="confidence", na_rep="").format(
        precision=2, subset=list(HEADERS[1:3])
    )


def _evidence(row: Mapping[str, Any]) -> float | None:
    """Return the evidence for the least evident species of a row."""
    scores = [found["score"] for found in row["detections"] if found["score"] is not None]
    return min(scores) if scores else None


def _shaded(confidence: float | None, evidence: float | None) -> str:
    if confidence is None and evidence is None:
        return ""
    opacity = shade(confidence, evidence)
    return f"background-color: rgba(4, 120, 87, {opacity:.2f}); color: {'#fff' if opacity > 0.6 else '#000'}"


def counts_chart(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return bars, one a species: in how many windows an answer names it."""
    named = (row for row in annotation_rows(rows) if row["common_name"] or row["scientific_name"])
    counts = {label: len(windows) for label, windows in _windows(named).items()}
    if not counts:
        return '<p class="chart">No species was named.</p>'
    most = max(counts.values())
    bars = "".join(
        f'<div class="chart-row"><span>{escape(name)}</span>'
        f'<div class="bar" style="width:{100 * count / most:.1f}%"></div><b>{count}</b></div>'
        for name, count in Counter(counts).most_common(MOST_LANES)
    )
    title = "Windows per species"
    return f'<div class="chart" role="group" aria-label="{title}"><b>{title}</b>{bars}</div>'


def _windows(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[tuple[Any, ...], Mapping[str, Any]]]:
    """Return for each label its windows with a row each: the surest, where several questions have it."""
    labels: dict[str, dict[tuple[Any, ...], Mapping[str, Any]]] = {}
    for row in rows:
        windows = labels.setdefault(row["label"], {})
        window = row["audio_path"], row["channel"], row["start_seconds"]
        if window not in windows or (row["certainty"] or 0.0) > (windows[window]["certainty"] or 0.0):
            windows[window] = row
    return labels


def timeline(rows: Iterable[Mapping[str, Any]], seconds: float) -> str:
    """Return a lane for each answer over the length of a recording; the shade says how sure it is."""
    answered = (row for row in annotation_rows(rows, merge=False) if row["label"] is not None)
    lanes = {label: list(windows.values()) for label, windows in _windows(answered).items()}
    if not lanes:
        return '<p class="chart">Nothing was named so far.</p>'
    seconds = max(seconds, *(row["end_seconds"] for found in lanes.values() for row in found))
    shown = sorted(lanes.items(), key=lambda lane: -len(lane[1]))[:MOST_LANES]
    drawn = "".join(
        f'<div class="chart-row"><span>{escape(label)}</span><div class="lane">'
        + "".join(_mark(row, seconds) for row in _thinned(found, seconds))
        + f"</div><b>{len(found)}</b></div>"
        for label, found in shown
    )
    axis = "".join(
        f'<span style="left:{100 * tick / seconds:.2f}%">{clock(tick, whole=seconds >= 60)}</span>'
        for tick in ticks(0.0, seconds, 6)
    )
    return (
        f'<div class="chart" role="group" aria-label="Answers over time, {len(lanes)} different ones">{drawn}'
        f'<div class="chart-row"><span></span><div class="lane-axis">{axis}</div><b></b></div></div>'
    )


def _thinned(rows: list[Mapping[str, Any]], seconds: float) -> Iterable[Mapping[str, Any]]:
    """Return of each stretch of a lane, of which there are as many as can be told apart, the surest row."""
    if len(rows) <= MOST_MARKS:
        return rows
    surest: dict[int, Mapping[str, Any]] = {}
    for row in rows:
        place = int(MOST_MARKS * row["start_seconds"] / seconds)
        if place not in surest or (row["certainty"] or 0.0) > (surest[place]["certainty"] or 0.0):
            surest[place] = row
    return surest.values()


def _mark(row: Mapping[str, Any], seconds: float) -> str:
    start, end = row["start_seconds"], row["end_seconds"]
    span = Span(start, end, row["label"], row["confidence"], row["score"])
    return (
        f'<i style="left:{100 * start / seconds:.3f}%;width:{100 * (end - start) / seconds:.3f}%;'
        f'opacity:{span.opacity:.2f}" title="{clock(start)} to {clock(end)}{span.sure}"></i>'
    )


def write_files(jsonl: Path, named: Mapping[str, str], failures: Sequence[Failure] = ()) -> list[str]:
    """Write the other formats beside a run's rows; return all files there are, folders as zip.

    Parameters
    ----------
    jsonl : Path
        Rows of a run; its stem is that of the other files. Its recordings are called by their names.
    named : mapping
        For each name of a recording its path, whose header tells the highest frequency for Raven.
    failures : sequence of Failure
        What is wrong with recordings, as it is to be read; a file of its own.
    """
    outputs = [*_write_answers(jsonl, named), *_write_failures(jsonl, failures)]
    return [str(path) for path in outputs]


def _write_answers(jsonl: Path, named: Mapping[str, str]) -> list[Path]:
    if not jsonl.stat().st_size:
        return []
    outputs = [jsonl]
    outputs += write_tables(read_rows(jsonl), "csv", jsonl.with_suffix(""), overwrite=True)
    raven, audacity = jsonl.with_suffix(".raven"), jsonl.with_suffix(".audacity")
    for folder in (raven, audacity):
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier time that did not come to its end

    def header_of(name: str) -> Header:
        return replace(read_header(named[name]), path=name)

    # Files go by the recordings' names, which differ; their paths have folders that nobody knows.
    here = os.path.abspath("")
    calibrated, several = are_calibrated(read_rows(jsonl)), have_several_queries(read_rows(jsonl))
    for writer in (
        RavenWriter(raven, here, header_of, calibrated=calibrated, several_queries=several),
        AudacityWriter(audacity, here),
    ):
        with closing(writer):
            for row in annotation_rows(read_rows(jsonl), merge=True):
                writer.write(row)
    for folder in (raven, audacity):
        outputs.append(Path(shutil.make_archive(str(folder), "zip", folder)))
        shutil.rmtree(folder)
    return outputs


def _write_failures(jsonl: Path, failures: Sequence[Failure]) -> list[Path]:
    if not failures:
        return []
    path = jsonl.with_suffix(FAILURES)
    with closing(JsonlWriter(path)) as writer:
        for failure in failures:
            writer.write(failure.as_row())
    return [path]


def failures_html(reasons: Sequence[str]) -> str:
    """Return what is wrong with recordings that could not be read, or could be only in part."""
    if not reasons:
        return ""
    items = "".join(f"<li>{escape(reason)}</li>" for reason in reasons[:MOST_REASONS])
    if len(reasons) > MOST_REASONS:
        items += f"<li>… and {len(reasons) - MOST_REASONS} more</li>"
    return f'<div class="notice" role="alert"><b>Not all could be read</b><ul>{items}</ul></div>'
