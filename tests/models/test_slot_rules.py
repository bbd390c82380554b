"""Answers can only point at classes that the evidence supports."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from NatureLM.models.configuration import NatureLMConfig
from NatureLM.models.loading import BUNDLED_FOLDER
from NatureLM.models.slot_rules import (
    NAMED as AFTER_NAME,
)
from NatureLM.models.slot_rules import (
    START,
    AnswerTokens,
    NamedSlot,
    SlotRules,
    Written,
    numbers_in,
    read_answer,
    tokens_that_follow,
)
from NatureLM.models.species import SpeciesTable
from NatureLM.models.vocabulary import FIELD_TAGS, UNKNOWN

TAGS = set(FIELD_TAGS.values())


def animal(slot: int, common: str, scientific: str, family: str, order: str, kind: str = "bird") -> NamedSlot:
    names = {"common": common, "scientific": scientific, "genus": scientific.split()[0]}
    return NamedSlot(slot, {**names, "family": family, "order": order, "kind": kind})


TIT = animal(0, "Great Tit", "Parus major", "Paridae", "Passeriformes")
CHICKADEE = animal(1, "Willow Tit", "Poecile montanus", "Paridae", "Passeriformes")
PEEPER = animal(2, "Spring Peeper", "Pseudacris crucifer", "Hylidae", "Anura", "frog")
ENGINE = NamedSlot(3, {"sound": "engine noise"})
NAMED = [TIT, CHICKADEE, PEEPER, ENGINE]

# The second recording: the same Great Tit, and a mallard.
SECOND_TIT = animal(16, "Great Tit", "Parus major", "Paridae", "Passeriformes")
MALLARD = animal(17, "Mallard", "Anas platyrhynchos", "Anatidae", "Anseriformes")


class Rules:
    """Rules over named slots, asked by the texts of answers."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def follow(self, text: str, named: Sequence[NamedSlot] = NAMED, answers: Sequence[str] = ()) -> set[str]:
        """Return the tokens that may follow a text, given equal scores for all."""
        rules = SlotRules([named], self.tokenizer, tokens_that_follow(answers, self.tokenizer))
        ids = torch.tensor([self.tokenizer.encode(text, add_special_tokens=False)], dtype=torch.long)
        (scores,) = rules(ids, torch.zeros(1, len(self.tokenizer)))
        allowed = torch.nonzero(scores == 0).flatten().tolist()
        assert torch.isneginf(scores).sum() == len(self.tokenizer) - len(allowed)
        return set(self.tokenizer.convert_ids_to_tokens(allowed))


@pytest.fixture(scope="module")
def rules(tokenizer: PreTrainedTokenizerBase) -> Rules:
    return Rules(tokenizer)


def test_a_class_has_the_names_that_its_row_has(table: SpeciesTable) -> None:
    great_tit, engine = table.find("Great Tit"), table.find("engine noise")
    assert great_tit is not None and engine is not None
    assert NamedSlot.of(0, great_tit) == TIT
    assert NamedSlot.of(3, engine) == ENGINE
    assert [item.recording for item in (TIT, ENGINE, SECOND_TIT, MALLARD)] == [0, 0, 1, 1]


def test_after_a_tag_only_slots_with_such_a_name(rules: Rules) -> None:
    animals = {"<slot_0>", "<slot_1>", "<slot_2>"}
    for form in ("common", "scientific", "genus", "family", "order", "kind"):
        assert rules.follow(f"<{form}>") == animals
    assert rules.follow("<sound>") == {"<slot_3>"}
    assert rules.follow("A recording of <common>", [PEEPER, ENGINE]) == {"<slot_2>"}


def test_slots_come_in_order_of_evidence_and_only_once(rules: Rules) -> None:
    assert rules.follow("<common><slot_0>, <common>") == {"<slot_1>", "<slot_2>"}
    assert rules.follow("<common><slot_1>, <common>") == {"<slot_2>"}
    assert "<common>" not in rules.follow("<common><slot_2>, ")
    assert "<sound>" in rules.follow("<common><slot_2>, with ")
    assert "<sound>" not in rules.follow("<sound><slot_3> and ")


def test_ranks_are_given_of_each_class(rules: Rules) -> None:
    # Two tits are of one family; the adapter writes it once.
    assert rules.follow("<family><slot_0>, <family>") == {"<slot_1>", "<slot_2>"}
    assert rules.follow("<kind><slot_1> and <kind>") == {"<slot_2>"}
    assert "<order>" in rules.follow("<order><slot_0>, ", [TIT, CHICKADEE])
    assert "<order>" not in rules.follow("<order><slot_0>, <order><slot_2>, ")


