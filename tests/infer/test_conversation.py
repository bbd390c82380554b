"""Conversations about example recordings: follow-ups, two recordings, parts, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from NatureLM.errors import ConfigError, RecordingError
from NatureLM.infer import Conversation, Pipeline
from NatureLM.models import NatureLM
from NatureLM.models.answering import Turn

ASSETS = Path(__file__).parents[2] / "assets"


@pytest.fixture(scope="module")
def pipeline(model: NatureLM) -> Pipeline:
    return Pipeline(model)


def test_follow_ups_refer_to_what_was_said(pipeline: Pipeline) -> None:
    conversation = pipeline.conversation(ASSETS / "great_tit_and_common_cuckoo.ogg")
    assert isinstance(conversation, Conversation)
    focal = "What is the common name for the focal species in the audio?"
    assert conversation.ask(focal).text == "Common Cuckoo"
    assert conversation.ask("And its scientific name?").text == "Cuculus canorus"
    # Named as the last answer named.
    assert conversation.ask("Which other species are there?").text == "Parus major"
    assert conversation.ask("Is it male or female?").text == "I cannot tell from this model."
    assert conversation.turns[0] == Turn(focal, "Common Cuckoo")
    conversation.restart()
    assert conversation.turns == []
    assert conversation.ask("Which species are there?").text == "Common Cuckoo, Great Tit"


def test_two_recordings_are_compared(pipeline: Pipeline) -> None:
    files = [ASSETS / "great_tit.ogg", ASSETS / "great_tit_and_common_cuckoo.ogg"]
    conversation = pipeline.conversation(files)
    assert conversation.ask("Which species are in both recordings?").text == "Great Tit"
    assert conversation.ask("In which recording is there a Common Cuckoo?").text == "The second."
    answer = conversation.ask("Caption the second recording.")
    assert [item.common_name for item in answer.detections] == ["Common Cuckoo", "Great Tit"]


def test_a_part_of_a_recording(pipeline: Pipeline) -> None:
    dawn = ASSETS / "dawn_25s.ogg"
    part = pipeline.conversation(dawn, start_seconds=20.0)
    assert part.ask("What species is this?").text == "Eastern Wood-Pewee"
    first = pipeline.conversation(dawn, end_seconds=10.0)
    assert first.ask("What species is this?").text == "Northern Saw-whet Owl"
    middle = pipeline.conversation(dawn, start_seconds=10.0, end_seconds=20.0)
    assert middle.ask("What species is this?").text == "None"


def test_what_cannot_be_talked_about_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    silence = np.zeros(31 * 48_000, dtype=np.float32)
    with pytest.raises(ConfigError, match="at most 30 s"):
        pipeline.conversation(silence, 48_000)
    long = tmp_path / "long.wav"
    soundfile.write(long, silence, 48_000)
    with pytest.raises(ConfigError, match=r"long.wav is longer than the 30 s that a conversation"):
        pipeline.conversation(long)
    with pytest.raises(ConfigError, match="end_seconds must come after start_seconds"):
        pipeline.conversation(long, start_seconds=5.0, end_seconds=5.0)
    with pytest.raises(RecordingError, match=r"less than 0.5 s after 40 s"):
        pipeline.conversation(ASSETS / "great_tit.ogg", start_seconds=40.0)
    with pytest.raises(ConfigError, match="at most 2"):
        pipeline.conversation(["missing.wav"] * 3)
    with pytest.raises(ConfigError, match="channel"):
        Pipeline(pipeline.model, channel="each").conversation(ASSETS / "great_tit.ogg")
    conversation = pipeline.conversation(ASSETS / "great_tit.ogg")
    with pytest.raises(ConfigError, match="query is empty"):
        conversation.ask("  ")
    assert conversation.turns == []
