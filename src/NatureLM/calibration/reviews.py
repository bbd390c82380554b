"""Tables of verified detections, as users have them: CSV, TSV, Raven's, ours with a verdict."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from NatureLM.errors import ConfigError

ENDINGS = (".csv", ".tsv", ".txt")

COLUMNS = {
    "file": (
        *("file", "audiopath", "path", "filepath", "filename", "beginpath", "beginfile", "infile"),
        *("recording", "audiofile", "audio", "soundfile", "wavfile", "wav"),
    ),
    "start": (
        *("fileoffset", "start", "startseconds", "starttime", "startsec", "begin", "begintime"),
        *("beginseconds", "beginsec", "onset", "offset"),
    ),
    "end": ("end", "endseconds", "endtime", "endsec", "stop", "stopseconds", "stoptime", "stopsec"),
    "duration": ("duration", "durationseconds", "length", "lengthseconds", "deltatime"),
    "scientific": ("scientificname", "scientific", "latinname", "speciesscientificname"),
    "common": (
        *("commonname", "common", "species", "speciesname", "speciescommonname", "vernacularname"),
        *("label", "annotation", "class", "top1match", "name"),
    ),
    "verdict": (
        *("verdict", "correct", "iscorrect", "right", "isright", "valid", "isvalid", "validated"),
        *("validation", "verified", "verification", "confirmed", "outcome"),
        *("truepositive", "istruepositive", "tp", "true"),
    ),
    "channel": ("channel",),
}
"""What columns are called: letters and digits of the name in lower case, without a unit in brackets or
``_s``. The first that a table has is taken."""

YES = frozenset(
    (
        "yes",
        "y",
        "true",
        "t",
        "1",
        "1.0",
        "correct",
        "right",
        "valid",
        "confirmed",
        "verified",
        "tp",
        "present",
    )
)
NO = frozenset(
    ("no", "n", "false", "f", "0", "0.0", "incorrect", "wrong", "invalid", "rejected", "fp", "absent")
)
UNSURE = frozenset(("", "?", "unsure", "uncertain", "unknown", "maybe", "unclear", "na", "n/a", "nan", "u"))
"""Verdicts that count for nothing."""


@dataclass(frozen=True)
class Review:
    """One row of a table: a detection, and whether it is right.

    Attributes
    ----------
    place : str
        File and line, for messages.
    file : str
        The recording, as the table has it.
    start_seconds, end_seconds : float
        Within the recording.
    names : tuple of str
        The species, by any of its names.
    right : bool or None
        None for one that was left open.
    channel : str or None
        ``mix`` or a number from 1, where the table has one.
    """

    place: str
    file: str
    start_seconds: float
    end_seconds: float
    names: tuple[str, ...]
    right: bool | None
    channel: str | None = None


def read_reviews(paths: Sequence[Path]) -> list[Review]:
    """Read tables, and those in folders.

    In a folder, tables without a column for the verdict are those that were not reviewed: their rows are left
    open, if another table of the folder has the column.

    Raises
    ------
    ConfigError
        A file that is no such table, with the column or line that is at fault.
    """
    reviews: list[Review] = []
    for path in paths:
        reviews += _read_folder(path) if path.is_dir() else _read_table(path)
    return reviews


def _read_folder(folder: Path) -> Iterator[Review]:
    tables = sorted(each for each in folder.rglob("*") if each.suffix.lower() in ENDINGS)
    if not tables:
        raise ConfigError(f"{folder}: holds no tables; expected files ending in {', '.join(ENDINGS)}.")
    reviewed = [table for table in tables if _has_verdicts(table)]
    for table in tables:
        yield from _read_table(table, may_be_open=bool(reviewed))


def _has_verdicts(path: Path) -> bool:
    rows, _ = _rows(path)
    return any(_plain(name) in COLUMNS["verdict"] for name in rows.fieldnames or ())


def _read_table(path: Path, *, may_be_open: bool = False) -> Iterator[Review]:
    rows, delimiter = _rows(path)
    columns = _columns_of(path, rows.fieldnames or (), may_be_open=may_be_open)
    try:
        for row in rows:
            yield _review(f"{path}, line {rows.line_num}", row, columns, decimal_comma=delimiter == ";")
    except csv.Error as error:
        raise ConfigError(f"{path}, line {rows.line_num}: cannot be read as a table ({error}).") from None


def _rows(path: Path) -> tuple[csv.DictReader[str], str]:
    """Return a table's rows and what parts its columns."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the table of reviewed detections.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text; save the table as CSV in UTF-8.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}).") from None
    first = text.partition("\n")[0]
    delimiter = max("\t,;", key=first.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        _ = rows.fieldnames  # reads the header
    except csv.Error as error:
        raise ConfigError(f"{path}, line 1: cannot be read as a table ({error}).") from None
    return rows, delimiter


def _columns_of(path: Path, header: Iterable[str | None], *, may_be_open: bool) -> dict[str, str]:
    """Return the table's name for each of our columns that it has."""
    found: dict[str, str] = {}
    names = {_plain(name): name for name in header if name is not None}
    for ours, known in COLUMNS.items():
        for name in known:
            if name in names:
                found[ours] = names[name]
                break
    if _plain(found.get("file", "")) == "infile" and "folder" in names:
        found["folder"] = names["folder"]  # Kaleidoscope's: two cards may hold recordings of one name
    missing = [
        f"{what} (for example {example})"
        for what, example, options in (
            ("the recording", "file", ("file",)),
            ("the start in seconds", "start", ("start",)),
            ("the end in seconds", "end", ("end", "duration")),
            ("the species", "species", ("common", "scientific")),
            ("the verdict", "correct", ("verdict",)),
        )
        if not any(option in found for option in options) and not (may_be_open and "verdict" in options)
    ]
    if missing:
        has = ", ".join(name for name in names.values()) or "none"
        raise ConfigError(f"{path}: lacks a column for {' and '.join(missing)}; its columns are: {has}.")
    if _plain(found["start"]) == "fileoffset":
        # Raven's Begin and End Time may count over several files; their difference is the length.
        for name in ("begintime", "start"):
            if name in names:
                found["begin"] = names[name]
                break
    return found


def _plain(name: str) -> str:
    without_unit = re.sub(r"[\[(].*?[\])]|_s$", "", name.strip().casefold())
    return "".join(letter for letter in without_unit if letter.isalnum())


def _review(
    place: str, row: Mapping[str, str | None], columns: Mapping[str, str], decimal_comma: bool
) -> Review:
    def text(ours: str) -> str:
        return (row.get(columns.get(ours, ""), "") or "").strip()

    def file() -> str:
        folder = text("folder").replace("\\", "/").strip("/")
        return f"{folder}/{text('file')}" if folder else text("file")

    def number(ours: str) -> float:
        written = text(ours).replace(",", ".") if decimal_comma else text(ours)
        try:
            return float(written)
        except ValueError:
            raise ConfigError(
                f"{place}: expected seconds in the column {columns[ours]}, found {text(ours)!r}."
            ) from None

    start = number("start")
    if "end" not in columns:
        end = start + number("duration")
    elif "begin" in columns:
        end = start + number("end") - number("begin")
    else:
        end = number("end")
    if not start < end:
        raise ConfigError(f"{place}: the end ({end:g} s) is not after the start ({start:g} s).")
    verdict = text("verdict").casefold()
    if verdict not in YES | NO | UNSURE:
        raise ConfigError(
            f"{place}: expected yes or no in the column {columns['verdict']} (or nothing, for what was not "
            f"reviewed), found {text('verdict')!r}."
        )
    return Review(
        place=place,
        file=file(),
        start_seconds=start,
        end_seconds=end,
        names=tuple(dict.fromkeys(filter(None, (text("scientific"), text("common"))))),
        right=True if verdict in YES else False if verdict in NO else None,
        channel=_channel(text("channel"), columns),
    )


def _channel(written: str, columns: Mapping[str, str]) -> str | None:
    """Return a channel counted from 1; Kaleidoscope, whose column for the recording it is, counts from 0."""
    written = written.removesuffix(".0")  # as pandas writes a column that has gaps
    if _plain(columns["file"]) == "infile" and written.isdecimal():
        return str(int(written) + 1)
    return written or None
