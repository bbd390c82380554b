"""Conversations: questions that build on each other, about one recording or two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from NatureLM.errors import ConfigError, RecordingError
from NatureLM.models.answering import AnswerSettings, ModelAnswer, Turn

if TYPE_CHECKING:
    from NatureLM.models import NatureLM


class Conversation:
    """Questions about the same sound, each of which may refer to what was said before.

    Made by :meth:`NatureLM.infer.Pipeline.conversation`; the sound is encoded once.

    Attributes
    ----------
    turns : list of Turn
        What was asked and answered so far.

    Examples
    --------
    >>> from NatureLM.infer import Pipeline
    >>> conversation = Pipeline().conversation("assets/great_tit.ogg")
    >>> conversation.ask("What species is this?").text
    'Great Tit'
    >>> conversation.ask("And its scientific name?").text
    'Parus major'
    """

    def __init__(self, model: NatureLM, features: Sequence[Any], settings: AnswerSettings) -> None:
        self.model = model
        self.features = list(features)
        self.settings = settings
        self.turns: list[Turn] = []

    def ask(self, query: str) -> ModelAnswer:
        """Ask the next question.

        Raises
        ------
        ConfigError
            If the question is empty, or the conversation has grown longer than the model can read.
        """
        if not query.strip():
            raise ConfigError("A query is empty; ask something, for example 'Caption the audio'.")
        (answer,) = self.model.answer([self.features], [query], self.settings, [self.turns])
        self.turns.append(Turn(query, answer.text))
        return answer

    def restart(self) -> None:
        """Forget what was said; the sound stays."""
        self.turns.clear()


def only_window(windows: Iterator[Any], name: str, longest: float, place: int = 0) -> Any:
    """Return one window of a recording, which must be its last where the first is asked for.

    Raises
    ------
    ConfigError
        If the recording is longer than what the model hears at once.
    RecordingError
        If it ends before the window.
    """
    for number, window in enumerate(windows):
        if number == place:
            if place == 0 and next(windows, None) is not None:
                raise ConfigError(
                    f"{name} is longer than the {longest:g} s that a conversation can be about; "
                    "say which part by start_seconds and end_seconds."
                )
            return window
    raise RecordingError(f"{name} ends before start_seconds; choose an earlier part.")
