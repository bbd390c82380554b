"""The journal of a run: what is finished, so that the same command goes on where a run was stopped.

``<output>.journal`` holds JSON lines. The first is the header: every parameter, and a fingerprint over those
that can change an answer. Then comes a line for each finished batch, with a part for each recording in it:

    {"parts": [{"path": ..., "key": [size, mtime_ns], "windows": 2, "state": "open", "rows": [...]}]}

and, each time that tables are written, one that names them. Lines are only ever added, each handed to the
system whole before the next batch begins, so a process killed at any moment loses at most a torn last line:
that is cut off. After a loss of power the last ``SYNC_SECONDS`` may be missing too.

A recording's parts belong together while its key (size in bytes, time of change in nanoseconds) is the same.
In memory is kept where a recording's rows are, not the rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Literal

from NatureLM.errors import ConfigError
from NatureLM.infer.locking import try_lock
from NatureLM.infer.writers.jsonl import append_line
from NatureLM.json_text import parse_json

Key = tuple[int, int]
"""Size in bytes and time of change in nanoseconds; (-1, -1) of a file that cannot be asked."""

State = Literal["open", "finished", "failed"]

MARK = "naturelm_journal"
LAYOUT = 1
SYNC_SECONDS = 5.0
"""Longest time that finished batches are left to the system's memory alone."""

NO_CHANGE = (
    *("audio_paths", "recordings_fingerprint", "model.requested", "model.loaded", "calibration.file"),
    *("data_path", "components", "limit"),
)
"""Parameters that change no answer about a recording: two runs are the same without them."""

LINES_KEPT = 8
"""Recordings that follow one another share lines, so each line is read about once."""


def file_key(path: Path) -> Key:
    """Return the key of a file as it is now."""
    try:
        status = path.stat()
    except OSError:
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns)


@dataclass
class Part:
    """What a batch says of one recording: rows of its next windows, and whether it ended.

    Attributes
    ----------
    path : str
        The recording as it was given.
    key : tuple of int
        As :func:`file_key` returned it before the recording was read.
    windows : int
        How many windows ``rows`` are about.
    state : {"open", "finished", "failed"}
        Where the recording stands after this batch.
    reason : str or None
        Why it failed.
    rows : list of dict
        Rows of the results.
    anew : bool
        Whether what was said of the recording before does not hold any more.
    """

    path: str
    key: Key
    windows: int = 0
    state: State = "open"
    reason: str | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    anew: bool = False


class Progress:
    """How far a recording is: windows, rows and seconds so far, its state, the lines of its rows."""

    __slots__ = ("answers", "key", "lines", "reason", "state", "until", "windows")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.windows = 0
        self.answers = 0
        self.until: float | None = None
        self.state: State = "open"
        self.reason: str | None = None
        self.lines: list[int] = []


