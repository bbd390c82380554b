"""From the rows of a run to every format: streamed, under temporary names, then put in place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain, count
from pathlib import Path
from typing import Any

from NatureLM.errors import ConfigError
from NatureLM.infer.answers import Answer
from NatureLM.infer.output_names import first_free
from NatureLM.infer.writers.annotations import RavenWriter
from NatureLM.infer.writers.formats import JSONL, Contents, Format, Outputs, choose_outputs
from NatureLM.infer.writers.jsonl import JsonlWriter, read_rows
from NatureLM.infer.writers.places import common_folder
from NatureLM.infer.writers.rows import (
    COLUMNS,
    annotation_rows,
    are_calibrated,
    have_several_queries,
    long_columns,
    long_rows,
    species_columns,
)
from NatureLM.json_text import parse_json

LEFT_BY_SYSTEMS = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""Files that Finder and Explorer leave in the folders that they show."""

Rows = str | os.PathLike[str] | Iterable[Answer | Mapping[str, Any]]


def write_tables(
    rows: Rows,
    formats: str | Sequence[str] | None = None,
    output: str | os.PathLike[str] = "results",
    *,
    long: bool = False,
    merge_consecutive: bool = False,
    overwrite: bool = False,
    parameters: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write answers in other formats; nothing half-written is left under its final name.

    Parameters
    ----------
    rows : path, or iterable of Answer or mapping
        The jsonl file of a run, or answers as they come (they need not fit into memory), recording by
        recording.
    formats : str or sequence of str, optional
        As for ``--format``, for example ``"csv,raven"``; without it, what ``output`` ends with.
    output : path
        As for ``--output-path``.
    long : bool
        csv and parquet get a row per species and window.
    merge_consecutive : bool
        In formats with a row per species, windows that follow one another become one row.
    overwrite : bool
        Whether files that exist are replaced.
    parameters : mapping, optional
        Parameters of the run, for parquet's metadata; read from ``<rows>.run.json`` unless given.

    Returns
    -------
    list of Path
        The files and folders written.

    Raises
    ------
    ConfigError
        As :func:`~NatureLM.infer.writers.choose_outputs`; a file exists already; ``rows`` is no such file.
    OSError
        A file cannot be written.

    Examples
    --------
    >>> write_tables("results.jsonl", "csv,raven", "results", merge_consecutive=True)  # doctest: +SKIP
    [PosixPath('results.csv'), PosixPath('results.raven')]
    """
    outputs = choose_outputs(Path(output), formats, long=long, merge_consecutive=merge_consecutive)
    for path in outputs.paths():
        if path.exists() and not overwrite:
            raise ConfigError(f"{path}: exists already; choose another name, or pass overwrite=True.")
    if not isinstance(rows, (str, os.PathLike)):
        with tempfile.TemporaryDirectory() as folder:
            spooled = Path(folder) / "rows.jsonl"
            with closing(JsonlWriter(spooled)) as writer:
                for row in rows:
                    writer.write(row.as_row() if isinstance(row, Answer) else row)
            return _write_all(spooled, outputs, parameters or {})
    source = Path(rows)
    if not source.is_file():
        raise ConfigError(f"{source}: no such file; give the jsonl file that a run wrote.")
    if parameters is None:
        parameters = _parameters_beside(source)
    return _write_all(source, outputs, parameters)


def write_unfinished(
    rows: Callable[[], Iterator[Mapping[str, Any]]],
    outputs: Outputs,
    parameters: Mapping[str, Any],
    formats: Sequence[Format],
    ending: str,
    *,
    calibrated: bool = False,
) -> dict[Path, Path]:
    """Write ``formats`` under temporary names; return each temporary name with its final one.

    Parameters
    ----------
    rows : callable
        Begins to yield the rows; called for each format.
    outputs : Outputs
    parameters : mapping
        Of the run.
    formats : sequence of Format
    ending : str
        What temporary names have behind the final ones.
    calibrated : bool
        Whether detections have a probability.

    Raises
    ------
    OSError, ConfigError
        Something cannot be written or read; nothing is left.
    """
    written: dict[Path, Path] = {}
    root: str | None = None
    several_queries = False
    try:
        for each in formats:
            final = outputs.path(each)
            unfinished = final.with_name(final.name + ending)
            remove(unfinished)
            written[unfinished] = final
            if root is None and each.rows == "annotations":
                root = common_folder(row["audio_path"] for row in rows())
                several_queries = have_several_queries(rows())
            contents = Contents(
                columns=long_columns(calibrated) if outputs.long else COLUMNS,
                species_columns=species_columns(calibrated),
                parameters=dict(parameters),
                root=root or "",
                calibrated=calibrated,
                several_queries=several_queries,
            )
            writer = each.open(unfinished, contents)
            with closing(writer):
                for row in _rows_for(each, outputs, rows()):
                    writer.write(row)
    except BaseException:
        for unfinished in written:
            remove(unfinished)
        raise
    return written


def put_in_place(unfinished: Path, final: Path) -> None:
    """Give a file or folder its final name; of a folder that is replaced, files that may not be ours stay.

    They stay under the folder's name with ``.old`` behind it: all but selection tables, which a name of their
    own tells, and what the new folder has anew (any text may be called as label tracks are).
    """
    if not unfinished.is_dir():
        unfinished.replace(final)
        return
    ends = chain([""], (f".{number}" for number in count(1)))
    old = first_free(final.with_name(f"{final.name}.old{end}") for end in ends)
    if final.exists():
        final.rename(old)
    unfinished.rename(final)
    if old.exists():
        _remove_ours(old, final)


def remove(path: Path) -> None:
    """Remove a file or folder of ours, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_all(source: Path, outputs: Outputs, parameters: Mapping[str, Any]) -> list[Path]:
    outputs.main.absolute().parent.mkdir(parents=True, exist_ok=True)
    calibrated = "calibration" in parameters or are_calibrated(read_rows(source))
    unfinished = write_unfinished(
        lambda: read_rows(source),
        outputs,
        parameters,
        outputs.formats,
        f".{os.getpid()}.writing",
        calibrated=calibrated,
    )
    for path, final in unfinished.items():
        put_in_place(path, final)
    return outputs.paths()


def _rows_for(
    each: Format, outputs: Outputs, rows: Iterator[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    if each.rows == "annotations":
        return annotation_rows(rows, merge=outputs.merge_consecutive)
    if each is not JSONL and outputs.long:
        return long_rows(rows, merge=outputs.merge_consecutive)
    return rows


def _parameters_beside(source: Path) -> dict[str, Any]:
    try:
        parameters = parse_json(source.with_name(f"{source.name}.run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return parameters if isinstance(parameters, dict) else {}


def _remove_ours(old: Path, new: Path) -> None:
    for place, _, names in os.walk(old, topdown=False):
        for name in names:
            path = Path(place, name)
            is_anew = (new / path.relative_to(old)).exists()
            if is_anew or name.endswith(RavenWriter.ending) or name in LEFT_BY_SYSTEMS:
                path.unlink()
        if not os.listdir(place):
            os.rmdir(place)
