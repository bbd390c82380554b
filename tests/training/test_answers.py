"""What evidence demands as the answer to every task, on evidence made by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from transformers import PreTrainedTokenizerBase

from NatureLM.models.adapters.species_tokens import SpeciesTokensAdapter
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.slot_rules import NAMED, START, AnswerTokens, tokens_that_follow
from NatureLM.models.species import SpeciesTable
from NatureLM.training.answers import (
    NONE,
    PLACES,
    UNKNOWN,
    Item,
    Request,
    Shown,
    answer,
    answer_forms,
    caption,
    joined,
    named,
    shown,
)
from NatureLM.training.tasks import TASK_SHARES, Logits
from NatureLM.training.wordings import load_wordings

TABLE = SpeciesTable.load()


def index(name: str) -> int:
    species = TABLE.find(name)
    assert species is not None, name
    return species.class_index


def recording(animals: list[str], sounds: list[str], first_slot: int = 0) -> Shown:
    items = [Item(first_slot + place, TABLE[index(name)]) for place, name in enumerate(animals + sounds)]
    return Shown(items[: len(animals)], items[len(animals) :])


def classes(*names: str) -> frozenset[int]:
    return frozenset(map(index, names))


def kind(name: str) -> frozenset[int]:
    return frozenset(species.class_index for species in TABLE if species.kind == name)


SCENE = recording(["Great Tit", "Spring Peeper", "Eurasian Blue Tit"], ["engine noise", "siren"])
SILENCE = Shown()
TITS = classes("Great Tit", "Eurasian Blue Tit")
ABSENT = classes("Mallard", "Tawny Owl")

C0, C1, C2 = "<common><slot_0>", "<common><slot_1>", "<common><slot_2>"
S0, S1, S2 = "<scientific><slot_0>", "<scientific><slot_1>", "<scientific><slot_2>"
ENGINE, SIREN = "<sound><slot_3>", "<sound><slot_4>"

Case = tuple[Request, str, str]
"""A request, its answer about the scene, and its answer about silence."""

ONE_RECORDING: list[Case] = [
    (Request("focal_common"), C0, NONE),
    (Request("focal_scientific", ("scientific",)), S0, NONE),
    (Request("focal_both", ("common", "scientific")), f"{C0} ({S0})", NONE),
    (Request("focal_genus", ("genus",)), "<genus><slot_0>", NONE),
    (Request("focal_family", ("family",)), "<family><slot_0>", NONE),
    (Request("focal_order", ("order",)), "<order><slot_0>", NONE),
    (Request("focal_kind", ("kind",)), "<kind><slot_0>", NONE),
    (Request("focal_ranks", ("genus", "order")), "<genus><slot_0> (<order><slot_0>)", NONE),
    (
        Request("focal_taxonomic", ("order", "family", "scientific")),
        f"<order><slot_0> <family><slot_0> {S0}",
        NONE,
    ),
    (Request("focal_common_of_kind", classes=kind("frog")), C1, NONE),
    (Request("focal_family", ("family",), kind("frog")), "<family><slot_1>", NONE),
    (Request("focal_both", ("common", "scientific"), kind("insect")), NONE, NONE),
    (Request("focal_common_of_kind", classes=kind("insect")), NONE, NONE),
    (Request("second_common"), C1, NONE),
    (Request("weakest_common"), C2, NONE),
    (Request("top_species", number=2), f"{C0}, {C1}", NONE),
    (Request("top_species", number=3), f"{C0}, {C1}, {C2}", NONE),
    (Request("list_common"), f"{C0}, {C1}, {C2}", NONE),
    (Request("list_scientific", ("scientific",)), f"{S0}, {S1}, {S2}", NONE),
    (Request("list_both", ("common", "scientific")), f"{C0} ({S0}), {C1} ({S1}), {C2} ({S2})", NONE),
    (Request("list_genus", ("genus",)), "<genus><slot_0>, <genus><slot_1>, <genus><slot_2>", NONE),
    # Both tits are Paridae, Passeriformes and birds: the program leaves the second out.
    (Request("list_family", ("family",)), "<family><slot_0>, <family><slot_1>, <family><slot_2>", NONE),
    (Request("list_order", ("order",)), "<order><slot_0>, <order><slot_1>, <order><slot_2>", NONE),
    (Request("list_kind", ("kind",)), "<kind><slot_0>, <kind><slot_1>, <kind><slot_2>", NONE),
    (
        Request("list_ranks", ("common", "family")),
        f"{C0} (<family><slot_0>), {C1} (<family><slot_1>), {C2} (<family><slot_2>)",
        NONE,
    ),
    (Request("list_common_of_kind", classes=kind("bird")), f"{C0}, {C2}", NONE),
    (Request("list_common_of_kind", classes=kind("mammal")), NONE, NONE),
    (Request("list_of_rank", classes=TITS), f"{C0}, {C2}", NONE),
    (Request("others_common"), f"{C1}, {C2}", NONE),
    (Request("others_than_species", classes=classes("Spring Peeper")), f"{C0}, {C2}", NONE),
    (Request("others_than_species", classes=classes("Mallard")), f"{C0}, {C1}, {C2}", NONE),
    (
        Request("caption_plain"),
        f"A recording of {C0}, {C1} and {C2}, with {ENGINE} and {SIREN} in the background.",
        "No animal species is heard.",
    ),
    (
        Request("caption_common"),
        f"A recording of {C0}, {C1} and {C2}, with {ENGINE} and {SIREN} in the background.",
        "No animal species is heard.",
    ),
    (
        Request("caption_scientific", ("scientific",)),
        f"A recording of {S0}, {S1} and {S2}, with {ENGINE} and {SIREN} in the background.",
        "No animal species is heard.",
    ),
    (
        Request("which_of", ("scientific",), classes("Eurasian Blue Tit", "Great Tit", "Mallard")),
        f"{S0}, {S2}",
        NONE,
    ),
    (Request("which_of", classes=ABSENT), NONE, NONE),
    (Request("focal_of", classes=classes("Mallard", "Eurasian Blue Tit", "Spring Peeper")), C1, NONE),
    (Request("focal_of", classes=ABSENT), NONE, NONE),
    (Request("either_or", ("scientific",), classes("Mallard", "Eurasian Blue Tit")), S2, NONE),
    (Request("either_kind", ("kind",), kind("frog") | kind("insect")), "<kind><slot_1>", NONE),
    (Request("either_kind", ("kind",), kind("bird") | kind("frog")), "<kind><slot_0>", NONE),
    (Request("is_species", classes=classes("Great Tit"), heard=True), "Yes", "Yes"),
    (Request("is_species", classes=classes("Mallard")), "No", "No"),
    (Request("is_group", classes=TITS, heard=True), "Yes", "Yes"),
    (Request("is_group", classes=ABSENT), "No", "No"),
    (Request("is_kind", classes=kind("frog"), heard=True), "Yes", "Yes"),
    (Request("is_kind", classes=kind("insect")), "No", "No"),
    (Request("is_rank", classes=TITS, heard=True), "Yes", "Yes"),
    (Request("is_rank", classes=ABSENT), "No", "No"),
    (Request("is_sound", classes=classes("siren"), heard=True), "Yes", "Yes"),
    (Request("is_sound", classes=classes("gunshots")), "No", "No"),
    (Request("is_animal"), "Yes", "No"),
    (Request("is_unknown"), UNKNOWN, UNKNOWN),
    (Request("no_species", classes=classes("Great Tit"), heard=True), "No", "No"),
    (Request("no_species", classes=classes("Mallard")), "Yes", "Yes"),
    (Request("no_group", classes=TITS, heard=True), "No", "No"),
    (Request("no_group", classes=ABSENT), "Yes", "Yes"),
    (Request("no_kind", classes=kind("frog"), heard=True), "No", "No"),
    (Request("no_kind", classes=kind("insect")), "Yes", "Yes"),
    (Request("no_animal"), "No", "Yes"),
    (Request("yes_which_kind", classes=kind("bird"), heard=True), f"{C0}, {C2}", NONE),
    (Request("yes_which_kind", classes=kind("insect")), NONE, NONE),
    (Request("yes_which_animal"), f"{C0}, {C1}, {C2}", NONE),
    (Request("count_species"), "3", "0"),
    (Request("count_kind", classes=kind("bird"), heard=True), "2", "0"),
    (Request("count_kind", classes=kind("insect")), "0", "0"),
    (Request("count_which"), f"3: {C0}, {C1}, {C2}", "0"),
    (Request("non_animal"), f"{ENGINE}, {SIREN}", NONE),
    (Request("outside_knowledge"), UNKNOWN, UNKNOWN),
    (Request("outside_species", classes=classes("Great Tit"), heard=True), UNKNOWN, UNKNOWN),
    (Request("outside_kind", classes=kind("bird"), heard=True), UNKNOWN, UNKNOWN),
]

FIRST = recording(["Great Tit", "Spring Peeper"], ["siren"])
SECOND = recording(["Mallard", "Spring Peeper", "Tawny Owl"], [], first_slot=16)

TWO_RECORDINGS: list[tuple[Request, str]] = [
    (Request("two_focal_common"), C0),
    (Request("two_focal_common", recording=1), "<common><slot_16>"),
    (Request("two_focal_scientific", ("scientific",), recording=1), "<scientific><slot_16>"),
    (Request("two_list_common", recording=1), "<common><slot_16>, <common><slot_17>, <common><slot_18>"),
    (Request("two_list_scientific", ("scientific",)), f"{S0}, {S1}"),
    (Request("two_same"), "No"),
    (Request("two_shared"), C1),
    (Request("two_list_of_kind", classes=kind("bird"), recording=1), "<common><slot_16>, <common><slot_18>"),
    (Request("two_list_of_kind", classes=kind("frog")), C1),
    (Request("two_list_of_kind", classes=kind("insect")), NONE),
    (Request("two_shared_of_kind", classes=kind("frog")), C1),
    (Request("two_shared_of_kind", classes=kind("bird")), NONE),
    (Request("two_only"), C0),
    (Request("two_only", recording=1), "<common><slot_16>, <common><slot_18>"),
    (Request("two_only_of_kind", classes=kind("bird")), C0),
    (Request("two_only_of_kind", classes=kind("bird"), recording=1), "<common><slot_16>, <common><slot_18>"),
    (Request("two_only_of_kind", classes=kind("frog"), recording=1), NONE),
    # The Spring Peeper of both comes twice here; the program leaves the second out.
    (Request("two_all"), f"{C0}, {C1}, <common><slot_16>, <common><slot_17>, <common><slot_18>"),
    (Request("two_count_all"), "4"),
    (Request("two_count"), "2"),
    (Request("two_count", recording=1), "3"),
    (Request("two_where_species", classes=classes("Great Tit")), "The first."),
    (Request("two_where_species", classes=classes("Mallard")), "The second."),
    (Request("two_where_species", classes=classes("Spring Peeper")), "Both."),
    (Request("two_where_species", classes=classes("Common Raven")), "Neither."),
    (Request("two_where_kind", classes=kind("bird")), "Both."),
    (Request("two_where_kind", classes=kind("insect")), "Neither."),
    (Request("two_is_species", classes=classes("Mallard")), "No"),
    (Request("two_is_species", classes=classes("Mallard"), recording=1), "Yes"),
    (Request("two_is_kind", classes=kind("frog"), recording=1), "Yes"),
    (Request("two_is_kind", classes=kind("mammal")), "No"),
    (Request("two_more"), "The second."),
    (Request("two_caption"), f"A recording of {C0} and {C1}, with <sound><slot_2> in the background."),
    (
        Request("two_caption", recording=1),
        "A recording of <common><slot_16>, <common><slot_17> and <common><slot_18>.",
    ),
    (Request("two_focal_each"), f"The first: {C0}. The second: <common><slot_16>."),
    (Request("two_outside"), UNKNOWN),
]


@pytest.mark.parametrize(("request_", "about_scene", "about_silence"), ONE_RECORDING)
def test_answers_about_one_recording(request_: Request, about_scene: str, about_silence: str) -> None:
    assert answer(request_, [SCENE]) == about_scene
    assert answer(request_, [SILENCE]) == about_silence


@pytest.mark.parametrize(("request_", "expected"), TWO_RECORDINGS)
def test_answers_about_two_recordings(request_: Request, expected: str) -> None:
    assert answer(request_, [FIRST, SECOND]) == expected


def test_every_task_has_its_case_here() -> None:
    assert {request.task for request, _, _ in ONE_RECORDING} == set(TASK_SHARES)
    two = {task for task in load_wordings() if task.startswith("two_")} - {"two_other"}
    assert {request.task for request, _ in TWO_RECORDINGS} == two


def test_two_recordings_whose_strongest_species_is_one() -> None:
    again = recording(["Great Tit"], [], first_slot=16)
    assert answer(Request("two_same"), [FIRST, again]) == "Yes"
    assert answer(Request("two_more"), [FIRST, again]) == "The first."
    assert answer(Request("two_more"), [again, again]) == "Both alike."


def test_two_silent_recordings() -> None:
    silence = [SILENCE, SILENCE]
    expected = {
        **dict.fromkeys(
            ("two_focal_common", "two_list_scientific", "two_shared", "two_only", "two_all"), NONE
        ),
        "two_same": "No",
        "two_count_all": "0",
        "two_more": "Both alike.",
        "two_where_kind": "Neither.",
        "two_focal_each": "The first: None. The second: None.",
        "two_caption": "No animal species is heard.",
    }
    assert {task: answer(Request(task), silence) for task in expected} == expected


def test_one_silent_recording_of_two() -> None:
    recordings = [SILENCE, SECOND]
    assert answer(Request("two_same"), recordings) == "No"
    assert answer(Request("two_focal_each"), recordings) == "The first: None. The second: <common><slot_16>."
    assert answer(Request("two_where_kind", classes=kind("bird")), recordings) == "The second."


@pytest.mark.parametrize("task", ["nonsense", "two_nonsense"])
def test_a_task_that_is_none_has_no_answer(task: str) -> None:
    with pytest.raises(AssertionError, match=task):
        answer(Request(task), [FIRST, SECOND])


def test_a_question_about_two_recordings_needs_two() -> None:
    with pytest.raises(ValueError, match="not enough values"):
        answer(Request("two_more"), [FIRST])


def test_captions() -> None:
    assert caption([], []) == "No animal species is heard."
    assert caption([], ["rain"]) == "No animal species is heard, only rain."
    assert caption([], ["rain", "wind"]) == "No animal species is heard, only rain and wind."
    assert caption(["a"], []) == "A recording of a."
    assert caption(["a", "b", "c"], ["d"]) == "A recording of a, b and c, with d in the background."


def test_enumerations() -> None:
    assert joined([]) == ""
    assert joined(["a"]) == "a"
    assert joined(["a", "b"]) == "a and b"
    assert joined(["a", "b", "c"]) == "a, b and c"


def test_a_list_with_two_names_of_each() -> None:
    tits = [Item(5, TABLE[index("Eurasian Blue Tit")]), Item(7, TABLE[index("Great Tit")])]
    assert named([], ("family",)) == NONE
    assert named(tits, ("genus", "family")) == (
        "<genus><slot_5> (<family><slot_5>), <genus><slot_7> (<family><slot_7>)"
    )


def test_shown_are_the_classes_of_each_recording_in_their_slots(
    adapter: SpeciesTokensAdapter, window: Callable[[dict[str, float]], Logits]
) -> None:
    first = window({"Great Tit": 1.0, "engine noise": 4.0, "Mallard": 3.0, "Tawny Owl": -3.0})
    second = window({"Spring Peeper": 2.0})
    context = adapter.context([first, second], ["which?"], AnswerSettings(min_evidence=0.25))
    mallard_first, peeper_alone = shown(context, TABLE)
    assert [(item.slot, item.species.common_name) for item in mallard_first.animals] == [
        (0, "Mallard"),
        (1, "Great Tit"),
    ]
    assert [(item.slot, item.species.common_name) for item in mallard_first.sounds] == [(2, "engine noise")]
    assert [(item.slot, item.species.common_name) for item in peeper_alone.animals] == [(16, "Spring Peeper")]
    assert peeper_alone.sounds == []
    assert mallard_first.classes == {index("Mallard"), index("Great Tit")}


def test_decoding_may_write_every_answer(tokenizer: PreTrainedTokenizerBase) -> None:
    follow = tokens_that_follow(answer_forms(), tokenizer)
    slots = AnswerTokens.of(tokenizer).slots
    answers = [text for _, *texts in ONE_RECORDING for text in texts]
    answers += [text for _, text in TWO_RECORDINGS] + [*PLACES, "28", "17: <common><slot_0>"]
    for text in answers:
        before = START
        for token in (*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id):
            if token not in slots:
                assert token in follow[before], (text, tokenizer.decode([token]))
            # After a tag only slots come, which other rules see to.
            before = NAMED if token in slots else token
