import threading
import time
from pathlib import Path
from typing import Any

import pytest

from NatureLM.app.house import House
from NatureLM.errors import ConfigError

pytest.importorskip("gradio")

import gradio as gr
from gradio import skip

from NatureLM.app.app import page
from NatureLM.app.chat import NOTHING_CHOSEN, Chat
from NatureLM.app.conversations import ChatState, Conversation
from NatureLM.app.prompts import tasks_of

ASSETS = Path(__file__).parents[2] / "assets"
SPECIES = "What species is this?"
NOTHING_NEW = (skip(),) * 5


@pytest.fixture
def chat(house: House) -> Chat:
    return Chat(house)


def ask(chat: Chat, state: ChatState, names: list[str], query: str, **given: Any) -> list[tuple[Any, ...]]:
    """Ask, and return what the page is told."""
    files = [str(ASSETS / name) for name in names]
    part = (given.get("start", 0.0), given.get("end"))
    number = given.get("number", 0)
    *told, last = chat.ask(state, number, files, None, query, *part, given.get("floor", 0.25))
    assert last == NOTHING_NEW  # Gradio says what is last once more, when the page may have been cleared
    return told


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
    assert "And its scientific name?" in told[-1][3]
    assert ">Parus major</span></div>" in told[-1][3]
    assert list(told[-1][4].data["answer"]) == ["Common Cuckoo", "Great Tit", "Parus major"]


def test_the_floor_answers_again_without_encoding(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    state = ChatState()
    names = ["great_tit.ogg"]
    ask(chat, state, names, "What are the common names for the species in the audio, if any?")
    model = state.interview.model  # type: ignore[union-attr]
    monkeypatch.setattr(model.audio_encoder, "encode", lambda *_: pytest.fail("encoded again"))
    files = [str(ASSETS / name) for name in names]
    told = next(chat.answer_again(state, files, None, 0.999))
    assert told[1][-1]["content"].startswith("None")
    told = next(chat.answer_again(state, files, None, 0.25))
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


def test_every_chosen_recording_shows_what_was_answered_about_each_window(chat: Chat) -> None:
    state = ChatState()
    names = ["dawn_25s.ogg", "spring_peeper.ogg", "rain.ogg"]
    told = ask(chat, state, names, "What are the common names for the species, if any?")
    first, second, third = told[-1][3].split("</figure>")[:3]
    assert first.count('<i style="left:') == 3
    assert [name in first for name in ("Northern Saw-whet Owl", "Eastern Wood-Pewee")] == [True, True]
    assert "Spring Peeper: 0 s to 10 s, evidence 0." in second
    assert '<div class="player-span none"' in third
    _, which, players, notice = chat.show(state, [str(ASSETS / name) for name in names], None)
    assert (players, notice, which.visible) == (told[-1][3], "", False)
    many = [str(path) for path in sorted(ASSETS.glob("*.ogg"))[:5]]
    _, which, players, _ = chat.show(state, many, Path(many[1]).name)
    assert (players.count("<figure"), which.visible) == (1, True)
    assert Path(many[1]).name in players


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
        list(chat.retry(state, 0, files, None, "", 0.0, None, 0.25))
    ask(chat, state, ["rain.ogg"], SPECIES)
    told = list(chat.retry(state, 0, files, None, "", 0.0, None, 0.25))
    assert len(told[-2][1]) == 2
    (_, messages, _, players, _), last = chat.clear(state, 1, files, None)
    assert last == NOTHING_NEW
    assert messages == []
    assert "player-span" not in players.replace("player-spans", "")
    assert state.interview is None


def test_an_answer_that_is_on_its_way_is_dropped_when_the_conversation_is_cleared(chat: Chat) -> None:
    state, files = ChatState(), [str(ASSETS / "great_tit.ogg")]
    asking = chat.ask(state, 0, files, None, SPECIES, 0.0, None, 0.25)
    next(asking)
    said = next(asking)  # Gradio has it, and is sending it
    assert said[1][-1]["role"] == "assistant"
    cleared: list[Any] = []
    pressed = threading.Thread(target=lambda: cleared.extend(chat.clear(state, 1, files, None)))
    pressed.start()
    time.sleep(0.2)
    assert cleared == []  # what is being sent goes first
    assert list(asking) == [NOTHING_NEW]
    pressed.join(10)
    assert cleared[0][1] == []
    assert state.interview is None
    # Nor is a question of the cleared conversation that waited for its turn answered.
    assert ask(chat, state, ["great_tit.ogg"], SPECIES, number=0) == []
    assert answers(ask(chat, state, ["great_tit.ogg"], SPECIES, number=1))[0].startswith("Great Tit")


def test_a_question_that_overtakes_clear_is_not_cleared(chat: Chat) -> None:
    state, files = ChatState(), [str(ASSETS / "great_tit.ogg")]
    ask(chat, state, ["great_tit.ogg"], "How many species are in the audio?")
    assert len(answers(ask(chat, state, ["great_tit.ogg"], SPECIES, number=1))) == 1
    assert list(chat.clear(state, 1, files, None)) == [NOTHING_NEW]


def test_an_answer_that_overtakes_the_emptied_page_stays() -> None:
    conversation = Conversation(1)
    assert list(conversation.shown("emptied", at_first=True)) == ["emptied"]
    assert list(conversation.shown("answer")) == ["answer"]
    assert list(conversation.shown("emptied", at_first=True)) == []


def test_a_double_click_asks_once(chat: Chat) -> None:
    state, files = ChatState(), [str(ASSETS / "great_tit.ogg")]
    first = chat.ask(state, 0, files, None, SPECIES, 0.0, None, 0.25)
    next(first)
    assert ask(chat, state, ["great_tit.ogg"], SPECIES) == []
    assert len(answers(list(first)[:-1])) == 1


def test_the_bundled_model_is_not_offered_what_it_declines(chat: Chat, house: House) -> None:
    adapter = house.model.pipeline().model.adapter
    offered = tasks_of(adapter.declined_tasks)
    assert (house.has_floor, offered) == (True, tasks_of(None))
    declined = [prompt for _, prompt in tasks_of(()) if prompt not in dict(offered).values()]
    assert len(declined) == len(adapter.declined_tasks) == 3
    for prompt in declined:
        (answer,) = answers(ask(chat, ChatState(), ["great_tit.ogg"], prompt))
        assert answer.startswith("I cannot tell"), answer


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


def test_what_was_made_to_be_played_goes_with_the_visitor(chat: Chat, house: House) -> None:
    state, stays = ChatState(), ChatState()
    for each in (state, stays):
        ask(chat, each, ["great_tit.ogg"], SPECIES)
    (played,), (other,) = state.played.values(), stays.played.values()
    assert played.read_bytes()[:4] == b"RIFF"
    state.forget()
    assert not played.parent.exists()
    assert other.exists()
    assert (ASSETS / "great_tit.ogg").exists()
    kept = [block for block in page(house).blocks.values() if isinstance(block, gr.State)]
    assert [block.delete_callback.__name__ for block in kept if "State" in type(block.value).__name__] == [
        "forget",
        "end_run",
        "end_run",
    ]
