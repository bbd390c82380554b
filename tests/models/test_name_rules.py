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
        evidence("Spring Peeper", State.PRESENT),
        evidence("Mallard", State.WEAK),
        evidence("Engine noise", State.SOUND),
    ],
    TABLE,
)


def test_only_passing_classes_have_names() -> None:
    assert [(item.kind, item.forms.get("common"), item.forms.get("genus")) for item in NAMES] == [
        ("bird", "Great Tit", "Parus"),
        ("bird", "Great Crested Flycatcher", "Myiarchus"),
        ("frog", "Spring Peeper", "Pseudacris"),
        ("sound", None, None),
    ]
    assert NAMES[-1].forms == {"sound": "engine noise"}


def follow(tokenizer, text: str, names=NAMES) -> set[str]:  # type: ignore[no-untyped-def]
    """Tokens that may follow a text, given equal scores for all."""
    rules = NameRules([names], tokenizer)
    ids = tokenizer.encode(text, add_special_tokens=False)
    scores = rules(torch.tensor([ids], dtype=torch.long), torch.zeros(1, len(tokenizer)))
    return set(tokenizer.convert_ids_to_tokens(torch.nonzero(scores[0] == 0).flatten().tolist()))


def first_token(tokenizer, name: str) -> str:  # type: ignore[no-untyped-def]
    return str(tokenizer.tokenize(name)[0])


def test_inside_a_name_only_its_continuations_strongest_first(tokenizer) -> None:  # type: ignore[no-untyped-def]
    assert follow(tokenizer, "<common>") == {"Great", first_token(tokenizer, "Spring Peeper")}
    assert follow(tokenizer, "<common>Great") == {tokenizer.tokenize("Great Tit")[1]}
    assert follow(tokenizer, "<common>Great Tit") == {"</name>"}
    assert follow(tokenizer, "<sound>") == {first_token(tokenizer, "engine noise")}


def test_no_name_comes_twice(tokenizer) -> None:  # type: ignore[no-untyped-def]
    after_first = follow(tokenizer, "<common>Great Tit</name>, <common>Great")
    assert after_first == {tokenizer.tokenize("Great Crested Flycatcher")[1]}
    assert "<order>" in follow(tokenizer, "")
    assert "<order>" in follow(tokenizer, "<order>Passeriformes</name>, ")
    assert "<order>" not in follow(tokenizer, "<order>Passeriformes</name>, <order>Anura</name>, ")


def test_a_name_in_brackets_is_the_same_species(tokenizer) -> None:  # type: ignore[no-untyped-def]
    first = first_token(tokenizer, "Pseudacris crucifer")
    assert follow(tokenizer, "<common>Spring Peeper</name> (<scientific>") == {first}
    ranks = "<order>Anura</name> <family>Hylidae</name> <scientific>"
    assert follow(tokenizer, ranks) == {first}
    assert "<order>" not in follow(tokenizer, "<order>Anura</name> ")


def test_an_enumeration_keeps_its_form(tokenizer) -> None:  # type: ignore[no-untyped-def]
    tags = {"<common>", "<scientific>", "<genus>", "<family>", "<order>", "<kind>", "<sound>"}
    both = "<common>Great Tit</name> (<scientific>Parus major</name>)"
    assert follow(tokenizer, both + ", ") & tags == {"<common>"}
    assert follow(tokenizer, "<genus>Parus</name> and ") & tags == {"<genus>"}
    assert "<sound>" in follow(tokenizer, "<common>Great Tit</name>, with ")


def test_no_answer_begins_after_a_name(tokenizer) -> None:  # type: ignore[no-untyped-def]
    assert {"Yes", "None", "1"} <= follow(tokenizer, "")
    assert not follow(tokenizer, "<common>Great Tit</name>, ") & {"Yes", "None", "1"}
    assert {"Ġwith", "Ġand", "."} <= follow(tokenizer, "<common>Great Tit</name>")


def test_no_comma_where_nothing_is_left(tokenizer) -> None:  # type: ignore[no-untyped-def]
    warblers = [evidence(name, State.PRESENT) for name in ("Blackburnian Warbler", "Bay-breasted Warbler")]
    names = window_names(warblers, TABLE)
    after_genus = follow(tokenizer, "<genus>Setophaga</name>", names)
    assert "<eos>" in after_genus
    assert not after_genus & {",", "Ġand", "Ġwith"}
    assert "," in follow(tokenizer, "<common>Blackburnian Warbler</name>", names)


def test_an_enumeration_is_not_cut_short(tokenizer) -> None:  # type: ignore[no-untyped-def]
    three = [
        *NAMES[:2],
        *window_names([evidence("Blue Jay", State.PRESENT)], TABLE),
        *NAMES[2:],
    ]
    one = "<common>Great Tit</name>"
    two = one + ", <common>Great Crested Flycatcher</name>"
    assert "<eos>" in follow(tokenizer, one, three)
    assert not follow(tokenizer, two, three) & {"<eos>", "."}
    # A question about birds may end without the frog.
    assert {"<eos>", "."} <= follow(tokenizer, two + ", <common>Blue Jay</name>", three)


def test_outside_names_words_are_free_but_for_tags_without_names(tokenizer) -> None:  # type: ignore[no-untyped-def]
    free = follow(tokenizer, "None", names=window_names([], TABLE))
    assert len(free) == len(tokenizer) - len(tokenizer.all_special_ids) + 1
    assert not free & {"<common>", "<scientific>", "<sound>", "</name>", "<pad>"}


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
    strongest = sorted(["Great", first_token(tokenizer, "Spring Peeper")])
    assert [sorted(tokens) for tokens in allowed] == [
        strongest,
        strongest,
        first_of_mallard,
        first_of_mallard,
    ]


def test_names_are_read_back_from_an_answer(tokenizer) -> None:  # type: ignore[no-untyped-def]
    text = "A recording of <common>Great Tit</name> (<scientific>Parus major</name>)."
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert names_of_answer(ids, tokenizer) == [("common", "Great Tit"), ("scientific", "Parus major")]