def test_in_brackets_and_in_a_row_it_is_the_same_class(rules: Rules) -> None:
    assert rules.follow("<common><slot_1> (<scientific>") == {"<slot_1>"}
    ranks = "<order><slot_0> <family><slot_0> "
    assert rules.follow(ranks + "<scientific>") == {"<slot_0>"}
    assert rules.follow(ranks) & TAGS == {"<common>", "<scientific>", "<genus>", "<kind>"}
    assert rules.follow("<common><slot_0> (") & TAGS == TAGS - {"<common>", "<sound>"}
    # Ranks of the class before do not bar a class that shares them from its own brackets.
    assert rules.follow("<common><slot_0> (<family><slot_0>), <common><slot_1> (<family>") == {"<slot_1>"}


def test_after_brackets_the_list_goes_on(rules: Rules) -> None:
    both = "<common><slot_0> (<scientific><slot_0>)"
    assert rules.follow(both + ", <common>") == {"<slot_1>", "<slot_2>"}
    assert {",", "Ġand", ".", "<eos>"} <= rules.follow(both)


def test_no_comma_where_nothing_is_left(rules: Rules) -> None:
    going_on = {",", "Ġand", "Ġwith"}
    assert going_on <= rules.follow("<common><slot_0>")
    assert going_on <= rules.follow("<common><slot_2>")  # a sound is left
    for text, named in (
        ("<common><slot_1>", [TIT, CHICKADEE]),
        ("<common><slot_0> (<scientific><slot_0>)", [TIT]),
        ("A recording of <common><slot_0>, with <sound><slot_3>", [TIT, ENGINE]),
    ):
        allowed = rules.follow(text, named)
        assert not allowed & going_on
        assert {".", "<eos>"} <= allowed
    assert going_on <= rules.follow("No animal species is heard", [])  # before the first name


def test_without_classes_there_are_words_alone(rules: Rules, tokenizer: PreTrainedTokenizerBase) -> None:
    free = rules.follow("", [])
    closing = [token for token in tokenizer.get_vocab() if ")" in token]  # no bracket is open
    assert len(free) == len(tokenizer) - len(tokenizer.all_special_ids) + 1 - len(closing)
    assert {"None", "Yes", "1", "<eos>"} <= free
    assert not free & {*TAGS, "<slot_0>", "<pad>", "<name>", "<bos>"}


def test_slots_never_stand_without_a_tag(rules: Rules) -> None:
    for text in ("", "<common><slot_0>", "<common><slot_0>, ", "Yes"):
        assert not any(token.startswith("<slot_") for token in rules.follow(text))


def test_two_recordings_have_slots_of_their_own(rules: Rules) -> None:
    both = [TIT, ENGINE, SECOND_TIT, MALLARD]
    assert rules.follow("<common>", both) == {"<slot_0>", "<slot_16>", "<slot_17>"}
    # The same species may be named of each; within one, nothing comes twice or goes back.
    assert rules.follow("<common><slot_0>, <common>", both) == {"<slot_16>", "<slot_17>"}
    assert rules.follow("<common><slot_16>, <common>", both) == {"<slot_17>"}
    assert rules.follow("<common><slot_16> (<scientific>", both) == {"<slot_16>"}
    assert rules.follow("<order><slot_0>, <order>", both) == {"<slot_16>", "<slot_17>"}
    assert not rules.follow("<common><slot_17>", both) & {",", "Ġand", "Ġwith"}


