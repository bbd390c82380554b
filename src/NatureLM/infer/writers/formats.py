"""Which formats there are, and which files of which names a run writes in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from rapidfuzz import fuzz

from NatureLM.errors import ConfigError
from NatureLM.infer.writers.annotations import (
    AudacityWriter,
    KaleidoscopeWriter,
    RavenCombinedWriter,
    RavenWriter,
)
from NatureLM.infer.writers.jsonl import JsonlWriter, Writer
from NatureLM.infer.writers.rows import SPECIES_COLUMNS
from NatureLM.infer.writers.tables import CsvWriter, ParquetWriter


@dataclass(frozen=True)
class Contents:
    """What a writer may need to know beside the rows.

    Attributes
    ----------
    columns : sequence of str
        Of a table.
    species_columns : sequence of str
        Of a detection in a table.
    parameters : mapping
        Of the run.
    root : str
        The folder that all recordings share.
    calibrated : bool
        Whether detections have a probability.
    several_queries : bool
        Whether more than one question was asked; known for annotations alone.
    """

    columns: Sequence[str] = ()
    species_columns: Sequence[str] = SPECIES_COLUMNS
    parameters: dict[str, Any] = field(default_factory=dict)
    root: str = ""
    calibrated: bool = False
    several_queries: bool = False


@dataclass(frozen=True)
class Format:
    """One format of the results.

    Attributes
    ----------
    name : str
        As ``--format`` has it.
    ending : str
        What its file's name ends with, after the stem of the results.
    rows : {"answers", "table", "annotations"}
        One row per answer, rows that ``long`` can spread over species, or always one per species.
    open : callable
        Makes the writer.
    is_folder : bool
        Whether it is a folder of files.
    """

    name: str
    ending: str
    rows: Literal["answers", "table", "annotations"]
    open: Callable[[Path, Contents], Writer]
    is_folder: bool = False


_ALL = (
    Format("jsonl", ".jsonl", "answers", lambda path, _: JsonlWriter(path)),
    Format("csv", ".csv", "table", lambda path, of: CsvWriter(path, of.columns)),
    Format(
        "parquet",
        ".parquet",
        "table",
        lambda path, of: ParquetWriter(path, of.columns, of.parameters, of.species_columns),
    ),
    Format(
        "raven",
        ".raven",
        "annotations",
        lambda path, of: RavenWriter(
            path, of.root, calibrated=of.calibrated, several_queries=of.several_queries
        ),
        is_folder=True,
    ),
    Format(
        "raven-combined",
        ".selections.txt",
        "annotations",
        lambda path, of: RavenCombinedWriter(
            path, calibrated=of.calibrated, several_queries=of.several_queries
        ),
    ),
    Format(
        "audacity", ".audacity", "annotations", lambda path, of: AudacityWriter(path, of.root), is_folder=True
    ),
    Format(
        "kaleidoscope",
        ".kaleidoscope.csv",
        "annotations",
        lambda path, of: KaleidoscopeWriter(
            path, of.root, calibrated=of.calibrated, several_queries=of.several_queries
        ),
    ),
)
FORMATS = {each.name: each for each in _ALL}
"""Every format by its name."""

JSONL = FORMATS["jsonl"]


@dataclass(frozen=True)
class Outputs:
    """The files that a run writes its answers to.

    Attributes
    ----------
    stem : Path
        What their names begin with.
    formats : tuple of Format
        jsonl first, where it is asked for; each once.
    named : tuple of (Format, Path), optional
        The one file whose whole name was given, as it was given.
    long, merge_consecutive : bool
        As in :func:`~NatureLM.infer.writers.write_tables`.
    """

    stem: Path
    formats: tuple[Format, ...]
    named: tuple[Format, Path] | None = None
    long: bool = False
    merge_consecutive: bool = False

    def path(self, of: Format) -> Path:
        """Return where this format goes."""
        if self.named is not None and of is self.named[0]:
            return self.named[1]
        return self.stem.with_name(self.stem.name + of.ending)

    @property
    def main(self) -> Path:
        """Return the file beside which the run's other files lie."""
        return self.path(self.formats[0])

    @property
    def tables(self) -> tuple[Format, ...]:
        """Return the formats that are made of the finished jsonl."""
        return tuple(each for each in self.formats if each is not JSONL)

    def paths(self) -> list[Path]:
        """Return every file, in the formats' order."""
        return [self.path(each) for each in self.formats]

    def siblings(self) -> Iterator[Path]:
        """Yield the files of all formats that a run of this stem may have written."""
        yield from (self.path(each) for each in _ALL)


