"""Where the answers of a run go: into files, or row by row to standard output."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from NatureLM.errors import ConfigError, NatureLMError
from NatureLM.infer.answers import Answer, Failure
from NatureLM.infer.outputs import DEFAULT_STEM, RunFiles
from NatureLM.infer.writers import JsonlWriter, choose_outputs

STANDARD_OUTPUT = Path("-")


class Sink(Protocol):
    """Where a run's answers and failures go."""

    answers: int
    failures: int
    results: Path

    def begin(self, parameters: Mapping[str, Any]) -> None:
        """Be ready for answers; from now on :meth:`finish` or :meth:`keep_partial` must come."""

    def write_answer(self, answer: Answer) -> None:
        """Take an answer."""

    def write_failure(self, failure: Failure) -> None:
        """Take a failure."""

    def finish(self, counts: Mapping[str, Any]) -> Path | None:
        """End a whole run; return where an earlier output now lies, if it was moved."""

    def keep_partial(self, counts: Mapping[str, Any]) -> Path | None:
        """End a stopped run; return where its answers are kept."""

    def failures_path(self) -> Path | None:
        """Return where the list of failures lies at the end, if there is one."""

    def paths(self) -> list[Path]:
        """Return every file and folder of results."""


def open_sink(
    results: Path | None,
    formats: str | Sequence[str] | None = None,
    *,
    overwrite: bool = False,
    long: bool = False,
    merge_consecutive: bool = False,
) -> Sink:
    """Return where answers go: files, or standard output for ``-``; parameters are those of `RunFiles`.

    Raises
    ------
    ConfigError
        As `RunFiles`, or formats beside jsonl for standard output.
    """
    if results != STANDARD_OUTPUT:
        return RunFiles(results, formats, overwrite=overwrite, long=long, merge_consecutive=merge_consecutive)
    if choose_outputs(
        DEFAULT_STEM, formats or "jsonl", long=long, merge_consecutive=merge_consecutive
    ).tables:
        raise ConfigError(
            "--output-path -: standard output takes jsonl only; leave out --format, or name a file."
        )
    return StandardOutput()


class StandardOutput:
    """Rows on standard output as they come, and no files; failures are for whoever watches the run."""

    def __init__(self) -> None:
        self.answers = 0
        self.failures = 0
        self.results = STANDARD_OUTPUT
        self._writer: JsonlWriter | None = None

    def begin(self, parameters: Mapping[str, Any]) -> None:
        """Take hold of standard output."""
        sys.stdout.flush()
        self._writer = JsonlWriter(sys.stdout.fileno())

    def write_answer(self, answer: Answer) -> None:
        """Write a row.

        Raises
        ------
        NatureLMError
            It cannot be written (the reader has left).
        """
        assert self._writer is not None, "begin() comes first"
        try:
            self._writer.write(answer.as_row())
        except OSError as error:
            raise NatureLMError(
                f"standard output takes no more rows ({error.strerror or error}); name a file with "
                "--output-path to keep them all."
            ) from error
        self.answers += 1

    def write_failure(self, failure: Failure) -> None:
        """Count a failure."""
        self.failures += 1

    def finish(self, counts: Mapping[str, Any]) -> Path | None:
        """Do nothing: every row is out."""
        return None

    def keep_partial(self, counts: Mapping[str, Any]) -> Path | None:
        """Do nothing: every row is out."""
        return None

    def failures_path(self) -> Path | None:
        """Return None: there is no such file."""
        return None

    def paths(self) -> list[Path]:
        """Return nothing: there are no files."""
        return []
