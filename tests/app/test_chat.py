import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

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
NOTHING_NEW = (skip(),) * 4


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
    assert "And its scientific name?" in told[-1][2]
    assert ">Parus major</span></div>" in told[-1][2]
    assert list(told[-1][3].data["answer"]) == ["Common Cuckoo", "Great Tit", "Parus major"]


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


def test_a_floor_moved_during_an_answer_holds_when_it_is_there(chat: Chat) -> None:
    state, files = ChatState(), [str(ASSETS / "great_tit.ogg")]
    asking = chat.ask(state, 0, files, None, SPECIES, 0.0, None, 0.25)
    next(asking)
    told: dict[float, list[tuple[Any, ...]]] = {}

    def move(floor: float) -> None:
        told[floor] = list(chat.answer_again(state, files, None, floor))

    moves = [threading.Thread(target=move, args=(floor,)) for floor in (0.5, 0.999)]
    for each in moves:
        each.start()
        time.sleep(0.2)
    assert not told  # they wait
    list(asking)
    for each in moves:
        each.join(60)
    assert told[0.5] == [NOTHING_NEW]  # moved on before it held
    assert told[0.999][0][1][-1]["content"].startswith("None")
    assert state.interview is not None and state.interview.settings.min_evidence == 0.999


def test_an_answer_leaves_what_was_chosen_meanwhile_in_the_player(chat: Chat) -> None:
    state, (first, second) = ChatState(), [str(ASSETS / name) for name in ("great_tit.ogg", "rain.ogg")]
    chat.show(state, [first], None)
    played = state.played[Path(first)]
    asking = chat.ask(state, 0, [first], None, SPECIES, 0.0, None, 0.25)
    next(asking)
    _, _, players, _ = chat.show(state, [second], None)
    assert "rain.ogg" in players
    assert not played.parent.exists()
    *_, told, last = asking
    assert last == NOTHING_NEW
    assert told[1][-1]["content"].startswith("Great Tit") and told[2] == skip()
    _, _, players, _ = chat.show(state, [first], None)
    assert "Great Tit" in players and state.played[Path(first)].is_file()


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
    first, second, third = told[-1][2].split("</figure>")[:3]
    assert first.count('<i style="left:') == 3
    assert [name in first for name in ("Northern Saw-whet Owl", "Eastern Wood-Pewee")] == [True, True]
    assert "Spring Peeper: 0 s to 10 s, evidence 0." in second
    assert '<div class="player-span none"' in third
    _, which, players, notice = chat.show(state, [str(ASSETS / name) for name in names], None)
    assert (players, notice, which.visible) == (told[-1][2], "", False)
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
    (_, messages, players, _), last = chat.clear(state, 1, files, None)
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
    assert list(conversation.shown(lambda: "emptied", at_first=True)) == ["emptied"]
    assert list(conversation.shown(lambda: "answer")) == ["answer"]
    assert list(conversation.shown(lambda: "emptied", at_first=True)) == []


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


def messages_of(told: list[tuple[Any, ...]]) -> list[str]:
    return [message["content"] for message in told[-1][1]]


@pytest.fixture
def files_of(house: House) -> Callable[..., list[str]]:
    """Return files as if they were uploaded, of noise that ends in samples which are no numbers."""

    def make(seconds: float, damaged_at: float | None = None, name: str = "noise.wav") -> list[str]:
        path = house.files.new_folder() / name
        samples = np.random.default_rng(0).normal(0, 0.02, round(seconds * 16000)).astype(np.float32)
        if damaged_at is not None:
            samples[round(damaged_at * 16000) :] = np.nan
        soundfile.write(path, samples, 16000, subtype="FLOAT")
        return [str(path)]

    return make


