"""Names in answers can only be those that the evidence supports."""

from __future__ import annotations

import pytest
import torch

from NatureLM.models.adapters.species_tokens import SpeciesTokensAdapter
from NatureLM.models.name_rules import NameRules, answer_tokens, names_of_answer, window_names
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import ClassEvidence, State
from NatureLM.training.tasks import answer_forms

TABLE = SpeciesTable.load()


def evidence(name: str, state: State) -> ClassEvidence:
    species = TABLE.find(name)
    assert species is not None
    return ClassEvidence(species.class_index, 2.0, 0.88, 0.5, state, mentioned=False)


@pytest.fixture(scope="module")
def tokenizer():  # type: ignore[no-untyped-def]
    return NatureLM.from_pretrained("bundled").processor.tokenizer


NAMES = window_names(
    [
        evidence("Great Tit", State.FOCAL),
        evidence("Great Crested Flycatcher", State.PRESENT),
        evidence("Mallard", State.WEAK),
        evidence("Engine noise", State.SOUND),
    ],
    TABLE,
)


def test_only_passing_classes_have_names() -> None:
    assert NAMES["common"] == ["Great Tit", "Great Crested Flycatcher"]
    assert NAMES["genus"] == ["Parus", "Myiarchus"]
    assert NAMES["order"] == ["Passeriformes"]
    assert NAMES["sound"] == ["engine noise"]


def follow(tokenizer, text: str, names=NAMES) -> set[str]:  # type: ignore[no-untyped-def]
    """Tokens that may follow a text, given equal scores for all."""
    rules = NameRules([names], tokenizer)
    ids = tokenizer.encode(text, add_special_tokens=False)
    scores = rules(torch.tensor([ids], dtype=torch.long), torch.zeros(1, len(tokenizer)))
    return set(tokenizer.convert_ids_to_tokens(torch.nonzero(scores[0] == 0).flatten().tolist()))


def test_inside_a_name_only_its_continuations(tokenizer) -> None:  # type: ignore[no-untyped-def]
    assert follow(tokenizer, "<common>") == {"Great"}
    assert follow(tokenizer, "<common>Great Tit") == {"</name>"}
    assert follow(tokenizer, "<sound>") == {tokenizer.tokenize("engine noise")[0]}


def test_no_name_comes_twice(tokenizer) -> None:  # type: ignore[no-untyped-def]
    after_first = follow(tokenizer, "<common>Great Tit</name>, <common>Great")
    assert after_first == {tokenizer.tokenize("Great Crested")[1]}
    assert "<order>" in follow(tokenizer, "")
    assert "<order>" not in follow(tokenizer, "<order>Passeriformes</name>, ")
    assert "<genus>" in follow(tokenizer, "<order>Passeriformes</name> ")


def test_outside_names_words_are_free_but_for_tags_without_names(tokenizer) -> None:  # type: ignore[no-untyped-def]
    free = follow(tokenizer, "None", names=window_names([], TABLE))
    tags = {"<common>", "<scientific>", "<genus>", "<family>", "<order>", "<kind>", "<sound>", "</name>"}
    assert len(free) == len(tokenizer) - len(tags)
    assert not free & tags


def test_only_the_words_of_answers_stand_outside_names(tokenizer) -> None:  # type: ignore[no-untyped-def]
    words = answer_tokens(["None", "<common></name>, <common></name>."], tokenizer)
    rules = NameRules([NAMES], tokenizer, words)
    scores = rules(torch.zeros(1, 0, dtype=torch.long), torch.zeros(1, len(tokenizer)))
    allowed = set(tokenizer.convert_ids_to_tokens(torch.nonzero(scores[0] == 0).flatten().tolist()))
    tags = {"<common>", "<scientific>", "<genus>", "<family>", "<order>", "<kind>", "<sound>"}
    assert allowed == {*tokenizer.tokenize("None"), ",", "Ġ", ".", "<eos>", *tags}


def test_the_bundled_models_answers_are_made_of_its_words() -> None:
    adapter = NatureLM.from_pretrained("bundled").adapter
    assert isinstance(adapter, SpeciesTokensAdapter)
    assert adapter.answers == answer_forms()


def test_beams_share_their_row(tokenizer) -> None:  # type: ignore[no-untyped-def]
    rules = NameRules([NAMES, window_names([evidence("Mallard", State.FOCAL)], TABLE)], tokenizer)
    common = tokenizer.convert_tokens_to_ids("<common>")
    ids = torch.full((4, 1), common)
    scores = rules(ids, torch.zeros(4, len(tokenizer)))
    allowed = [tokenizer.convert_ids_to_tokens(torch.nonzero(row == 0).flatten().tolist()) for row in scores]
    first_of_mallard = tokenizer.tokenize("Mallard")[:1]
    assert allowed == [["Great"], ["Great"], first_of_mallard, first_of_mallard]


def test_names_are_read_back_from_an_answer(tokenizer) -> None:  # type: ignore[no-untyped-def]
    text = "A recording of <common>Great Tit</name> (<scientific>Parus major</name>)."
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert names_of_answer(ids, tokenizer) == [("common", "Great Tit"), ("scientific", "Parus major")]