def test_scores_of_what_may_follow_are_kept(tokenizer: PreTrainedTokenizerBase) -> None:
    scores = torch.randn(1, len(tokenizer), generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([tokenizer.encode("<common>", add_special_tokens=False)])
    held = SlotRules([NAMED], tokenizer)(ids, scores)
    slots = tokenizer.convert_tokens_to_ids(["<slot_0>", "<slot_1>", "<slot_2>"])
    assert torch.equal(held[0, slots], scores[0, slots])
    assert torch.isfinite(held).sum() == 3


ANSWERS = (
    "None",
    "<common><slot_0>, <common><slot_1>.",
    "<common><slot_0> (<family><slot_0>)",
    "<genus><slot_0>",
    "12",
)


def test_what_follows_in_the_answers(tokenizer: PreTrainedTokenizerBase) -> None:
    follow = {
        before if before < 0 else tokenizer.convert_ids_to_tokens(before): set(
            tokenizer.convert_ids_to_tokens(sorted(after))
        )
        for before, after in tokens_that_follow(ANSWERS, tokenizer).items()
    }
    digits = set("0123456789")
    assert follow.pop(START) == {"None", *TAGS, *digits}
    assert follow.pop(AFTER_NAME) == {",", ".", "Ġ(", ")", "<eos>"}
    assert {before: after for before, after in follow.items() if before not in digits} == {
        "None": {"<eos>"},
        ",": {"Ġ"},
        "Ġ": TAGS,
        ".": {"<eos>"},
        "Ġ(": TAGS,
        ")": {"<eos>"},
    }
    assert all(follow[digit] == digits | {"<eos>"} for digit in digits)
    assert tokens_that_follow([], tokenizer) == {}


def test_an_answer_goes_on_as_the_answers_do(rules: Rules) -> None:
    assert rules.follow("", answers=ANSWERS) == {"None", *"0123456789", *TAGS}
    assert rules.follow("", [], ANSWERS) == {"None", *"0123456789"}
    assert rules.follow("None", answers=ANSWERS) == {"<eos>"}
    assert rules.follow("<common><slot_0>,", answers=ANSWERS) == {"Ġ"}
    assert rules.follow("<common><slot_0>", [TIT], ANSWERS) == {".", "Ġ(", "<eos>"}
    # Nothing of the answers, or nothing that the other rules leave: the answer ends.
    assert rules.follow("Both", answers=ANSWERS) == {"<eos>"}
    assert rules.follow("<common><slot_0> (", [ENGINE], ANSWERS) == {"<eos>"}


def test_no_answer_goes_on_as_another(tokenizer: PreTrainedTokenizerBase) -> None:
    answers = NatureLMConfig.from_pretrained(BUNDLED_FOLDER).adapter["answers"]
    rules = SlotRules([NAMED], tokenizer, tokens_that_follow(answers, tokenizer))
    welcome = [*tokenizer.encode("You are welcome.", add_special_tokens=False), tokenizer.eos_token_id]
    assert welcome[0] in rules.next_tokens([], NAMED)
    for place in range(1, len(welcome) - 1):
        assert rules.next_tokens(welcome[:place], NAMED) == [welcome[place]]
    tags = set(AnswerTokens.of(tokenizer).tags)
    after_number = set(rules.next_tokens(tokenizer.encode("2: ", add_special_tokens=False), NAMED))
    assert tags <= after_number and tokenizer.eos_token_id not in after_number


def test_right_after_a_name_stands_what_stands_there_in_answers(rules: Rules) -> None:
    assert rules.follow("<common><slot_0>", answers=ANSWERS) == {",", ".", "Ġ(", "<eos>"}
    assert ")" in rules.follow("<common><slot_0> (<family><slot_0>", answers=ANSWERS)
    assert ")" not in rules.follow("<common><slot_0> (<family><slot_0>)", answers=ANSWERS)


def test_a_list_ends_at_the_number_that_the_question_names(tokenizer: PreTrainedTokenizerBase) -> None:
    assert numbers_in("the two loudest, or 3 of them?") == {2, 3}
    assert numbers_in("which birds are there") == frozenset()
    stop = tokenizer.eos_token_id
    two = tokenizer.encode("<common><slot_0>, <common><slot_1>", add_special_tokens=False)
    about_two = None
    for numbers, ends in (
        (frozenset(), False), (frozenset({2}), True), (frozenset({3}), False), (about_two, True),
    ):  # fmt: skip
        assert (stop in SlotRules([NAMED], tokenizer).next_tokens(two, NAMED, numbers)) == ends


def test_a_caption_enumerates_all_animals_of_its_recording(rules: Rules) -> None:
    start = "A recording of <common><slot_0>"
    assert rules.follow(start) == {","}
    assert rules.follow(start + ", <common><slot_1>") == {"Ġand"}
    whole = rules.follow(start + ", <common><slot_1> and <common><slot_2>")
    assert {",", "."} <= whole and "Ġand" not in whole
    both = [TIT, SECOND_TIT, MALLARD]
    assert "." in rules.follow(start, both)
    assert rules.follow("A recording of <common><slot_16>", both) == {"Ġand"}


@pytest.mark.parametrize("beams", [1, 3])
def test_beams_share_their_row(tokenizer: PreTrainedTokenizerBase, beams: int) -> None:
    rules = SlotRules([[TIT, CHICKADEE], [PEEPER]], tokenizer)
    common = tokenizer.convert_tokens_to_ids("<common>")
    scores = rules(torch.full((2 * beams, 1), common), torch.zeros(2 * beams, len(tokenizer)))
    allowed = [tokenizer.convert_ids_to_tokens(torch.nonzero(row == 0).flatten().tolist()) for row in scores]
    assert allowed == [["<slot_0>", "<slot_1>"]] * beams + [["<slot_2>"]] * beams


def test_beams_of_a_row_go_their_own_ways(tokenizer: PreTrainedTokenizerBase) -> None:
    texts = ["<common><slot_0>, <common>", "<common><slot_1>, <common>"]
    ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False) for text in texts])
    scores = SlotRules([NAMED], tokenizer)(ids, torch.zeros(2, len(tokenizer)))
    allowed = [tokenizer.convert_ids_to_tokens(torch.nonzero(row == 0).flatten().tolist()) for row in scores]
    assert allowed == [["<slot_1>", "<slot_2>"], ["<slot_2>"]]


