from pathlib import Path
from typing import Any

import pytest

from NatureLM.app.house import House
from NatureLM.errors import ConfigError

pytest.importorskip("gradio")

from NatureLM.app.chat import NOTHING_CHOSEN, Chat, ChatState

ASSETS = Path(__file__).parents[2] / "assets"
SPECIES = "What species is this?"


@pytest.fixture
def chat(house: House) -> Chat:
    return Chat(house)


def ask(chat: Chat, state: ChatState, names: list[str], query: str, **given: Any) -> list[tuple[Any, ...]]:
    """Ask, and return all that the page is told."""
    files = [str(ASSETS / name) for name in names]
    part = (given.get("start", 0.0), given.get("end"))
    return list(chat.ask(state, files, None, query, *part, given.get("floor", 0.25)))


def answers(told: list[tuple[Any, ...]]) -> list[str]:
    return [message["content"] for message in told[-1][1] if message["role"] == "assistant"]


def test_a_conversation_streams_and_remembers(chat: Chat) -> None:
    state = ChatState()
    told = ask(chat, state, ["great_tit_and_common_cuckoo.ogg"], SPECIES)
    assert len(told) > 2  # token by token
    assert answers(told)[0].startswith("Common Cuckoo\n\n*confidence ")
    interview = state.interview
    told = ask(chat, state, ["great_tit_and_common_cuckoo.ogg"], "Which other species are there?")
    told = ask(chat, state, ["great_tit_and_common_cuckoo.ogg"], "And its scientific name?")
    assert [text.split("\n")[0] for text in answers(told)] == ["Common Cuckoo", "Great Tit", "Parus major"]
    assert state.interview is interview  # encoded once
    assert '<span style="background:rgba(6,78,59,' in told[-1][3]
    assert list(told[-1][4].data["answer"]) == ["Common Cuckoo", "Great Tit", "Parus major"]


def test_the_floor_answers_again_without_encoding(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    state = ChatState()
    names = ["great_tit.ogg"]
    ask(chat, state, names, "What are the common names for the species in the audio, if any?")
    model = state.interview.model  # type: ignore[union-attr]
    monkeypatch.setattr(model.audio_encoder, "encode", lambda *_: pytest.fail("encoded again"))
    files = [str(ASSETS / name) for name in names]
    told = list(chat.answer_again(state, files, None, 0.999))[-1]
    assert told[1][-1]["content"].startswith("None")
    told = list(chat.answer_again(state, files, None, 0.25))[-1]
    assert told[1][-1]["content"].startswith("Great Tit")


def test_more_than_the_model_hears_at_once_is_answered_in_parts(chat: Chat) -> None:
    names = ["great_tit.ogg", "rain.ogg", "spring_peeper.ogg"]
    (answer,) = answers(ask(chat, ChatState(), names, "What are the common names for the species, if any?"))
    lines = answer.splitlines()
    assert [line.partition(" *confidence")[0] for line in lines] == [
        "- `great_tit.ogg` 0 s to 10 s: **Great Tit**",
        "- `rain.ogg` 0 s to 10 s: **None**",
        "- `spring_peeper.ogg` 0 s to 10 s: **Spring Peeper**",
    ]


def test_two_short_recordings_are_compared(chat: Chat) -> None:
    names = ["great_tit.ogg", "great_tit_and_common_cuckoo.ogg"]
    (answer,) = answers(ask(chat, ChatState(), names, "Which species are in both recordings?"))
    assert answer.startswith("Great Tit\n")


def test_another_part_is_another_conversation(chat: Chat) -> None:
    state = ChatState()
    ask(chat, state, ["dawn_25s.ogg"], SPECIES, start=20.0)
    first = state.interview
    assert first is not None
    assert [(part.start_seconds, part.end_seconds) for part in first.parts] == [(20.0, 25.0)]
    told = ask(chat, state, ["dawn_25s.ogg"], SPECIES, start=0.0, end=10.0)
    assert state.interview is not first
    assert [text.split("\n")[0] for text in answers(told)] == ["Northern Saw-whet Owl"]


def test_retry_and_clear(chat: Chat) -> None:
    state = ChatState()
    files = [str(ASSETS / "rain.ogg")]
    with pytest.raises(ConfigError, match="Nothing was asked yet"):
        list(chat.retry(state, files, None, "", 0.0, None, 0.25))
    ask(chat, state, ["rain.ogg"], SPECIES)
    told = list(chat.retry(state, files, None, "", 0.0, None, 0.25))
    assert len(told[-1][1]) == 2
    _, messages, _, _ = chat.clear(state)
    assert messages == []
    assert state.interview is None


def test_what_is_missing_is_said(chat: Chat, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no question"):
        ask(chat, ChatState(), ["rain.ogg"], "  ")
    with pytest.raises(ConfigError, match="There is no recording"):
        ask(chat, ChatState(), [], SPECIES)
    with pytest.raises(ConfigError, match="has no sound from 40 to its end"):
        ask(chat, ChatState(), ["rain.ogg"], SPECIES, start=40.0)


def test_damaged_recordings_are_told_on_the_page(chat: Chat, house: House) -> None:
    damaged = house.files.new_folder() / "damaged.wav"
    damaged.write_bytes(b"this is no sound")
    _, _, player, notice = chat.show(ChatState(), [str(damaged)], None)
    assert player == NOTHING_CHOSEN
    assert 'role="alert"' in notice
    assert "damaged.wav" in notice
    assert str(damaged.parent) not in notice


def test_visitors_do_not_share_a_conversation(chat: Chat) -> None:
    one, two = ChatState(), ChatState()
    ask(chat, one, ["great_tit.ogg"], SPECIES)
    ask(chat, two, ["spring_peeper.ogg"], SPECIES)
    told_one = ask(chat, one, ["great_tit.ogg"], "And its scientific name?")
    told_two = ask(chat, two, ["spring_peeper.ogg"], "And its scientific name?")
    assert answers(told_one)[-1].startswith("Parus major")
    assert answers(told_two)[-1].startswith("Pseudacris crucifer")