@pytest.mark.parametrize("end", ["stop", "clear"])
def test_others_are_answered_once_a_long_recording_is_no_longer_heard(
    chat: Chat, files_of: Callable[..., list[str]], house: House, end: str
) -> None:
    state = ChatState()
    asking = chat.ask(state, 0, files_of(120.0), None, SPECIES, 0.0, None, 0.25, 1)
    assert [next(asking)[1][-1]["content"] for _ in range(3)] == [
        "…",
        "Listening: 0 of 12 windows …",
        "Listening: 4 of 12 windows …",
    ]
    # Even while it is still heard.
    assert answers(ask(chat, ChatState(), ["great_tit.ogg"], SPECIES))[0].startswith("Great Tit")
    if end == "stop":
        chat.stop(state, 1)
        *told, last = list(asking)
        assert (messages_of(told), last) == ([SPECIES, "*Stopped.*"], NOTHING_NEW)
    else:
        state.begin_anew(1)
        assert list(asking) == [NOTHING_NEW]
    assert state.interview is None
    with house.model.turn.unless(lambda: False):
        pass


def test_stop_keeps_what_was_said_and_holds_for_what_comes_later(chat: Chat) -> None:
    state, files = ChatState(), [str(ASSETS / "great_tit_and_common_cuckoo.ogg")]
    ask(chat, state, ["great_tit_and_common_cuckoo.ogg"], SPECIES)
    asking = chat.ask(state, 0, files, None, "Caption the audio.", 0.0, None, 0.25, 1)
    next(asking)
    said = [next(asking)[1][-1]["content"] for _ in range(3)][-1]
    chat.stop(state, 2)
    *told, _ = list(asking)
    assert messages_of(told)[2:] == ["Caption the audio.", f"{said}\n\n*Stopped.*"]
    # Stop may be faster than the question that it is about.
    *told, _ = chat.ask(state, 0, files, None, "How many species are in the audio?", 0.0, None, 0.25, 2)
    assert messages_of(told)[4:] == ["How many species are in the audio?", "*Stopped.*"]
    # The last question can be asked anew, and what was stopped is not part of the conversation.
    *told, _ = chat.retry(state, 0, files, None, "", 0.0, None, 0.25, 3)
    assert messages_of(told)[4] == "How many species are in the audio?"
    assert "*confidence" in messages_of(told)[5]
    assert state.conversation is not None
    assert state.conversation.queries == [SPECIES, "How many species are in the audio?"]


def test_an_answer_stays_when_asking_it_again_is_stopped_or_fails(chat: Chat) -> None:
    state, files = ChatState(), [str(ASSETS / "great_tit.ogg")]
    before = messages_of(ask(chat, state, ["great_tit.ogg"], SPECIES))
    again = chat.retry(state, 0, files, None, "", 0.0, None, 0.25, 1)
    next(again)
    next(again)
    chat.stop(state, 1)
    *told, _ = again
    assert messages_of(told) == before
    *told, _ = chat.retry(state, 0, files, None, "", "soon", None, 0.25, 2)
    *kept, query, said = messages_of(told)
    assert (kept, query) == (before, SPECIES)
    assert said.startswith("⚠ Part from")
    # A part that was never heard has no answer to bring back.
    state = ChatState()
    list(chat.ask(state, 0, files, None, SPECIES, "soon", None, 0.25, 3))
    *told, _ = chat.retry(state, 0, files, None, "", "soon", None, 0.25, 4)
    assert [len(messages_of(told)), messages_of(told)[0]] == [2, SPECIES]


def test_a_stopped_question_is_no_double_click(chat: Chat) -> None:
    state, files = ChatState(), [str(ASSETS / "great_tit.ogg")]
    first = chat.ask(state, 0, files, None, SPECIES, 0.0, None, 0.25, 1)
    next(first)
    chat.stop(state, 1)
    told: list[Any] = []
    again = threading.Thread(
        target=lambda: told.extend(chat.ask(state, 0, files, None, SPECIES, 0.0, None, 0.25, 2))
    )
    again.start()
    list(first)
    again.join(60)
    assert "Great Tit" in messages_of(told[:-1])[-1]


