"""Interviews: one question after another about recordings of any number and length.

What one conversation can hold together is asked about together; anything else has a conversation for each of
its windows (:mod:`NatureLM.infer.listening` makes them).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from NatureLM.infer.engine import Engine
from NatureLM.infer.token_stream import stream_texts
from NatureLM.models.answering import AnswerSettings, Candidates, ModelAnswer, Turn


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
    candidates : list of Candidates or None
        What may be named of each recording; None restricts nothing.
    turns : list of (Turn, ModelAnswer)
        What was asked and answered.
    """

    audio_paths: list[Path]
    start_seconds: float
    end_seconds: float
    features: list[Any]
    candidates: list[Candidates] | None = None
    turns: list[tuple[Turn, ModelAnswer]] = field(default_factory=list)


class Interview:
    """Questions that build on each other, about all parts of some recordings.

    Made by :meth:`NatureLM.infer.Pipeline.interview`; the sound is encoded once.

    Attributes
    ----------
    parts : list of Part
    settings : AnswerSettings
    warnings : list of str
        What is wrong with recordings that could be heard only in part, or not at all.
    """

    def __init__(self, engine: Engine, parts: list[Part], warnings: Sequence[str] = ()) -> None:
        self.model = engine.model
        self.settings: AnswerSettings = engine.settings
        self.parts = parts
        self.warnings = list(warnings)
        self._most = engine.batch_size
        self._forgotten: list[tuple[Turn, ModelAnswer]] = []

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
            If the question is empty, it or the conversation is longer than the model can read, or its answer
            cannot be restricted to the candidates.
        """
        for held in dict.fromkeys(map(_may_name, self.parts)):
            self.model.check_query(query, len(self.parts[0].features), self.settings, held)
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
                None if parts[0].candidates is None else [part.candidates or [] for part in parts],
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
        self._forgotten = []
        return answers

    def forget_last(self) -> str | None:
        """Forget the last question and its answers; return the question, if there was one."""
        if not self.queries:
            return None
        self._forgotten = [part.turns.pop() for part in self.parts]
        return self._forgotten[0][0].query

    def bring_back(self) -> str | None:
        """Bring back the question that was forgotten last, unless another was answered since; return it."""
        forgotten, self._forgotten = self._forgotten, []
        for part, turn in zip(self.parts, forgotten, strict=False):
            part.turns.append(turn)
        return forgotten[0][0].query if forgotten else None

    def answer_again(
        self, min_evidence: float, turn: AbstractContextManager[Any] | None = None
    ) -> Generator[None, None, None]:
        """Ask every question anew with another floor of evidence; nothing is encoded again.

        If that ends early, by an error or as the generator is closed, all is as it was before.
        """
        queries, settings, turns = self.queries, self.settings, [list(part.turns) for part in self.parts]
        self.settings = replace(settings, min_evidence=min_evidence)
        for part in self.parts:
            part.turns.clear()
        try:
            for query in queries:
                for _ in self.ask(query, turn):
                    yield
        except BaseException:
            self.settings = settings
            for part, before in zip(self.parts, turns, strict=True):
                part.turns[:] = before
            raise


def _may_name(part: Part) -> Candidates | None:
    return None if part.candidates is None else Candidates.of_several(part.candidates)
