"""The files of a run: nothing half-written under its final name, nothing of an earlier run lost.

A run has its results in one or several formats, ``<results>.failures.jsonl`` (only where a recording failed)
and ``<results>.run.json`` (parameters, model and counts). While it goes on, rows lie in
``<results>.<process id>.unfinished``, written one by one; at the end the other formats are made of them, and
all take their final names. A run that was stopped keeps them as ``<results>.partial``, and leaves those of
an earlier run as they were.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from NatureLM.errors import ConfigError, NatureLMError
from NatureLM.infer.answers import Answer, Failure
from NatureLM.infer.writers import (
    JSONL,
    JsonlWriter,
    Writer,
    choose_outputs,
    put_in_place,
    remove,
    write_unfinished,
)

DEFAULT_OUTPUT = Path("inference_output.jsonl")
DEFAULT_STEM = Path("inference_output")
FAILURES = ".failures.jsonl"
RUN = ".run.json"


class RunFiles:
    """The files of one run.

    Parameters
    ----------
    results : Path or None
        Where the results go; None takes ``inference_output`` here. A file that the user named is never
        replaced unasked; the default one gives way.
    formats : str or sequence of str, optional
        As in :func:`~NatureLM.infer.writers.choose_outputs`; jsonl where nothing is named.
    overwrite : bool
        Whether files that the user named may be replaced.
    long, merge_consecutive : bool
        As in :func:`~NatureLM.infer.writers.write_tables`.

    Raises
    ------
    ConfigError
        The results cannot be written there, or exist already.
    """

    def __init__(
        self,
        results: Path | None = None,
        formats: str | Sequence[str] | None = None,
        *,
        overwrite: bool = False,
        long: bool = False,
        merge_consecutive: bool = False,
    ) -> None:
        self.named = results is not None
        place = results or (DEFAULT_STEM if formats else DEFAULT_OUTPUT)
        self.outputs = choose_outputs(place, formats, long=long, merge_consecutive=merge_consecutive)
        self.results = self.outputs.main
        self.overwrite = overwrite
        self.answers = 0
        self.failures = 0
        self.parameters: dict[str, Any] = {}
        self._rows = self.outputs.path(JSONL)
        self._tables: dict[Path, Path] = {}
        self._answer_writer: Writer | None = None
        self._failure_writer: JsonlWriter | None = None
        self._check()

    def begin(self, parameters: Mapping[str, Any]) -> None:
        """Open the files; from now on :meth:`finish` or :meth:`keep_partial` must come.

        Raises
        ------
        ConfigError
            The results cannot be written there.
        """
        self.parameters = dict(parameters)
        try:
            self.results.parent.mkdir(parents=True, exist_ok=True)
            self._answer_writer = JsonlWriter(self._unfinished_rows())
        except OSError as error:
            raise self._unusable(error) from None

    def write_answer(self, answer: Answer) -> None:
        """Write a row of the results.

        Raises
        ------
        NatureLMError
            It cannot be written (disk full).
        """
        assert self._answer_writer is not None, "begin() comes first"
        with _written_or_said(self.results):
            self._answer_writer.write(answer.as_row())
        self.answers += 1

    def write_failure(self, failure: Failure) -> None:
        """Write a row of the list of failures.

        Raises
        ------
        NatureLMError
            It cannot be written (disk full).
        """
        with _written_or_said(self.failures_path()):
            if self._failure_writer is None:
                self._failure_writer = JsonlWriter(self._unfinished(FAILURES))
            self._failure_writer.write(failure.as_row())
        self.failures += 1

    def finish(self, counts: Mapping[str, Any]) -> Path | None:
        """Give the files their final names, in place of those of an earlier run.

        A default output that other parameters made, or that cannot be told from one, is moved aside.

        Returns
        -------
        Path or None
            Where an earlier output now lies, if it was moved.

        Raises
        ------
        NatureLMError
            A file cannot be written or renamed.
        """
        moved = None
        whole = {**counts, "complete": True}
        with _written_or_said(self.results):
            self._close()
            # A second Ctrl-C is heard here: of a long run this takes a while, and the rows are safe.
            self._tables = self._make_tables(self._unfinished_rows(), whole)
        with _undisturbed(), _written_or_said(self.results):
            run = self._write_run(whole)
            if not self.named and self._in_the_way() and not self._written_with(self.parameters):
                moved = move_aside(self.results, *self.outputs.siblings())
            if JSONL in self.outputs.formats:
                self._unfinished_rows().replace(self._rows)
            for unfinished, final in self._tables.items():
                put_in_place(unfinished, final)
            self._unfinished_rows().unlink(missing_ok=True)
            if self._failure_writer is None:
                self.failures_path().unlink(missing_ok=True)
            else:
                self._unfinished(FAILURES).replace(self.failures_path())
            run.replace(_beside(self.results, RUN))
        return moved

    def keep_partial(self, counts: Mapping[str, Any]) -> Path | None:
        """Keep what a stopped run has written; return where, or None where there is nothing.

        Raises nothing: what cannot be renamed stays under its unfinished name, which is then returned. The
        rows come first; a second Ctrl-C leaves it at them.
        """
        stopped = {**counts, "complete": False}
        with _undisturbed():
            with suppress(OSError):
                self._close()
            for table in self._tables:
                with suppress(OSError):
                    remove(table)
            unfinished = self._unfinished_rows()
            if not self.answers and not self.failures:
                for path in (unfinished, self._unfinished(FAILURES), self._unfinished(RUN)):
                    with suppress(OSError):
                        path.unlink(missing_ok=True)
                return None
            if not os.path.exists(unfinished):  # finish() got as far as the results
                return None
            partial, rows = _partial(self.results), _partial(self._rows)
            try:
                for path in {partial, rows, *map(_partial, self.outputs.paths())}:
                    if path.exists():
                        move_aside(path)
                unfinished.replace(rows)
                if self._failure_writer is not None:
                    self._unfinished(FAILURES).replace(_beside(partial, FAILURES))
            except OSError:
                return unfinished if os.path.exists(unfinished) else rows
            with suppress(OSError):
                self._write_run(stopped).replace(_beside(partial, RUN))
        try:
            for table, final in self._make_tables(rows, stopped).items():
                put_in_place(table, _partial(final))
            if JSONL not in self.outputs.formats:
                rows.unlink()
        except (OSError, NatureLMError, KeyboardInterrupt):
            return rows
        return partial

    def failures_path(self) -> Path:
        """Return where the list of failures lies at the end."""
        return _beside(self.results, FAILURES)

    def paths(self) -> list[Path]:
        """Return every file and folder of results."""
        return self.outputs.paths()

    def _check(self) -> None:
        try:
            for each, path in zip(self.outputs.formats, self.outputs.paths(), strict=True):
                if path.is_dir() and not each.is_folder:
                    raise ConfigError(f"--output-path {path}: is a folder; name a file in it.")
                if path.is_file() and each.is_folder:
                    raise ConfigError(
                        f"--output-path {path}: is a file, but is to be a folder; name another."
                    )
                if self.named and path.exists() and not self.overwrite:
                    raise ConfigError(
                        f"--output-path {path}: exists already; choose another name, or replace it with "
                        "--overwrite."
                    )
            parents = self.results.absolute().parents
            folder = next((parent for parent in parents if parent.exists()), parents[-1])
            if not folder.is_dir() or not os.access(folder, os.W_OK):
                raise ConfigError(
                    f"--output-path {self.results}: {folder} is no folder that can be written to."
                )
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> ConfigError:
        reason = error.strerror or error
        return ConfigError(f"--output-path {self.results}: cannot be written ({reason}); name another file.")

    def _write_run(self, counts: Mapping[str, Any]) -> Path:
        """Write parameters and counts under the unfinished name, whole or not at all."""
        run = self._unfinished(RUN)
        content = json.dumps({**self.parameters, **counts}, indent=2, ensure_ascii=False) + "\n"
        try:
            run.write_text(content, encoding="utf-8", errors="backslashreplace")
        except OSError:
            run.unlink(missing_ok=True)
            raise
        return run

    def _close(self) -> None:
        for writer in (self._answer_writer, self._failure_writer):
            if writer is not None:
                writer.close()

    def _unfinished(self, suffix: str) -> Path:
        return _beside(self.results, f"{suffix}.{os.getpid()}.unfinished")

    def _unfinished_rows(self) -> Path:
        return _beside(self._rows, f".{os.getpid()}.unfinished")

    def _make_tables(self, rows: Path, counts: Mapping[str, Any]) -> dict[Path, Path]:
        return write_unfinished(rows, self.outputs, {**self.parameters, **counts}, self.outputs.tables)

    def _in_the_way(self) -> bool:
        return any(path.exists() for path in self.outputs.paths())

    def _written_with(self, parameters: Mapping[str, Any]) -> bool:
        try:
            run = json.loads(_beside(self.results, RUN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        plain = json.loads(json.dumps(parameters))
        return isinstance(run, dict) and all(run.get(key) == value for key, value in plain.items())


def move_aside(results: Path, *others: Path) -> Path:
    """Give results and their companions a name that is free, ``results.1.jsonl``; return it.

    ``others`` are the same results in other formats, which take the same number.
    """
    companions = [_beside(results, FAILURES), _beside(results, RUN)]
    moving = [path for path in dict.fromkeys((results, *others)) if path.exists()]
    number = 1
    while any(
        path.exists()
        for path in (
            *(_numbered(path, number) for path in moving),
            *(_beside(_numbered(results, number), suffix) for suffix in ("", FAILURES, RUN)),
        )
    ):
        number += 1
    aside = _numbered(results, number)
    for path in moving:
        path.rename(_numbered(path, number))
    for path, suffix in zip(companions, (FAILURES, RUN), strict=True):
        if path.exists():
            path.rename(_beside(aside, suffix))
    return aside


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


def _partial(path: Path) -> Path:
    return _beside(path, ".partial")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


@contextmanager
def _written_or_said(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NatureLMError(
            f"cannot write {path} ({error.strerror or error}); make room on the disk, or give another place "
            "with --output-path, and run again."
        ) from error


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Within it a second Ctrl-C is not heard, so that files get their names together."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