def test_stop_is_heard_while_others_have_the_model(chat: Chat, house: House) -> None:
    state, told = ChatState(), list[Any]()
    files = [str(ASSETS / "great_tit.ogg")]
    asking = threading.Thread(
        target=lambda: told.extend(chat.ask(state, 0, files, None, SPECIES, 0.0, None, 0.25, 1))
    )
    with house.model.turn:
        asking.start()
        time.sleep(0.5)
        chat.stop(state, 1)
        asking.join(60)
        assert messages_of(told[:-1]) == [SPECIES, "*Stopped.*"]


def test_a_recording_that_is_heard_in_part_stays_named(
    chat: Chat, files_of: Callable[..., list[str]]
) -> None:
    for seconds in (8.0, 40.0):
        state, files = ChatState(), files_of(seconds, damaged_at=seconds - 3.0, name="late_<b>.wav")
        for count in (1, 2):
            *told, _ = chat.ask(state, 0, files, None, f"{SPECIES}{' ' * count}{count}", 0.0, None, 0.25)
            messages = messages_of(told)
            assert len(messages) == 1 + 2 * count
            assert messages[0].startswith("⚠ late_&lt;b&gt;.wav is damaged: ")
            assert "The sound before the damage is used." in messages[0]


def test_bad_recordings_are_left_out_and_named(chat: Chat, files_of: Callable[..., list[str]]) -> None:
    files = [str(ASSETS / "great_tit.ogg"), *files_of(5.0, damaged_at=0.0), "/gone/away.wav"]
    *told, _ = chat.ask(ChatState(), 0, files, None, SPECIES, 0.0, None, 0.25)
    gone, damaged, query, answer = messages_of(told)
    assert "away.wav: there is no such upload" in gone
    assert damaged.startswith("⚠ noise.wav is damaged: the sample at 0.000 s")
    assert (query, answer.split("\n")[0]) == (SPECIES, "Great Tit")
    assert "great_tit" in chat.show(ChatState(), files, None)[2]


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ((5.0, 3.0), "There is no part from 5 s to 3 s"),
        ((90.0, 100.0), "great_tit.ogg has no sound from 90 to 100 s; it is 10.0 s long."),
        ((-1.0, None), "There is no part from -1 s to the end"),
        (("x", None), "Part from: give a number of seconds."),
        ((0.0, [1]), "Part to: give a number of seconds."),
    ],
)
def test_a_wrong_part_is_said_in_the_conversation_and_nothing_is_lost(
    chat: Chat, part: tuple[Any, Any], reason: str
) -> None:
    state, files = ChatState(), [str(ASSETS / "great_tit.ogg")]
    ask(chat, state, ["great_tit.ogg"], SPECIES)
    *told, _ = chat.ask(state, 0, files, None, "Caption the audio.", *part, 0.25)
    species, tit, query, said = messages_of(told)
    assert (species, tit.split("\n")[0], query) == (SPECIES, "Great Tit", "Caption the audio.")
    assert said.startswith(f"⚠ {reason}")
    *told, _ = chat.retry(state, 0, files, None, "", None, None, 0.25)
    assert [len(messages_of(told)), messages_of(told)[2]] == [4, "Caption the audio."]
    assert "*confidence" in messages_of(told)[3]


def test_why_nothing_can_be_answered_is_said_in_the_conversation(
    chat: Chat, files_of: Callable[..., list[str]]
) -> None:
    state, files = ChatState(), files_of(5.0, damaged_at=0.1)
    *told, _ = chat.ask(state, 0, files, None, SPECIES, 0.0, None, 0.25)
    query, said = messages_of(told)
    assert query == SPECIES
    assert said.startswith("⚠ noise.wav is damaged: the sample at 0.100 s is nan")
    damage, answer = answers(ask(chat, state, ["great_tit.ogg"], SPECIES))
    assert (damage, answer.split("\n")[0]) == (said, "Great Tit")


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
