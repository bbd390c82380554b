"""Conversations: questions that build on each other, about one recording or two."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from NatureLM.audio import part_of_recording
from NatureLM.errors import ConfigError
from NatureLM.models.answering import AnswerSettings, Candidates, ModelAnswer, Turn

if TYPE_CHECKING:
    from NatureLM.infer.engine import Engine, Recording
    from NatureLM.models import NatureLM

logger = logging.getLogger("NatureLM.infer")


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

    def __init__(
        self,
        model: NatureLM,
        features: Sequence[Any],
        settings: AnswerSettings,
        candidates: Sequence[Candidates] | None = None,
    ) -> None:
        self.model = model
        self.features = list(features)
        self.settings = settings
        self.candidates = candidates
        self.turns: list[Turn] = []

    def ask(self, query: str) -> ModelAnswer:
        """Ask the next question.

        Raises
        ------
        ConfigError
            If the question is empty, it or the conversation is longer than the model can read, or its answer
            cannot be restricted to the candidates.
        """
        held = None if self.candidates is None else Candidates.of_several(self.candidates)
        self.model.check_query(query, len(self.features), self.settings, held)
        named = None if self.candidates is None else [self.candidates]
        (answer,) = self.model.answer([self.features], [query], self.settings, [self.turns], named)
        self.turns.append(Turn(query, answer.text))
        return answer

    def restart(self) -> None:
        """Forget what was said; the sound stays."""
        self.turns.clear()


def begin_conversation(
    engine: Engine, recordings: Sequence[Recording], start_seconds: float, end_seconds: float | None
) -> Conversation:
    """Hear recordings and begin a conversation about them.

    Parameters
    ----------
    engine : Engine
        Its windows are as long as the model hears at once.
    recordings : sequence of Recording
    start_seconds, end_seconds : float
        The part of each file; to its end where ``end_seconds`` is None.

    Raises
    ------
    ConfigError
        If a part makes no sense, or is longer than the model hears at once.
    RecordingError
        If a recording cannot be read.
    """
    model = engine.model
    longest = model.config.max_window_seconds
    heard = []
    for recording in recordings:
        if recording.path is not None:
            heard.append(
                part_of_recording(
                    recording.path,
                    model.config.sample_rate,
                    engine.channel,
                    start_seconds,
                    end_seconds,
                    longest,
                    engine.time_expansion,
                    logger.warning,
                )
            )
            continue
        # Samples in memory are cut by whoever holds them; longer ones are refused.
        windows = list(islice(engine.windows(recording), 2))
        if len(windows) > 1 or start_seconds or end_seconds is not None:
            raise ConfigError(
                f"{recording.name}: pass just the samples that the conversation is about, at most "
                f"{longest:g} s of them; start_seconds and end_seconds are for files."
            )
        heard.append(windows[0].waveform)
    named = [one for one in map(engine.candidates_of, recordings) if one is not None]
    return Conversation(model, model.encode_audio(heard), engine.settings, named or None)