def choose_outputs(
    output: Path,
    formats: str | Sequence[str] | None = None,
    *,
    long: bool = False,
    merge_consecutive: bool = False,
) -> Outputs:
    """Return what is to be written for an output path and the formats asked for.

    Parameters
    ----------
    output : Path
        A file whose ending names a format (which is the only one, unless others are asked for), or what
        the names of the files of all ``formats`` begin with.
    formats : str or sequence of str, optional
        Names, each of which may be several with commas between: ``"jsonl,csv"``.
    long, merge_consecutive : bool
        Must hold for one of the formats.

    Raises
    ------
    ConfigError
        An unknown format (the nearest known one is named), an ending that contradicts the formats, an
        option that no format heeds, or a format that needs a package which is not installed.
    """
    asked = _parse(formats)
    ending = _named_by(output)
    if not asked and ending is None:
        endings = ", ".join(each.ending for each in _ALL)
        raise ConfigError(
            f"--output-path {output}: results are written as {endings}; name a file that ends so, for "
            "example results.jsonl, or say --format."
        )
    if asked and ending is not None and ending not in asked:
        names = ",".join(each.name for each in asked)
        raise ConfigError(
            f"--output-path {output}: ends like {ending.name}, but --format says {names}; add "
            f"{ending.name} to the formats, or leave out the ending."
        )
    chosen = tuple(each for each in _ALL if each in asked or (not asked and each is ending))
    if ending is None:
        outputs = Outputs(output, chosen, None, long, merge_consecutive)
    else:
        stem = output.with_name(output.name[: -len(ending.ending)])
        outputs = Outputs(stem, chosen, (ending, output), long, merge_consecutive)
    _check_options(outputs)
    return outputs


def _parse(formats: str | Sequence[str] | None) -> list[Format]:
    texts = [formats] if isinstance(formats, str) else formats or ()
    names = [name.strip().lower() for text in texts for name in text.split(",")]
    for name in names:
        if name not in FORMATS:
            best = max(FORMATS, key=lambda known: fuzz.ratio(known, name))
            raise ConfigError(
                f"--format {name!r}: no such format; did you mean {best}? Known: {', '.join(FORMATS)}."
            )
    return [FORMATS[name] for name in names]


def _named_by(output: Path) -> Format | None:
    """Return the format whose ending the name has; the longest ending counts, and a stem must be left."""
    name = output.name.lower()
    fitting = [each for each in _ALL if name.endswith(each.ending) and len(name) > len(each.ending)]
    return max(fitting, key=lambda each: len(each.ending), default=None)


def _check_options(outputs: Outputs) -> None:
    kinds = {each.rows for each in outputs.formats}
    names = ",".join(each.name for each in outputs.formats)
    if outputs.long and "table" not in kinds:
        raise ConfigError(f"--long is for csv and parquet, but the format is {names}; add --format csv.")
    if outputs.merge_consecutive and not (outputs.long or "annotations" in kinds):
        raise ConfigError(
            f"--merge-consecutive is for formats with a row per species, but the format is {names}; add "
            "--long to csv or parquet, or take raven, raven-combined, audacity or kaleidoscope."
        )
    if FORMATS["parquet"] in outputs.formats and find_spec("pyarrow") is None:
        raise ConfigError(
            "--format parquet needs pyarrow, which is not installed: pip install pyarrow, or take csv."
        )
    if os.path.isdir(outputs.stem) and outputs.named is None:
        raise ConfigError(f"--output-path {outputs.stem}: is a folder; name a file in it.")
