from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from NatureLM.errors import ConfigError
from NatureLM.infer import Pipeline

if TYPE_CHECKING:
    from NatureLM.models import NatureLM
    from NatureLM.models.answering import ModelAnswer

ASSETS = Path(__file__).parents[2] / "assets"


@pytest.fixture
def pipeline(model: NatureLM) -> Pipeline:
    return Pipeline(model=model)


def answered(stream: Generator[list[str], None, list[ModelAnswer]]) -> list[ModelAnswer]:
    try:
        while True:
            next(stream)
    except StopIteration as end:
        answers: list[ModelAnswer] = end.value
        return answers


def whole(stream: Generator[list[str], None, list[Any]]) -> tuple[list[list[str]], list[str]]:
    """Return what was said on the way, and the answers."""
    said: list[list[str]] = []
    try:
        while True:
            said.append(next(stream))
    except StopIteration as end:
        return said, [answer.text for answer in end.value]


def test_answers_grow_and_are_those_of_a_conversation(pipeline: Pipeline) -> None:
    path = ASSETS / "great_tit_and_common_cuckoo.ogg"
    interview, conversation = pipeline.interview([path]), pipeline.conversation(path)
    for query in ("Caption the audio.", "Which other species are there?"):
        said, (text,) = whole(interview.ask(query))
        assert text == conversation.ask(query).text
        assert said[-1] == [text]
        if query.startswith("Caption"):
            assert len(said) > 4
            assert len(said[0][0]) < len(text)
    assert interview.queries == ["Caption the audio.", "Which other species are there?"]


def test_a_long_recording_is_answered_whole(pipeline: Pipeline, tmp_path: Path) -> None:
    names = ["dawn_25s.ogg", "great_tit.ogg", "rain.ogg"]
    interview = pipeline.interview([ASSETS / name for name in names])
    _, texts = whole(interview.ask("What are the common names for the species in the audio, if any?"))
    assert texts == ["Northern Saw-whet Owl", "None", "Eastern Wood-Pewee", "Great Tit", "None"]
    places = [(part.audio_paths[0].name, part.start_seconds, part.end_seconds) for part in interview.parts]
    assert places[2] == ("dawn_25s.ogg", 20.0, 25.0)
    three = [ASSETS / "dawn_25s.ogg"] * 3
    cut = pipeline.interview(three, start_seconds=4.0, end_seconds=12.0)
    assert [(part.start_seconds, part.end_seconds) for part in cut.parts] == [(4.0, 10.0), (10.0, 12.0)] * 3


def test_another_floor_encodes_nothing(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    interview = pipeline.interview([ASSETS / "great_tit.ogg"])
    whole(interview.ask("What species is this?"))
    whole(interview.ask("And its scientific name?"))
    monkeypatch.setattr(pipeline.model.audio_encoder, "encode", lambda *_: pytest.fail("encoded"))
    for _ in interview.answer_again(0.999):
        pass
    assert interview.parts[0].turns[0][1].text == "None"
    for _ in interview.answer_again(0.25):
        pass
    assert [answer.text for _, answer in interview.parts[0].turns] == ["Great Tit", "Parus major"]


def test_another_floor_that_is_not_reached_leaves_all_as_it_was(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    interview = pipeline.interview([ASSETS / "great_tit.ogg"])
    for query in ("What species is this?", "And its scientific name?"):
        whole(interview.ask(query))
    floor, turns = interview.settings.min_evidence, list(interview.parts[0].turns)
    again = interview.answer_again(0.999)
    next(again)
    again.close()
    assert (interview.settings.min_evidence, interview.parts[0].turns) == (floor, turns)

    def too_long(query: str, *_: Any) -> None:
        if "scientific" in query:
            raise ConfigError("The conversation is too long.")

    monkeypatch.setattr(pipeline.model, "check_query", too_long)
    with pytest.raises(ConfigError, match="too long"):
        list(interview.answer_again(0.999))
    assert (interview.settings.min_evidence, interview.parts[0].turns) == (floor, turns)


def test_a_question_that_is_stopped_is_forgotten(pipeline: Pipeline) -> None:
    interview = pipeline.interview([ASSETS / "great_tit.ogg"])
    stream = interview.ask("Caption the audio.")
    next(stream)
    stream.close()
    assert interview.queries == []
    _, texts = whole(interview.ask("What species is this?"))
    assert texts == ["Great Tit"]
    assert interview.forget_last() == "What species is this?"
    assert interview.forget_last() is None


def test_what_is_forgotten_comes_back_until_another_question_is_answered(pipeline: Pipeline) -> None:
    interview = pipeline.interview([ASSETS / "great_tit.ogg"])
    assert interview.bring_back() is None
    whole(interview.ask("What species is this?"))
    interview.forget_last()
    assert interview.bring_back() == "What species is this?"
    assert [answer.text for _, answer in interview.parts[0].turns] == ["Great Tit"]
    assert interview.bring_back() is None
    interview.forget_last()
    whole(interview.ask("What is its scientific name?"))
    assert interview.bring_back() is None
    assert interview.queries == ["What is its scientific name?"]


def test_several_beams_are_not_watched(model: NatureLM) -> None:
    from NatureLM.models.answering import AnswerSettings

    features = model.encode_audio([])
    with pytest.raises(ConfigError, match="Answers of 2 beams cannot be watched"):
        model.answer(features, [], AnswerSettings(num_beams=2), watch=lambda _: True)
    interview = Pipeline(model=model, num_beams=2).interview([ASSETS / "great_tit.ogg"])
    said, texts = whole(interview.ask("What species is this?"))
    assert (said, texts) == ([], ["Great Tit"])


def test_an_interview_is_held_to_the_candidates(model: NatureLM) -> None:
    path = ASSETS / "great_tit_and_common_cuckoo.ogg"
    pipeline = Pipeline(model=model, candidates="Coal Tit, Great Tit")
    conversation, interview = pipeline.conversation(path), pipeline.interview([path])
    questions = (("What species is this?", "Great Tit"), ("Which other species are there?", "None"))
    for query, expected in questions:
        (answer,), same = answered(interview.ask(query)), conversation.ask(query)
        assert answer.text == same.text == expected
        assert answer.scores == pytest.approx(same.scores)
    three = pipeline.interview([path, ASSETS / "dawn_25s.ogg", path])
    heard = [answer.text for answer in answered(three.ask("What species is this?"))]
    assert heard == ["Great Tit", "None", "None", "None", "Great Tit"]
