"""The files of a run: nothing half-written under its final name, nothing of an earlier run lost.

A run has its results in one or several formats, ``<results>.failures.jsonl`` (only where a recording failed),
``<results>.run.json`` (parameters, model and counts) and ``<results>.journal``, to which finished batches go
while it runs. At the end all other files are made of the journal, under names of their own, and take their
final names together. A run that was stopped leaves what it has as ``<results>.partial`` too, for people to
read; the same command goes on from its journal. The files of an earlier run are left as they were until then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from NatureLM.errors import ConfigError, NatureLMError
from NatureLM.infer.guards import undisturbed, written_or_said
from NatureLM.infer.journal import Journal, Key, Part, Progress, difference
from NatureLM.infer.output_names import (
    FAILURES,
    JOURNAL,
    RUN,
    beside,
    free_number,
    move_aside,
    numbered,
    partial_name,
)
from NatureLM.infer.stamps import set_aside, stamp
from NatureLM.infer.writers import (
    JsonlWriter,
    choose_outputs,
    put_in_place,
    remove,
    write_unfinished,
)
from NatureLM.json_text import parse_json

DEFAULT_OUTPUT = Path("inference_output.jsonl")
DEFAULT_STEM = Path("inference_output")
WRITING = ".writing"
"""Ending of files before they take their final names; the journal's lock keeps other runs from them."""

ONLY_IN_RECORD = ("started_at", "finished_at", "waiting_for_audio_share", "asked")
"""What two equal runs differ in: tables are to be the same, byte for byte."""


