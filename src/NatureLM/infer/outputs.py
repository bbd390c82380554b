"""The files of a run: nothing half-written under its final name, nothing of an earlier run lost.

A run has three files: the results, ``<results>.failures.jsonl`` (only where a recording failed) and
``<results>.run.json`` (parameters, model and counts). While it goes on, rows lie in
``<results>.<process id>.unfinished``, flushed one by one. At the end they take their final names; a run
that was stopped keeps them as ``<results>.partial``.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from NatureLM.errors import ConfigError
from NatureLM.infer.answers import Answer, Failure
from NatureLM.infer.writers import JsonlWriter, Writer, check_format, open_writer

DEFAULT_OUTPUT = Path("inference_output.jsonl")
FAILURES = ".failures.jsonl"
RUN = ".run.json"


class RunFiles:
    """The files of one run.

    Parameters
    ----------
    results : Path or None
        Where the results go; None takes ``inference_output.jsonl`` here. A file that the user named is
        never replaced unasked; the default one gives way.
    overwrite : bool
        Whether a file that the user named may be replaced.

    Raises
    ------
    ConfigError
        The results cannot be written there, or exist already.
    """

    def __init__(self, results: Path | None = None, *, overwrite: bool = False) -> None:
        self.named = results is not None
        self.results = results or DEFAULT_OUTPUT
        self.overwrite = overwrite
        self.answers = 0
        self.failures = 0
        self._answer_writer: Writer | None = None
        self._failure_writer: JsonlWriter | None = None
        self._check()

    def begin(self, parameters: Mapping[str, Any]) -> Path | None:
        """Open the files; move an earlier default output of other parameters aside.

        Returns
        -------
        Path or None
            Where an earlier output now lies, if it was moved.
        """
        self.parameters = dict(parameters)
        try:
            self.results.parent.mkdir(parents=True, exist_ok=True)
            self._answer_writer = open_writer(self._unfinished(), self.results)
        except OSError as error:
            raise ConfigError(
                f"--output-path {self.results}: cannot be written ({error.strerror or error})."
            ) from None
        if self.named or not self.results.exists() or self._written_with(self.parameters):
            return None
        return move_aside(self.results)

    def write_answer(self, answer: Answer) -> None:
        """Write a row of the results."""
        assert self._answer_writer is not None, "begin() comes first"
        self._answer_writer.write(answer.as_row())
        self.answers += 1

    def write_failure(self, failure: Failure) -> None:
        """Write a row of the list of failures."""
        if self._failure_writer is None:
            self._failure_writer = JsonlWriter(self._unfinished(FAILURES))
        self._failure_writer.write(failure.as_row())
        self.failures += 1

    def finish(self, counts: Mapping[str, Any]) -> None:
        """Give the files their final names, in place of those of an earlier run."""
        with _undisturbed():
            self._close()
            self._settle(self.results, {**counts, "complete": True})

    def keep_partial(self, counts: Mapping[str, Any]) -> Path | None:
        """Keep what a stopped run has written; return where, or None where there is nothing."""
        with _undisturbed():
            self._close()
            if not self.answers and not self.failures:
                self._unfinished().unlink(missing_ok=True)
                return None
            partial = _beside(self.results, ".partial")
            if partial.exists():
                move_aside(partial)
            self._settle(partial, {**counts, "complete": False})
            return partial

    def failures_path(self) -> Path:
        """Return where the list of failures lies at the end."""
        return _beside(self.results, FAILURES)

    def _check(self) -> None:
        check_format(self.results)
        if self.results.is_dir():
            raise ConfigError(f"--output-path {self.results}: is a folder; name a file in it.")
        if self.named and self.results.exists() and not self.overwrite:
            raise ConfigError(
                f"--output-path {self.results}: exists already; choose another name, or replace it with "
                "--overwrite."
            )
        folder = next((parent for parent in self.results.absolute().parents if parent.exists()), Path("/"))
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ConfigError(f"--output-path {self.results}: {folder} is no folder that can be written to.")

    def _settle(self, results: Path, counts: Mapping[str, Any]) -> None:
        run = {**self.parameters, **counts}
        unfinished = self._unfinished(RUN)
        unfinished.write_text(json.dumps(run, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        if self._failure_writer is None:
            _beside(results, FAILURES).unlink(missing_ok=True)
        else:
            self._unfinished(FAILURES).replace(_beside(results, FAILURES))
        self._unfinished().replace(results)
        unfinished.replace(_beside(results, RUN))

    def _close(self) -> None:
        for writer in (self._answer_writer, self._failure_writer):
            if writer is not None:
                writer.close()

    def _unfinished(self, suffix: str = "") -> Path:
        return _beside(self.results, f"{suffix}.{os.getpid()}.unfinished")

    def _written_with(self, parameters: Mapping[str, Any]) -> bool:
        try:
            run = json.loads(_beside(self.results, RUN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        plain = json.loads(json.dumps(parameters))
        return isinstance(run, dict) and all(run.get(key) == value for key, value in plain.items())


def move_aside(results: Path) -> Path:
    """Give results and their companions a name that is free, ``results.1.jsonl``; return it."""
    number = 1
    while any(_beside(_numbered(results, number), suffix).exists() for suffix in ("", FAILURES, RUN)):
        number += 1
    aside = _numbered(results, number)
    for suffix in ("", FAILURES, RUN):
        if _beside(results, suffix).exists():
            _beside(results, suffix).rename(_beside(aside, suffix))
    return aside


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


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
