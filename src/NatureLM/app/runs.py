"""A run of the engine for the page: in a thread, with its progress to look at, and to be ended early."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from NatureLM.app.files import display_names
from NatureLM.app.model import AppModel
from NatureLM.app.showing import Showing
from NatureLM.audio import probe
from NatureLM.errors import NatureLMError, RecordingError
from NatureLM.infer.answers import Answer, Failure
from NatureLM.infer.engine import Engine, Finished, Recording
from NatureLM.infer.kept_features import KeptFeatures, answer_again
from NatureLM.infer.writers import JsonlWriter, read_rows
from NatureLM.models.answering import Detection

logger = logging.getLogger("NatureLM.app")


class Run(Showing):
    """Answers questions about recordings in the background, and is shown until another takes its place.

    Parameters
    ----------
    model : AppModel
    engine : Engine
        Made for this run alone.
    paths : sequence of Path
    queries : sequence of str
    folder : Path
        Where the answers, and the features of all windows, are kept.

    Attributes
    ----------
    jsonl : Path
        The answers so far, in the rows of ``naturelm infer``; recordings go by their names.
    named : dict
        For each of these names its path.
    answers : int
        How many there are.
    answered_recordings : int
        How many recordings they are about.
    done_recordings : int
        How many recordings are over with, those that cannot be read among them.
    failures : list of Failure
        What is wrong with recordings.
    error : str or None
        What ended the run.
    floor : float or None
        The floor of evidence that the answers were given with.
    wanted_floor : float or None
        The one that they are to be given with once the run has ended; see :meth:`answer_again`.
    answering_again : threading.Lock
        Held by whoever answers again, or makes files of the answers.
    """

    def __init__(
        self, model: AppModel, engine: Engine, paths: Sequence[Path], queries: Sequence[str], folder: Path
    ) -> None:
        super().__init__()
        for query in queries:
            engine.check_query(query)
        self._model = model
        self._engine = engine
        names = display_names(paths)
        self._recordings = [
            Recording(name, tuple(queries), path=path) for name, path in zip(names, paths, strict=True)
        ]
        self.named = {name: str(path) for name, path in zip(names, paths, strict=True)}
        self._folder, self._features = folder, folder / "features"
        self.jsonl = folder / "results.jsonl"
        self._kept = engine.keep = KeptFeatures(self._features)
        self.failures: list[Failure] = []
        self.error: str | None = None
        self.total_seconds = 0.0
        self.done_seconds = 0.0
        self.done_recordings = 0
        self.answered_recordings = 0
        self.answers = 0
        self.floor = self.wanted_floor = engine.settings.min_evidence
        self.answering_again = threading.Lock()
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._answer, daemon=True, name="answers a run")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def cancel(self) -> None:
        """End after the batch that is with the model now; the answers so far are kept."""
        if not self._ended.is_set():
            self._stop.set()
            self._news.set()

    def end(self) -> None:
        """End it, and have nothing of it shown from now on; return when what was being sent has gone."""
        self.is_over = True
        self.cancel()
        super().end()

    def discard(self, results_after: float = 0.0) -> None:
        """End it, and remove what it wrote as soon as it has ended, its results that many seconds later."""

        def remove() -> None:
            self._ended.wait()
            with self.answering_again, self._sending:
                shutil.rmtree(self._features, ignore_errors=True)
            time.sleep(results_after)
            shutil.rmtree(self._folder, ignore_errors=True)

        self.is_over = True
        self.cancel()
        threading.Thread(target=remove, daemon=True, name="removes a run").start()

    def look(self, seconds: float) -> bool:
        """Wait until it ends or is cancelled, at most this long; return whether it has ended."""
        self._news.wait(seconds)
        self._news.clear()
        return self._ended.is_set()

    def join(self, seconds: float) -> None:
        """Wait at most this long until its thread has ended."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    @property
    def cancelled(self) -> bool:
        """Whether it was ended early."""
        return self._stop.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait at most this long; return whether it has ended."""
        return self._ended.wait(seconds)

    @property
    def share(self) -> float:
        """Share of the sound that is answered, in [0, 1]."""
        return min(1.0, self.done_seconds / self.total_seconds) if self.total_seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time that is left; None while there is nothing to go by."""
        if not self.done_seconds:
            return None
        return (time.monotonic() - self._began) * (1.0 / max(self.share, 1e-6) - 1.0)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the answers so far, from their file."""
        return read_rows(self.jsonl) if self.jsonl.exists() else iter(())

    def _answer(self) -> None:
        try:
            for recording in self._recordings:
                self.total_seconds += _duration(recording.path)
            self._began = time.monotonic()
            self._answer_all()
        except NatureLMError as error:
            self.error = str(error)
        except Exception as error:
            logger.exception("A run of the web app failed")
            self.error = f"The run ended by a fault: {error}"
        finally:
            self._ended.set()
            self._news.set()

    def _answer_all(self) -> None:
        before, answered = 0.0, set[int]()
        with (
            closing(JsonlWriter(self.jsonl)) as writer,
            closing(self._engine.batches(self._recordings)) as batches,
        ):
            while not self._stop.is_set():
                with self._model.turn:
                    batch = next(batches, None)
                if batch is None:
                    return
                for index, event in batch:
                    if isinstance(event, Answer):
                        writer.write(event.as_row())
                        self.answers += 1
                        answered.add(index)
                        self.answered_recordings = len(answered)
                        self.done_seconds = before + event.end_seconds
                    elif isinstance(event, (Failure, Finished)):
                        before += _duration(self._recordings[index].path)
                        self.done_seconds = before
                        self.done_recordings += 1
                    if isinstance(event, Failure):
                        self.failures.append(event)

    def answer_again(self) -> Iterator[int]:
        """Answer with the floor that is wanted, without hearing anything again; yield the count so far.

        It ends early, and the answers stay as they are, when yet another floor is wanted or it is over.
        """
        engine, floor = self._engine, self.wanted_floor
        settings = replace(engine.settings, min_evidence=floor)
        unfinished = self.jsonl.with_suffix(".again")
        before = (_as_answer(row) for row in self.rows())
        anew = answer_again(engine, settings, self._recordings, before, self._kept)
        with closing(JsonlWriter(unfinished)) as writer:
            for count in range(1, self.answers + 1):
                if self.is_over or self.wanted_floor != floor:
                    return
                with self._model.turn:
                    answer = next(anew, None)
                if answer is None:
                    break
                writer.write(answer.as_row())
                yield count
        unfinished.replace(self.jsonl)
        self.floor = floor


def _duration(path: Path | None) -> float:
    try:
        return 0.0 if path is None else probe(path).duration_seconds
    except RecordingError:
        return 0.0


def _as_answer(row: dict[str, Any]) -> Answer:
    return Answer(**{**row, "detections": [Detection(**found) for found in row["detections"]]})
