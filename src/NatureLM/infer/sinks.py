"""Where the answers of a run go: into files, or row by row to standard output."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from NatureLM.errors import ConfigError, NatureLMError
from NatureLM.infer.journal import Key, Part, Progress
from NatureLM.infer.outputs import DEFAULT_STEM, RunFiles
from NatureLM.infer.writers import JsonlWriter, choose_outputs

STANDARD_OUTPUT = Path("-")


class Sink(Protocol):
    """Where a run's answers and failures go."""

    results: Path
    set_aside: dict[Path, Path]

    @property
    def windows(self) -> int:
        """Windows that have been answered."""

    @property
    def answers(self) -> int:
        """Rows of the results."""

    @property
    def failures(self) -> int:
        """Recordings that failed."""

    def parameters_before(self) -> Mapping[str, Any] | None:
        """Return the parameters of the run that can be gone on with, if there is one."""

    def record_if_all_done(self, recordings: Mapping[str, Key]) -> Mapping[str, Any] | None:
        """Return the record of the run before, if it left nothing to do about these recordings."""

    def begin(self, parameters: Mapping[str, Any], recordings: Mapping[str, Key]) -> None:
        """Be ready for batches; from now on :meth:`finish` or :meth:`keep_partial` must come."""

    def progress(self, recording: str) -> Progress:
        """Return how far a recording is already."""

    def write(self, parts: Sequence[Part]) -> None:
        """Take a finished batch."""

    def finish(self, counts: Mapping[str, Any]) -> Path | None:
        """End a whole run; return where an earlier output now lies, if it was moved."""

    def keep_partial(self, counts: Mapping[str, Any]) -> Path | None:
        """End a stopped run; return where its answers are kept."""

    def close(self) -> None:
        """Let go of all files."""

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
        self.windows = 0
        self.answers = 0
        self.failures = 0
        self.results = STANDARD_OUTPUT
        self.set_aside: dict[Path, Path] = {}
        self._writer: JsonlWriter | None = None

    def parameters_before(self) -> Mapping[str, Any] | None:
        """Return None: there is no journal."""
        return None

    def record_if_all_done(self, recordings: Mapping[str, Key]) -> Mapping[str, Any] | None:
        """Return None: there is no record."""
        return None

    def begin(self, parameters: Mapping[str, Any], recordings: Mapping[str, Key]) -> None:
        """Take hold of standard output."""
        sys.stdout.flush()
        self._writer = JsonlWriter(sys.stdout.fileno())

    def progress(self, recording: str) -> Progress:
        """Return that nothing is done."""
        return Progress((-1, -1))

    def write(self, parts: Sequence[Part]) -> None:
        """Write the rows of a batch.

        Raises
        ------
        NatureLMError
            They cannot be written (the reader has left).
        """
        assert self._writer is not None, "begin() comes first"
        for part in parts:
            for row in part.rows:
                try:
                    self._writer.write(row)
                except OSError as error:
                    raise NatureLMError(
                        f"standard output takes no more rows ({error.strerror or error}); name a file with "
                        "--output-path to keep them all."
                    ) from error
                self.answers += 1
            self.windows += part.windows
            self.failures += part.state == "failed"

    def finish(self, counts: Mapping[str, Any]) -> Path | None:
        """Do nothing: every row is out."""
        return None

    def keep_partial(self, counts: Mapping[str, Any]) -> Path | None:
        """Do nothing: every row is out."""
        return None

    def close(self) -> None:
        """Do nothing: standard output is not ours."""

    def failures_path(self) -> Path | None:
        """Return None: there is no such file."""
        return None

    def paths(self) -> list[Path]:
        """Return nothing: there are no files."""
        return []
