"""Interviews: one question after another about recordings of any number and length.

What one conversation can hold together (as many short recordings as the model compares) is asked about
together. Anything else is cut into windows, each with a conversation of its own, so that the whole of it is
heard.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from NatureLM.audio import long_enough, probe
from NatureLM.errors import ConfigError, RecordingError
from NatureLM.infer.conversation import part_of_recording
from NatureLM.infer.engine import Engine, Recording
from NatureLM.infer.token_stream import stream_texts
from NatureLM.models.answering import AnswerSettings, ModelAnswer, Turn

MOST_WINDOWS = 180
"""Half an hour in windows of 10 s; their features stay in memory (some 0.1 MB each)."""


@dataclass(frozen=True)
class Stretch:
    """A part of a recording, in seconds; to its end where ``end_seconds`` is None."""

    start_seconds: float = 0.0
    end_seconds: float | None = None


@dataclass
class Part:
    """What one conversation of an interview is about.

    Attributes
    ----------
    audio_paths : list of Path
        One recording, or those that are compared.
    start_seconds, end_seconds : float
        Its place in the recording (in the longest, where several are compared).
    features : list
        The encoder's, one for each recording.
    turns : list of (Turn, ModelAnswer)
        What was asked and answered.
    """

    audio_paths: list[Path]
    start_seconds: float
    end_seconds: float
    features: list[Any]
    turns: list[tuple[Turn, ModelAnswer]] = field(default_factory=list)


class Interview:
    """Questions that build on each other, about all parts of some recordings.

    Made by :meth:`NatureLM.infer.Pipeline.interview`; the sound is encoded once.

    Attributes
    ----------
    parts : list of Part
    settings : AnswerSettings
    warnings : list of str
        What is wrong with recordings that could be heard only in part.
    """

    def __init__(self, engine: Engine, parts: list[Part], warnings: Sequence[str] = ()) -> None:
        self.model = engine.model
        self.settings: AnswerSettings = engine.settings
        self.parts = parts
        self.warnings = list(warnings)
        self._most = engine.batch_size

    @property
    def queries(self) -> list[str]:
        """What was asked so far."""
        return [turn.query for turn, _ in self.parts[0].turns]

    def ask(
        self, query: str, turn: AbstractContextManager[Any] | None = None
    ) -> Generator[list[str], None, list[ModelAnswer]]:
        """Ask the next question of every part; yield the answers as they are written and return them.

        Closing the generator early forgets the question.

        Parameters
        ----------
        query : str
        turn : context manager, optional
            Held while the model answers.

        Raises
        ------
        ConfigError
            If the question is empty, or it or the conversation is longer than the model can read.
        """
        self.model.check_query(query, recordings=len(self.parts[0].features))
        answers: list[ModelAnswer] = []
        for first in range(0, len(self.parts), self._most):
            parts = self.parts[first : first + self._most]
            stream = stream_texts(
                self.model,
                [part.features for part in parts],
                [query] * len(parts),
                self.settings,
                [[said for said, _ in part.turns] for part in parts],
                turn,
            )
            done = [answer.text for answer in answers]
            try:
                while True:
                    yield [*done, *next(stream)]
            except StopIteration as end:
                answers.extend(end.value)
            finally:
                stream.close()
        for part, answer in zip(self.parts, answers, strict=True):
            part.turns.append((Turn(query, answer.text), answer))
        return answers

    def forget_last(self) -> str | None:
        """Forget the last question and its answers; return the question, if there was one."""
        queries = self.queries
        for part in self.parts:
            del part.turns[-1:]
        return queries[-1] if queries else None

    def answer_again(
        self, min_evidence: float, turn: AbstractContextManager[Any] | None = None
    ) -> Generator[None, None, None]:
        """Ask every question anew with another floor of evidence; nothing is encoded again."""
        queries, self.settings = self.queries, replace(self.settings, min_evidence=min_evidence)
        for part in self.parts:
            part.turns.clear()
        for query in queries:
            for _ in self.ask(query, turn):
                yield


def begin_interview(engine: Engine, paths: Sequence[Path], stretch: Stretch = Stretch()) -> Interview:
    """Hear recordings and begin an interview about them.

    Parameters
    ----------
    engine : Engine
        Its windows are those of recordings that are longer than the model hears at once.
    paths : sequence of Path
    stretch : Stretch
        The part of each that is heard.

    Raises
    ------
    ConfigError
        There is no recording, the part makes no sense, or it has too many windows.
    RecordingError
        A recording cannot be read.
    """
    if not paths:
        raise ConfigError("There is no recording; choose one first.")
    model, longest = engine.model, engine.model.config.max_window_seconds / engine.time_expansion
    lengths = [_length(path, stretch) for path in paths]
    whole = max(lengths) <= longest
    if whole:
        try:
            model.adapter.check_recordings(len(paths))
        except ConfigError:
            whole = False
    if whole:
        try:
            return _together(engine, paths, stretch)
        except ConfigError:
            pass  # the header stated too short a length
    return _in_windows(engine, paths, stretch)


def _length(path: Path, stretch: Stretch) -> float:
    duration = probe(path).duration_seconds
    end = duration if stretch.end_seconds is None else min(stretch.end_seconds, duration)
    if not 0 <= stretch.start_seconds < end:
        raise ConfigError(
            f"{path.name} has no sound from {stretch.start_seconds:g} to "
            f"{'its end' if stretch.end_seconds is None else f'{stretch.end_seconds:g}'} s; it is "
            f"{duration:.1f} s long. Choose another part."
        )
    return end - stretch.start_seconds


def _together(engine: Engine, paths: Sequence[Path], stretch: Stretch) -> Interview:
    rate, longest = engine.model.config.sample_rate, engine.model.config.max_window_seconds
    channel = engine.channel
    waveforms = [
        part_of_recording(
            *(path, rate, channel, stretch.start_seconds, stretch.end_seconds, longest), engine.time_expansion
        )
        for path in paths
    ]
    seconds = max(map(len, waveforms)) / rate / engine.time_expansion
    features = engine.model.encode_audio(waveforms)
    start = stretch.start_seconds
    return Interview(engine, [Part(list(paths), start, start + seconds, features)])


def _in_windows(engine: Engine, paths: Sequence[Path], stretch: Stretch) -> Interview:
    rate = engine.model.config.sample_rate
    parts: list[Part] = []
    warnings: list[str] = []
    for path in paths:
        heard = _windows_within(engine, path, stretch)
        try:
            while batch := list(islice(heard, engine.batch_size)):
                features = engine.model.encode_audio([long_enough(samples, rate) for _, _, samples in batch])
                parts += [
                    Part([path], start, end, [each])
                    for (start, end, _), each in zip(batch, features, strict=True)
                ]
                if len(parts) > MOST_WINDOWS:
                    raise ConfigError(
                        f"The recordings have more than {MOST_WINDOWS} windows; choose a shorter part, or "
                        "take Long recording, which has no limit."
                    )
        except RecordingError as error:
            if not parts or parts[-1].audio_paths != [path]:
                raise
            warnings.append(str(error))
    return Interview(engine, parts, warnings)


def _windows_within(
    engine: Engine, path: Path, stretch: Stretch
) -> Iterator[tuple[float, float, npt.NDArray[np.float32]]]:
    """Yield start and end in seconds and the samples of each window, cut to the stretch."""
    rate = engine.model.config.sample_rate * engine.time_expansion
    for item in engine.windows(Recording(path.name, (), path=path)):
        start, end = item.window.start_seconds, item.window.end_seconds
        if stretch.end_seconds is not None and start >= stretch.end_seconds:
            return
        if end <= stretch.start_seconds:
            continue
        first = max(start, stretch.start_seconds)
        last = end if stretch.end_seconds is None else min(end, stretch.end_seconds)
        yield first, last, item.waveform[round((first - start) * rate) : round((last - start) * rate)]
