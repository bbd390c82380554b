"""Later turns of conversations, and questions about two recordings."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from NatureLM.models.adapters.species_tokens import SpeciesTokensAdapter
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import pooled_logits
from NatureLM.models.vocabulary import MAX_SLOTS
from NatureLM.training.answers import NONE, PLACES, UNKNOWN, WELCOME, Item, Request, Shown
from NatureLM.training.conversations import (
    ABOUT_NAMES,
    ANAPHORA,
    ONE_SHARED,
    TWO_RECORDINGS_SHARED,
    ConversationMaker,
    PairMaker,
    Said,
    answer_text,
    shared,
)
from NatureLM.training.tasks import Example, Logits, TaskMaker
from NatureLM.training.wordings import load_wordings

Window = Callable[[dict[str, float]], Logits]

TABLE = SpeciesTable.load()
DEFAULTS = AnswerSettings()

NAMES = ("Great Tit", "Spring Peeper", "Eurasian Blue Tit", "Mallard")
HEARD = {name: 3.0 - place for place, name in enumerate(NAMES)} | {"engine noise": 1.5}

NAME = re.compile(r"<([a-z]+)><slot_(\d+)>")


def index(name: str) -> int:
    species = TABLE.find(name)
    assert species is not None, name
    return species.class_index


def kind(name: str) -> frozenset[int]:
    return frozenset(species.class_index for species in TABLE if species.kind == name)


SCENE = Shown(
    [Item(slot, TABLE[index(name)]) for slot, name in enumerate(NAMES[:3])],
    [Item(3, TABLE[index("engine noise")])],
)
TIT, PEEPER, BLUE_TIT = (index(name) for name in NAMES[:3])
MALLARD = index("Mallard")

BOTH_TITS = Said(
    Request("list_scientific", ("scientific",)),
    "<scientific><slot_0>, <scientific><slot_2>",
    (TIT, BLUE_TIT),
    "scientific",
)
GREAT_TIT = Said(Request("focal_common"), "<common><slot_0>", (TIT,), "common")
NOTHING = Said(Request("focal_common"), NONE, (), "common")

REPLIES = [
    (BOTH_TITS, Request("follow_scientific"), "<scientific><slot_0>, <scientific><slot_2>"),
    (BOTH_TITS, Request("follow_common"), "<common><slot_0>, <common><slot_2>"),
    (BOTH_TITS, Request("follow_genus"), "<genus><slot_0>, <genus><slot_2>"),
    (BOTH_TITS, Request("follow_family"), "<family><slot_0>, <family><slot_2>"),
    (BOTH_TITS, Request("follow_order"), "<order><slot_0>, <order><slot_2>"),
    (BOTH_TITS, Request("follow_kind"), "<kind><slot_0>, <kind><slot_2>"),
    (GREAT_TIT, Request("follow_both"), "<common><slot_0> (<scientific><slot_0>)"),
    (BOTH_TITS, Request("follow_others"), "<scientific><slot_1>"),
    (GREAT_TIT, Request("follow_others"), "<common><slot_1>, <common><slot_2>"),
    (BOTH_TITS, Request("follow_count"), "2"),
    (BOTH_TITS, Request("follow_of_kind", classes=kind("frog")), NONE),
    (
        BOTH_TITS,
        Request("follow_of_kind", classes=kind("bird")),
        "<scientific><slot_0>, <scientific><slot_2>",
    ),
    (BOTH_TITS, Request("follow_first"), "<scientific><slot_0>"),
    (GREAT_TIT, Request("follow_second"), "<common><slot_1>"),
    (GREAT_TIT, Request("follow_is_kind", classes=kind("bird")), "Yes"),
    (GREAT_TIT, Request("follow_is_kind", classes=kind("frog"), heard=True), "No"),
    (GREAT_TIT, Request("follow_is_species", classes=frozenset({TIT})), "Yes"),
    (GREAT_TIT, Request("follow_is_species", classes=frozenset({PEEPER}), heard=True), "No"),
    (
        GREAT_TIT,
        Request("follow_caption"),
        "A recording of <common><slot_0>, <common><slot_1> and <common><slot_2>, "
        "with <sound><slot_3> in the background.",
    ),
    (
        GREAT_TIT,
        Request("follow_caption_scientific"),
        "A recording of <scientific><slot_0>, <scientific><slot_1> and <scientific><slot_2>, "
        "with <sound><slot_3> in the background.",
    ),
    (GREAT_TIT, Request("follow_outside"), UNKNOWN),
    (GREAT_TIT, Request("follow_thanks"), WELCOME),
    (NOTHING, Request("follow_scientific"), NONE),
    (NOTHING, Request("follow_family"), NONE),
]
"""What was said, what is asked next, and the answer about the scene."""

GOING_ON = [
    (GREAT_TIT, Request("follow_repeat"), "<common><slot_0>", "focal_common"),
    (
        NOTHING,
        Request("follow_what_about_species", classes=frozenset({PEEPER}), heard=True),
        "Yes",
        "is_species",
    ),
    (NOTHING, Request("follow_what_about_species", classes=frozenset({MALLARD})), "No", "is_species"),
    (NOTHING, Request("follow_what_about_kind", classes=kind("frog"), heard=True), "Yes", "is_kind"),
    (NOTHING, Request("follow_what_about_kind", classes=kind("mammal")), "No", "is_kind"),
]
"""Questions after which the talk goes on as after another: last the task that counts then."""


@pytest.fixture(scope="module")
def maker(tasks: TaskMaker) -> ConversationMaker:
    return ConversationMaker(tasks)


@pytest.fixture(scope="module")
def conversations(maker: ConversationMaker, window: Window) -> list[Example]:
    rng = np.random.default_rng(0)
    scenes = [window(HEARD), window({"Great Tit": 2.0}), window({})]
    return [maker.example(scenes[int(rng.choice(3, p=[0.6, 0.3, 0.1]))], rng) for _ in range(240)]


@pytest.mark.parametrize(("said", "request_", "expected"), REPLIES)
def test_replies(maker: ConversationMaker, said: Said, request_: Request, expected: str) -> None:
    new = SCENE.without(said.referents)
    assert maker._reply(said, request_, SCENE, new) == (expected, request_)


@pytest.mark.parametrize(("said", "request_", "expected", "then"), GOING_ON)
def test_replies_that_stand_for_others(
    maker: ConversationMaker, said: Said, request_: Request, expected: str, then: str
) -> None:
    reply, request = maker._reply(said, request_, SCENE, [])
    assert reply == expected
    assert request.task == then
    assert request.classes == request_.classes or then == "focal_common"


def test_every_follow_up_has_its_reply_here() -> None:
    covered = {request.task for _, request, _ in REPLIES} | {request.task for _, request, _, _ in GOING_ON}
    assert covered == {task for task in load_wordings() if task.startswith("follow_")}


def test_nothing_follows_the_weakest(maker: ConversationMaker) -> None:
    weakest = Said(Request("weakest_common"), "<common><slot_2>", (BLUE_TIT,), "common")
    assert maker._reply(weakest, Request("follow_second"), SCENE, [])[0] == NONE


def test_an_unknown_follow_up_is_beyond_the_model(maker: ConversationMaker) -> None:
    assert maker._reply(GREAT_TIT, Request("follow_nonsense"), SCENE, [])[0] == UNKNOWN


@pytest.mark.parametrize(
    ("request_", "referents", "form"),
    [
        (Request("list_scientific", ("scientific",)), (TIT, PEEPER, BLUE_TIT, MALLARD), "scientific"),
        (Request("focal_both", ("common", "scientific")), (TIT,), "common"),
        (Request("focal_ranks", ("scientific", "genus")), (TIT,), "scientific"),
        # The form of the first name counts, and ranks are no names of species.
        (Request("focal_taxonomic", ("order", "family", "scientific")), (TIT,), "common"),
        (Request("caption_plain"), (TIT, PEEPER, BLUE_TIT, MALLARD), "common"),
        (Request("is_species", classes=frozenset({PEEPER}), heard=True), (PEEPER,), "common"),
        (Request("is_species", classes=frozenset({index("Tawny Owl")})), (), "common"),
        (Request("is_kind", classes=kind("frog"), heard=True), (), "common"),
        (Request("non_animal"), (), "common"),
        (Request("count_species"), (), "common"),
    ],
)
def test_what_was_said(
    maker: ConversationMaker, window: Window, request_: Request, referents: tuple[int, ...], form: str
) -> None:
    example = maker.tasks.finished(request_.task, ["what?"], request_, [window(HEARD)], DEFAULTS)
    assert maker._said(example) == Said(request_, example.answer, referents, form)


def test_conversations_have_two_to_four_turns(conversations: list[Example]) -> None:
    assert {len(example.texts) for example in conversations} == {3, 5, 7}
    for example in conversations:
        for question in example.texts[::2]:
            assert question == question.lower()
            # Some people write "<audio>" themselves.
            assert not re.search(r"[{}\[\]|<]", question.replace("<audio>", "")), question
        for reply in example.texts[1::2]:
            assert reply and "<" not in reply
            assert "  " not in reply and "()" not in reply, reply


def test_every_follow_up_is_asked(conversations: list[Example]) -> None:
    seen = {example.task for example in conversations}
    follow_ups = {task for task in load_wordings() if task.startswith("follow_")}
    assert len(follow_ups & seen) >= 17
    assert all(task in follow_ups or task.startswith("then_") for task in seen)
    full = sum(example.task.startswith("then_") for example in conversations)
    assert full / len(conversations) == pytest.approx(0.3, abs=0.1)


def test_replies_of_conversations_name_only_what_passes(conversations: list[Example]) -> None:
    named = {index(name) for name in HEARD}
    for example in conversations:
        evidence = example.context.content.evidence[0]
        for form, slot in NAME.findall(example.answer):
            species = TABLE[evidence[int(slot)].class_index]
            assert species.class_index in named
            assert species.is_animal == (form != "sound")
        assert "<" not in NAME.sub("", example.answer)


def test_follow_ups_suit_the_answer_before(conversations: list[Example]) -> None:
    for example in conversations:
        before = example.texts[-2]
        match example.task:
            case "follow_is_kind" | "follow_second":
                assert (
                    sum(name in before or TABLE[index(name)].scientific_name in before for name in NAMES) <= 1
                )
            case "follow_what_about_species" | "follow_what_about_kind":
                assert before in ("Yes", "No")
            case "follow_of_kind" | "follow_first":
                assert before.count(",") + before.count(" and ") >= 1


def test_full_questions_do_not_point_back(maker: ConversationMaker, window: Window) -> None:
    rng = np.random.default_rng(1)
    heard = maker.tasks.hear(window(HEARD), DEFAULTS)
    for _ in range(200):
        task, query, request = maker._full_question(heard, DEFAULTS, rng)
        assert request.task == task
        assert len(query.split()) > 3
        assert task.startswith("outside") or not ANAPHORA.search(query), query


@pytest.mark.parametrize(
    "text", ["is it a bird?", "which of those are frogs?", "and what else?", "any others?"]
)
def test_words_that_point_back(text: str) -> None:
    assert ANAPHORA.search(text)


@pytest.mark.parametrize("text", ["is there an owl in the item?", "list the species", "none heard?"])
def test_words_that_do_not_point_back(text: str) -> None:
    assert not ANAPHORA.search(text)


def test_held_out_conversations_use_held_out_words(
    adapter: SpeciesTokensAdapter, table: SpeciesTable, window: Window
) -> None:
    maker = ConversationMaker(TaskMaker(adapter, table, split="held_out", noise=False))
    rng = np.random.default_rng(2)
    held_out = set(load_wordings()["follow_scientific"]["held_out"])
    asked = [maker.example(window(HEARD), rng) for _ in range(160)]
    last = [example.texts[-1] for example in asked if example.task == "follow_scientific"]
    assert len(last) > 3
    plain = [pattern for pattern in held_out if "[" not in pattern]
    assert any(text.endswith(pattern) for text in last for pattern in plain)
    trained = [pattern for pattern in load_wordings()["follow_scientific"]["train"] if "[" not in pattern]
    assert not set(last) & set(trained)


@pytest.fixture(scope="module")
def pairs(plain_tasks: TaskMaker, window: Window) -> list[Example]:
    maker = PairMaker(plain_tasks)
    rng = np.random.default_rng(3)
    first = window({"Great Tit": 3.0, "Spring Peeper": 2.0, "engine noise": 1.0})
    second = window({"Mallard": 2.5, "Tawny Owl": 1.5})
    return [maker.example(first, second, rng, DEFAULTS) for _ in range(480)]


def test_slots_of_the_second_recording_follow_those_of_the_first(pairs: list[Example]) -> None:
    for example in pairs:
        lengths = example.context.lengths
        slots = example.context.content.classes[:, 0].tolist()
        assert slots == [*range(lengths[0]), *range(MAX_SLOTS, MAX_SLOTS + lengths[1])]
        evidence = example.context.content.evidence
        for form, slot in NAME.findall(example.answer):
            recording, place = divmod(int(slot), MAX_SLOTS)
            assert TABLE[evidence[recording][place].class_index].is_animal == (form != "sound")


def test_half_of_the_pairs_share_species(pairs: list[Example]) -> None:
    given = [(example.windows[1].max(axis=0)[[TIT, PEEPER]] > -5.0).sum() for example in pairs]
    # Of two species one is given always, or each with a chance of 0.6: neither in 0.16 of cases.
    some = TWO_RECORDINGS_SHARED * (ONE_SHARED + (1 - ONE_SHARED) * 0.84)
    assert np.mean(np.array(given) > 0) == pytest.approx(some, abs=0.06)
    both = TWO_RECORDINGS_SHARED * (1 - ONE_SHARED) * 0.36
    assert np.mean(np.array(given) == 2) == pytest.approx(both, abs=0.05)
    answers = {example.answer for example in pairs if example.task == "two_shared"}
    assert NONE in answers
    assert any(answer.startswith("<common><slot_") for answer in answers)


def test_every_question_about_two_recordings_is_asked(pairs: list[Example]) -> None:
    two = {task for task in load_wordings() if task.startswith("two_")}
    assert {example.task for example in pairs} == two | set(ABOUT_NAMES)
    for example in pairs:
        for question in example.texts[::2]:
            assert not re.search(r"[{}\[\]|<]", question), example.texts
            assert question == question.lower()


def test_later_questions_about_two_recordings(plain_tasks: TaskMaker, pairs: list[Example]) -> None:
    later = [example for example in pairs if len(example.texts) == 3]
    assert len(later) / len(pairs) == pytest.approx(0.35, abs=0.08)
    for example in later:
        before = example.texts[1]
        assert before and "<" not in before
        match example.task:
            case "two_other":
                # The same question about the recording that was not named.
                other = ("second", "first")[example.request.recording]
                assert other in example.texts[0]
                assert {int(slot) // MAX_SLOTS for _, slot in NAME.findall(example.answer)} <= {
                    example.request.recording
                }
            case "follow_scientific":
                heard = [item for items in example.context.content.evidence for item in items]
                said = {
                    TABLE[item.class_index].scientific_name
                    for item in heard
                    if TABLE[item.class_index].common_name in before and TABLE[item.class_index].is_animal
                }
                assert set(answer_text(plain_tasks, example).split(", ")) == said
            case task:
                assert task not in ABOUT_NAMES or example.answer.startswith(f"<{task.split('_')[1]}>")


def test_thanks_are_answered_and_nothing_refers_back_to_them(
    maker: ConversationMaker, conversations: list[Example]
) -> None:
    thanked = [example for example in conversations if example.task == "follow_thanks"]
    assert thanked and all(example.answer == WELCOME for example in thanked)
    assert set(maker._possible(Said(Request("follow_thanks"), WELCOME, (), "common"))) == {"follow_outside"}


def test_others_are_those_that_no_answer_has_named(conversations: list[Example]) -> None:
    others = [example for example in conversations if example.task == "follow_others"]
    assert len(others) > 2
    for example in others:
        evidence = example.context.content.evidence[0]
        answered = " ".join(example.texts[1::2])
        for _, slot in NAME.findall(example.answer):
            species = TABLE[evidence[int(slot)].class_index]
            assert species.common_name not in answered and species.scientific_name not in answered


def test_the_recording_asked_about_is_the_one_named(pairs: list[Example]) -> None:
    asked = ("two_focal_common", "two_list_common", "two_count", "two_only", "two_is_species", "two_caption")
    seen = set()
    for example in pairs:
        if example.task in asked:
            recording = example.request.recording
            assert ("first", "second")[recording] in example.texts[-1]
            seen.add(recording)
            slots = [int(slot) // MAX_SLOTS for _, slot in NAME.findall(example.answer)]
            assert set(slots) <= {recording}
    assert seen == {0, 1}


def test_pairs_are_answered_by_their_evidence(pairs: list[Example]) -> None:
    for example in pairs:
        first, second = (set(np.flatnonzero(pooled_logits(w) >= -1.0986).tolist()) for w in example.windows)
        animals = [{i for i in heard if TABLE[i].is_animal} for heard in (first, second)]
        classes = example.request.classes
        match example.task:
            case "two_where_species" | "two_where_kind":
                here, there = (bool(classes & heard) for heard in animals)
                expected = {(1, 1): "Both.", (1, 0): "The first.", (0, 1): "The second.", (0, 0): "Neither."}
                assert example.answer == expected[(int(here), int(there))]
            case "two_is_species" | "two_is_kind":
                heard = bool(classes & animals[example.request.recording])
                assert example.answer == ("Yes" if heard else "No")
            case "two_count_all":
                assert example.answer == str(len(animals[0] | animals[1]))
            case "two_more":
                assert example.answer in PLACES
                assert (example.answer == "Both alike.") == (len(animals[0]) == len(animals[1]))
            case "two_focal_scientific" | "two_list_scientific":
                assert example.answer.startswith("<scientific>")


def test_shared_species_come_at_other_strengths(window: Window) -> None:
    first, second = window({"Great Tit": 3.0, "Spring Peeper": 2.0}), window({"Mallard": 2.5})
    kept = second.copy()
    rng = np.random.default_rng(4)
    mixes = [shared(first, second, [TIT, PEEPER], rng) for _ in range(600)]
    np.testing.assert_array_equal(second, kept)
    for mixed in mixes:
        changed = set(np.flatnonzero((mixed != second).any(axis=0)).tolist())
        assert changed <= {TIT, PEEPER}
        assert (mixed >= second).all()
    strengths = [float(mixed[:, TIT].max()) for mixed in mixes if mixed[:, TIT].max() > -5]
    # 0.4 of cases give one of the two, the others each with a chance of 0.6.
    assert len(strengths) / len(mixes) == pytest.approx(0.56, abs=0.06)
    assert np.std(strengths) == pytest.approx(1.0, abs=0.35)
    np.testing.assert_array_equal(shared(first, second, [], rng), second)
