"""Conversations: questions that build on each other, about one recording or two."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from NatureLM.audio import Channel, display_path, stream_blocks
from NatureLM.audio.recording import USED
from NatureLM.audio.windows import MIN_NEW_SECONDS
from NatureLM.errors import ConfigError, RecordingError
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


def part_of_recording(
    path: Path,
    sample_rate: int,
    channel: Channel,
    start_seconds: float,
    end_seconds: float | None,
    longest: float,
    time_expansion: float = 1.0,
    warn: Callable[[str], object] = logger.warning,
) -> npt.NDArray[np.float32]:
    """Decode a part of a recording, at constant memory wherever it begins.

    Parameters
    ----------
    path : Path
    sample_rate : int
        Of the result, in Hz.
    channel : "mix" or int
    start_seconds, end_seconds : float
        The part; to the end where ``end_seconds`` is None.
    longest : float
        Most seconds that the part may have, of the slowed sound.
    time_expansion : float, default 1.0
        Factor by which the sound is slowed; the part's bounds are seconds of the recording.
    warn : callable, optional
        Told what is wrong with a recording whose sound before its damage is used; logged, unless given.

    Returns
    -------
    float32 [samples]

    Raises
    ------
    ConfigError
        If the part is longer, or its bounds make no sense.
    RecordingError
        If the recording cannot be read, or has less than half a second there.
    """
    rate = sample_rate * time_expansion
    first = round(start_seconds * rate)
    last = None if end_seconds is None else round(end_seconds * rate)
    if first < 0 or (last is not None and last <= first):
        raise ConfigError(
            f"The part from {start_seconds:g} to {end_seconds} s is empty; end_seconds must come after "
            "start_seconds, which is 0 or more."
        )
    kept: list[npt.NDArray[np.float32]] = []
    done = count = 0
    damage: str | None = None
    for block in stream_blocks(path, rate, channel):
        samples = block.samples[max(first - done, 0) : None if last is None else max(last - done, 0), 0]
        kept.append(np.array(samples, dtype=np.float32))
        done, count = done + len(block.samples), count + len(samples)
        if count > longest * sample_rate:
            raise ConfigError(
                f"{display_path(path)} is longer than the {longest / time_expansion:g} s that a conversation "
                "can be about; say which part by start_seconds and end_seconds."
            )
        if last is not None and done >= last:
            break
        damage = block.damage
    if count < MIN_NEW_SECONDS * sample_rate:
        least = float(MIN_NEW_SECONDS) / time_expansion
        if damage is not None:
            raise RecordingError(f"{damage} Before that there is less than {least:g} s of the part.")
        raise RecordingError(
            f"{display_path(path)} has less than {least:g} s after {start_seconds:g} s; choose another part."
        )
    if damage is not None:
        warn(f"{damage} {USED}")
    return np.concatenate(kept)