class RunFiles:
    """The files of one run; whoever opens them must :meth:`close` them.

    Parameters
    ----------
    results : Path or None
        Where the results go; None takes ``inference_output`` here. A file that the user named is never
        replaced unasked, unless the same run wrote it; the default one gives way.
    formats : str or sequence of str, optional
        As in :func:`~NatureLM.infer.writers.choose_outputs`; jsonl where nothing is named.
    overwrite : bool
        Whether files that the user named may be replaced.
    long, merge_consecutive : bool
        As in :func:`~NatureLM.infer.writers.write_tables`.

    Attributes
    ----------
    set_aside : dict of Path to Path
        Tables that somebody had changed since they were written, and where they now lie.

    Raises
    ------
    ConfigError
        The results cannot be written there, or exist already, or another run is writing them.
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
        self.set_aside: dict[Path, Path] = {}
        self.parameters: dict[str, Any] = {}
        self._recordings: dict[str, Key] = {}
        self._begun = False
        self._moved_journal: Path | None = None
        self._is_new = False
        self._journal: Journal | None = None
        try:
            self._check_place()
            self._journal = Journal.open(self.journal_path())
            self._check_replaceable()
        except OSError as error:
            raise self._unusable(error) from None
        except BaseException:
            self.close()
            raise

    def parameters_before(self) -> Mapping[str, Any] | None:
        """Return the parameters of the run that has a journal here, if one has."""
        return None if self._journal is None else self._journal.parameters

    def record_if_all_done(self, recordings: Mapping[str, Key]) -> Mapping[str, Any] | None:
        """Return the record of the whole run before, if it left nothing to do about these recordings.

        Parameters
        ----------
        recordings : mapping of str to Key
            As :meth:`begin` takes them.
        """
        journal, record = self._journal, self._record()
        if journal is None or not record.get("complete"):
            return None
        if difference(journal.parameters, {key: record.get(key) for key in journal.parameters}) is not None:
            return None  # the record of a run that this journal is not of
        done = (journal.progress(path, key).state == "finished" for path, key in recordings.items())
        return record if all(done) else None

    def begin(self, parameters: Mapping[str, Any], recordings: Mapping[str, Key]) -> None:
        """Go on with the journal of the same parameters, or begin one.

        From now on :meth:`finish` or :meth:`keep_partial` must come.

        Parameters
        ----------
        parameters : mapping
            Of the run.
        recordings : mapping of str to Key
            All of the run's recordings in their order, with their keys.

        Raises
        ------
        ConfigError
            The results cannot be written there, or are those of another run.
        """
        self.parameters, self._recordings = dict(parameters), dict(recordings)
        try:
            self.results.parent.mkdir(parents=True, exist_ok=True)
            if self._journal is not None:
                self._check_same(self._journal)
            if self._journal is None:
                self._journal = Journal.create(self.journal_path(), parameters)
                self._is_new = True
        except OSError as error:
            raise self._unusable(error) from None
        self._begun = True

    def progress(self, recording: str) -> Progress:
        """Return how far a recording of the run is."""
        key = self._recordings[recording]
        return Progress(key) if self._journal is None else self._journal.progress(recording, key)

    def write(self, parts: Sequence[Part]) -> None:
        """Take a finished batch.

        Raises
        ------
        NatureLMError
            It cannot be written (disk full).
        """
        with written_or_said(self.results):
            self._open_journal().add(parts)

    @property
    def windows(self) -> int:
        """Windows that have been answered."""
        return sum(progress.windows for progress in self._progress())

    @property
    def answers(self) -> int:
        """Rows of the results."""
        return sum(progress.answers for progress in self._progress())

    @property
    def failures(self) -> int:
        """Recordings that failed."""
        return sum(progress.state == "failed" for progress in self._progress())

    def finish(self, counts: Mapping[str, Any]) -> Path | None:
        """Write every file and give them their final names, in place of those of an earlier run.

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
        journal, moved = self._open_journal(), None
        with written_or_said(self.results):
            journal.sync()
            # A second Ctrl-C is heard here: of a long run this takes a while, and the journal is safe.
            written = self._write_all({**counts, "complete": True})
        with undisturbed(), written_or_said(self.results):
            try:
                if self._gives_way():
                    moved = move_aside(self.results, *self._displaced())
                for path in filter(self._is_changed, self.paths()):
                    self.set_aside[path] = set_aside(path)
                left_out = set(journal.answered()) - self._recordings.keys()
                tables = self.paths()
                stamps = {final.name: stamp(path) for path, final in written.items() if final in tables}
                journal.add_tables(stamps, left_out)
                if not self.failures:
                    self.failures_path().unlink(missing_ok=True)
                for unfinished, final in written.items():
                    put_in_place(unfinished, final)
                if self._written_with(self.parameters, partial_name(self.results)):
                    for path in self._partials():
                        remove(path)
            except OSError:
                _remove_all(written)
                raise
        self.close()
        return moved

    def keep_partial(self, counts: Mapping[str, Any]) -> Path | None:
        """Leave what a stopped run has for people to read; return where, or None where there is nothing.

        Raises nothing: what cannot be written, or is interrupted by a second Ctrl-C, is in the journal,
        whose path is then returned.
        """
        if not self._begun or self._journal is None:
            return None
        with suppress(OSError):
            self._journal.sync()
        if not self.answers and not self.failures:
            with undisturbed(), suppress(OSError):
                self._leave_nothing()
            return None
        partial = partial_name(self.results)
        try:
            written = self._write_all({**counts, "complete": False})
            with undisturbed():
                if partial.exists() and not self._written_with(self.parameters, partial):
                    move_aside(partial, *self._displaced(partial_name))
                for path in self._partials():
                    remove(path)
                for unfinished, final in written.items():
                    put_in_place(unfinished, self._partial_of(final))
        except (OSError, NatureLMError, KeyboardInterrupt):
            _remove_all([*self._writing(self.paths()), *self._writing(self._companions())])
            return self.journal_path()
        finally:
            self.close()
        return partial

    def close(self) -> None:
        """Let go of the journal, for other runs to go on with."""
        if self._journal is not None:
            self._journal.close()

    def failures_path(self) -> Path:
        """Return where the list of failures lies at the end."""
        return beside(self.results, FAILURES)

    def journal_path(self) -> Path:
        """Return where the journal lies."""
        return beside(self.results, JOURNAL)

    def paths(self) -> list[Path]:
        """Return every file and folder of results."""
        return self.outputs.paths()

    def _open_journal(self) -> Journal:
        assert self._journal is not None, "begin() comes first"
        return self._journal

    def _progress(self) -> Iterator[Progress]:
        return map(self.progress, self._recordings)

    def _check_place(self) -> None:
        for each, path in zip(self.outputs.formats, self.paths(), strict=True):
            if path.is_dir() and not each.is_folder:
                raise ConfigError(f"--output-path {path}: is a folder; name a file in it.")
            if path.is_file() and each.is_folder:
                raise ConfigError(f"--output-path {path}: is a file, but is to be a folder; name another.")
        parents = self.results.absolute().parents
        folder = next((parent for parent in parents if parent.exists()), parents[-1])
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ConfigError(f"--output-path {self.results}: {folder} is no folder that can be written to.")

    def _check_replaceable(self) -> None:
        if not self.named or self.overwrite:
            return
        for path in self.paths():
            if path.exists() and not self._is_ours(path):
                raise ConfigError(
                    f"--output-path {path}: exists already; choose another name, or replace it with "
                    "--overwrite (no journal says that this run wrote it)."
                )

    def _check_same(self, journal: Journal) -> None:
        """Refuse the journal of another run, or make room; the default output's is moved aside."""
        other = difference(journal.parameters, self.parameters)
        if other is None:
            if self.named and not self.overwrite and (lost := self._lost()):
                raise ConfigError(
                    f"--output-path {self.results}: holds answers about {len(lost)} recordings that are not "
                    f"asked about now ({lost[0]} is one); ask about them too, choose another name, or "
                    "replace it with --overwrite."
                )
            return
        if not self.named:
            number = free_number(self.results, *self._displaced(), companions=(FAILURES, RUN, JOURNAL))
            self._moved_journal = beside(numbered(self.results, number), JOURNAL)
            journal.move(self._moved_journal)
        elif self.overwrite:
            journal.remove()
        else:
            raise ConfigError(
                f"--output-path {self.results}: {journal.path} is the journal of a run with other parameters "
                f"({other}); choose another name, or begin anew with --overwrite."
            )
        self._journal = None

    def _lost(self) -> list[str]:
        """Return the recordings that the tables in place hold answers about, and this run's would not."""
        journal = self._open_journal()
        if not any(path.exists() for path in self.paths()):
            return []
        return sorted(set(journal.answered()) - journal.left_out - self._recordings.keys())

    def _gives_way(self) -> bool:
        """Whether files of another run are in the way of a default output."""
        present = [path for path in self.paths() if path.exists()]
        if self.named or not present:
            return False
        if all(map(self._is_ours, present)):
            return bool(self._lost())
        return not self._written_with(self.parameters)

    def _displaced(self, name: Callable[[Path], Path] = lambda path: path) -> list[Path]:
        """Return the files that are moved with the results of an earlier run.

        All that would be replaced, and other formats unless they have a record: those are another run's.
        """
        replaced = set(self.paths())
        return [
            name(path)
            for path in self.outputs.siblings()
            if path in replaced or not beside(name(path), RUN).exists()
        ]

    def _is_ours(self, path: Path) -> bool:
        return self._journal is not None and path.name in self._journal.tables

    def _is_changed(self, path: Path) -> bool:
        """Whether a table in place is not as it was written; without a stamp of it nobody can tell."""
        stamps = self._open_journal().stamps.get(path.name, set())
        return bool(stamps) and not self.overwrite and path.exists() and stamp(path) not in stamps

    def _leave_nothing(self) -> None:
        """Undo :meth:`begin`."""
        if self._is_new:
            self._open_journal().remove()
            if self._moved_journal is not None:
                self._moved_journal.replace(self.journal_path())
        self.close()

    def _unusable(self, error: OSError) -> ConfigError:
        reason = error.strerror or error
        return ConfigError(f"--output-path {self.results}: cannot be written ({reason}); name another file.")

    def _write_all(self, counts: Mapping[str, Any]) -> dict[Path, Path]:
        """Write every file under an unfinished name; return each of these with its final name."""
        failures, run = self._companions()
        record = {**self.parameters, **counts}
        lasting = {key: value for key, value in record.items() if key not in ONLY_IN_RECORD}
        written = {}
        try:
            written = write_unfinished(
                *(self._rows, self.outputs, lasting, self.outputs.formats, WRITING),
                calibrated="calibration" in self.parameters,
            )
            if self.failures:
                written[beside(failures, WRITING)] = failures
                with closing(JsonlWriter(beside(failures, WRITING))) as writer:
                    for path, progress in zip(self._recordings, self._progress(), strict=True):
                        if progress.state == "failed":
                            writer.write({"audio_path": path, "reason": progress.reason})
            written[beside(run, WRITING)] = run
            content = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
            beside(run, WRITING).write_text(content, encoding="utf-8", errors="backslashreplace")
        except BaseException:
            _remove_all(written)
            raise
        return written

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        return self._open_journal().rows(self._recordings)

    def _companions(self) -> tuple[Path, Path]:
        return self.failures_path(), beside(self.results, RUN)

    def _partials(self) -> list[Path]:
        return [self._partial_of(path) for path in (*self.paths(), *self._companions())]

    def _partial_of(self, final: Path) -> Path:
        """Return ``a.csv.partial``, and of a companion ``a.csv.partial.run.json``."""
        for companion, suffix in zip(self._companions(), (FAILURES, RUN), strict=True):
            if final == companion:
                return beside(partial_name(self.results), suffix)
        return partial_name(final)

    def _writing(self, paths: Iterable[Path]) -> list[Path]:
        return [beside(path, WRITING) for path in paths]

    def _written_with(self, parameters: Mapping[str, Any], results: Path | None = None) -> bool:
        """Whether the record of a run beside the results has these parameters."""
        record = self._record(results)
        plain = json.loads(json.dumps(parameters))
        return bool(record) and all(record.get(key) == value for key, value in plain.items())

    def _record(self, results: Path | None = None) -> dict[str, Any]:
        """Return the record of a run beside the results; an empty one where there is none to be read."""
        try:
            record = parse_json(beside(results or self.results, RUN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}


def _remove_all(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            remove(path)