@pytest.mark.parametrize(("share", "declines"), [(0.59, False), (0.61, True)])
@pytest.mark.parametrize("beams", [1, 2])
def test_it_declines_only_where_it_is_sure(
    tokenizer: PreTrainedTokenizerBase, share: float, declines: bool, beams: int
) -> None:
    first = tokenizer.encode(UNKNOWN, add_special_tokens=False)[0]
    yes = tokenizer.convert_tokens_to_ids("Yes")
    shares = torch.full((2 * beams, len(tokenizer)), float("-inf"))
    shares[:, first], shares[:, yes] = math.log(share), math.log(1 - share)
    rules = SlotRules([[TIT], NAMED], tokenizer, decline_floor=0.6)
    # Logits are known up to a constant.
    held = rules(torch.zeros((2 * beams, 0), dtype=torch.long), shares + 3.5)
    assert held[:, yes].tolist() == pytest.approx([math.log(1 - share) + 3.5] * (2 * beams))
    assert (held.argmax(-1) == (first if declines else yes)).all()
    assert torch.isfinite(held[:, first]).all() == declines


def test_the_floor_is_for_how_an_answer_begins(tokenizer: PreTrainedTokenizerBase) -> None:
    first = tokenizer.encode(UNKNOWN, add_special_tokens=False)[0]
    scores = torch.zeros(1, len(tokenizer))
    rules = SlotRules([NAMED], tokenizer, decline_floor=1.0)
    assert torch.isneginf(rules(torch.zeros((1, 0), dtype=torch.long), scores)[0, first])
    assert rules(torch.tensor([[tokenizer.convert_tokens_to_ids("Yes")]]), scores)[0, first] == 0


def read(tokenizer: PreTrainedTokenizerBase, text: str) -> Written:
    return read_answer(tokenizer.encode(text, add_special_tokens=False), AnswerTokens.of(tokenizer))


def test_answers_are_read_back(tokenizer: PreTrainedTokenizerBase) -> None:
    written = read(tokenizer, "A recording of <common><slot_0> (<scientific><slot_0>) and <common><slot_17>.")
    assert written.given == [("common", 0), ("scientific", 0), ("common", 17)]
    assert tokenizer.decode(written.between) == "."
    assert written.form == ""


def test_unfinished_answers_are_read_back(tokenizer: PreTrainedTokenizerBase) -> None:
    assert read_answer([], AnswerTokens.of(tokenizer)) == Written([], (), "")
    written = read(tokenizer, "<family><slot_3>, <family>")
    assert (written.given, tokenizer.decode(written.between), written.form) == (
        [("family", 3)],
        ", ",
        "family",
    )
    # A slot that no tag announces names nothing.
    assert read(tokenizer, "<slot_4> None").given == []
    assert read(tokenizer, "<common><slot_0><slot_4>").given == [("common", 0)]


FIVE = [animal(slot, f"Bird {slot}", f"Avis a{slot}", "Paridae", "Passeriformes") for slot in range(5)]


def test_a_list_from_the_strongest_on_names_all(rules: Rules) -> None:
    two = "<common><slot_0>, <common><slot_1>"
    four = two + ", <common><slot_2>, <common><slot_3>"
    assert "<eos>" in rules.follow("<common><slot_0>", FIVE)
    for text in (two, four):
        assert not rules.follow(text, FIVE) & {"<eos>", "."}
        assert "," in rules.follow(text, FIVE)
    assert "<eos>" in rules.follow(four + ", <common><slot_4>", FIVE)
    # Without the strongest, or with options, it may be what was asked for.
    assert "<eos>" in rules.follow(
        "<common><slot_1>, <common><slot_2>, <common><slot_3>, <common><slot_4>", FIVE
    )
    options = [NamedSlot(item.slot, item.names, spoken_of=item.slot < 4) for item in FIVE]
    assert "<eos>" in rules.follow(four, options)