class Journal:
    """An open journal, locked against other runs; see :meth:`open` and :meth:`create`.

    Attributes
    ----------
    path : Path
    parameters : dict
        Of the run, as the header has them.
    tables : set of str
        Names of the files that were written from this journal.
    stamps : dict of str to set of str
        For each of these names, the stamps of the tables that were written under it.
    left_out : set of str
        Recordings that the tables written last do not hold, though the journal does.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self.parameters: dict[str, Any] = {}
        self.tables: set[str] = set()
        self.stamps: dict[str, set[str]] = {}
        self.left_out: set[str] = set()
        self._file = file
        self._size = 0
        self._synced = time.monotonic()
        self._recordings: dict[str, Progress] = {}

    @classmethod
    def open(cls, path: Path) -> Journal | None:
        """Open the journal of an earlier run; None if there is none, or not even its header is whole.

        Raises
        ------
        ConfigError
            Another run is writing it, or it is no journal.
        OSError
            It cannot be read or written.
        """
        try:
            file = open(path, "r+b", buffering=0)  # noqa: SIM115  # closed by close()
        except FileNotFoundError:
            return None
        journal = cls(path, file)
        try:
            journal._lock()
            if journal._read():
                return journal
        except BaseException:
            file.close()
            raise
        file.close()
        return None

    @classmethod
    def create(cls, path: Path, parameters: Mapping[str, Any]) -> Journal:
        """Begin a journal, in place of one without a whole header.

        Raises
        ------
        ConfigError
            Another run has just begun one.
        OSError
            It cannot be written.
        """
        file = open(path, "a+b", buffering=0)  # noqa: SIM115  # closed by close(); leaves content alone
        journal = cls(path, file)
        try:
            journal._lock()
            file.truncate(0)
            journal.parameters = _plain(parameters)
            header = {
                MARK: LAYOUT,
                "fingerprint": fingerprint(parameters),
                "parameters": journal.parameters,
            }
            journal._add(header)
        except BaseException:
            file.close()
            raise
        return journal

    def add(self, parts: Sequence[Part]) -> None:
        """Add a finished batch; parts that say nothing are left out.

        Raises
        ------
        OSError
            It cannot be written; the journal ends with the batch before it.
        """
        telling = [vars(part) for part in parts if part.rows or part.anew or part.state != "open"]
        if telling:
            line = self._size
            self._add({"parts": telling})
            self._take_in(telling, line)
            if time.monotonic() - self._synced > SYNC_SECONDS:
                self.sync()

    def add_tables(self, stamps: Mapping[str, str], left_out: Iterable[str]) -> None:
        """Say which tables, by name and stamp, are about to be put in place, without these recordings."""
        self._take_in_tables(stamps, stamps, left_out)
        self._add({"tables": sorted(self.tables), "left_out": sorted(self.left_out), "stamps": dict(stamps)})
        self.sync()

    def progress(self, path: str, key: Key) -> Progress:
        """Return how far a recording is; one that has changed since, or is new, is at its beginning."""
        known = self._recordings.get(path)
        return known if known is not None and known.key == key else Progress(key)

    def answered(self) -> Iterator[str]:
        """Yield the recordings that have rows."""
        return (path for path, progress in self._recordings.items() if progress.answers)

    def rows(self, recordings: Mapping[str, Key]) -> Iterator[dict[str, Any]]:
        """Yield the rows of these recordings, in their order."""
        with self.path.open("rb") as file:

            @lru_cache(maxsize=LINES_KEPT)
            def parts(line: int) -> dict[str, list[dict[str, Any]]]:
                file.seek(line)
                return {part["path"]: part["rows"] for part in json.loads(file.readline())["parts"]}

            for path, key in recordings.items():
                for line in self.progress(path, key).lines:
                    yield from parts(line)[path]

    def sync(self) -> None:
        """Have everything written to the disk itself."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Let go of the journal; it stays where it is."""
        self._file.close()

    def remove(self) -> None:
        """Close and delete it."""
        self.close()
        self.path.unlink(missing_ok=True)

    def move(self, path: Path) -> None:
        """Close it and give it another name."""
        self.close()
        self.path.replace(path)

    def _lock(self) -> None:
        # The second condition: between opening and locking, its owner may have moved it away.
        if try_lock(self._file):
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.path)):
                    return
        raise ConfigError(
            f"{self.path}: another run is writing there; wait until it has ended, or name another "
            "--output-path."
        )

    def _read(self) -> bool:
        """Read what is whole and cut off the rest; return whether there is a header."""
        with self.path.open("rb") as file:
            header = file.readline()
            if not header.endswith(b"\n") and f'{{"{MARK}"'.encode().startswith(header[: len(MARK) + 3]):
                return False
            content = _parsed(header)
            if content is None or content.get(MARK) != LAYOUT or "parameters" not in content:
                raise ConfigError(
                    f"{self.path}: is no journal of a run of this version; move it away, or name another "
                    "--output-path."
                )
            self.parameters = content["parameters"]
            self._size = len(header)
            while (content := _parsed(line := file.readline())) is not None:
                if "tables" in content:
                    self._take_in_tables(content["tables"], content.get("stamps", {}), content["left_out"])
                else:
                    self._take_in(content["parts"], self._size)
                self._size += len(line)
        self._file.truncate(self._size)
        self._file.seek(self._size)
        return True

    def _take_in_tables(
        self, names: Iterable[str], stamps: Mapping[str, str], left_out: Iterable[str]
    ) -> None:
        self.tables.update(names)
        self.left_out = set(left_out)
        for name, stamp in stamps.items():
            self.stamps.setdefault(name, set()).add(stamp)

    def _take_in(self, parts: Iterable[Mapping[str, Any]], line: int) -> None:
        for part in parts:
            key = tuple(part["key"])
            progress = self._recordings.get(part["path"])
            if progress is None or progress.key != key or part.get("anew"):
                progress = self._recordings[part["path"]] = Progress(key)
            progress.windows += part["windows"]
            progress.answers += len(part["rows"])
            progress.state, progress.reason = part["state"], part["reason"]
            if part["rows"]:
                progress.lines.append(line)
                progress.until = part["rows"][-1].get("end_seconds")

    def _add(self, record: Mapping[str, Any]) -> None:
        self._size += append_line(self._file, record, self._size)


def fingerprint(parameters: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits over the parameters that can change an answer."""
    relevant = {key: value for key, value in _flat(_plain(parameters)) if key not in NO_CHANGE}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()[:16]


def difference(there: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Return which parameter that can change an answer differs, with both values; None if none does."""
    before, after = (dict(_flat(_plain(parameters))) for parameters in (there, now))
    for key in dict.fromkeys((*after, *before)):
        if key not in NO_CHANGE and before.get(key) != after.get(key):
            return f"{key}: {before.get(key)!r} there, {after.get(key)!r} now"
    return None


def _flat(parameters: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters as JSON gives them back."""
    return json.loads(json.dumps(parameters))


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        content = parse_json(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
