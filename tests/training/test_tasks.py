"""Answers demanded by evidence, task by task, and the questions made for them."""

from __future__ import annotations

import numpy as np
import pytest

from NatureLM.models.adapters.species_tokens import SpeciesTokensAdapter
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import ClassEvidence, State
from NatureLM.training.tasks import TASK_SHARES, UNHEARD_ANIMALS, UNKNOWN, TaskMaker, caption, with_article

TABLE = SpeciesTable.load()


@pytest.fixture(scope="module")
def maker() -> TaskMaker:
    adapter = NatureLM.from_pretrained("bundled").adapter
    assert isinstance(adapter, SpeciesTokensAdapter)
    return TaskMaker(adapter, TABLE)


def evidence(name: str, state: State) -> ClassEvidence:
    species = TABLE.find(name)
    assert species is not None
    return ClassEvidence(species.class_index, 2.0, 0.88, 0.5, state, mentioned=False)


HEARD = [
    evidence("Great Tit", State.FOCAL),
    evidence("Engine noise", State.SOUND),
    evidence("Spring Peeper", State.PRESENT),
    evidence("Mallard", State.WEAK),
]


@pytest.mark.parametrize(
    ("task", "argument", "answer"),
    [
        ("focal_common", "", "<common>Great Tit</name>"),
        ("focal_both", "", "<common>Great Tit</name> (<scientific>Parus major</name>)"),
        ("focal_genus", "", "<genus>Parus</name>"),
        (
            "focal_taxonomic",
            "",
            "<order>Passeriformes</name> <family>Paridae</name> <scientific>Parus major</name>",
        ),
        ("focal_kind", "", "<kind>bird</name>"),
        ("focal_common_of_kind", "frog", "<common>Spring Peeper</name>"),
        ("focal_common_of_kind", "insect", "None"),
        ("list_common", "", "<common>Great Tit</name>, <common>Spring Peeper</name>"),
        ("list_family", "", "<family>Paridae</name>, <family>Hylidae</name>"),
        ("list_common_of_kind", "bird", "<common>Great Tit</name>"),
        ("which_of", "scientific", "<scientific>Parus major</name>, <scientific>Pseudacris crucifer</name>"),
        ("is_kind", "frog", "Yes"),
        ("is_kind", "mammal", "No"),
        ("is_group", "tit", "Yes"),
        ("is_group", "owl", "No"),
        ("is_species", "Parus major", "Yes"),
        ("is_species", "Anas platyrhynchos", "No"),
        ("is_animal", "", "Yes"),
        ("count_species", "", "2"),
        ("non_animal", "", "<sound>engine noise</name>"),
        ("outside_knowledge", "", UNKNOWN),
        (
            "caption_scientific",
            "",
            "A recording of <scientific>Parus major</name> and <scientific>Pseudacris crucifer</name>, "
            "with <sound>engine noise</name> in the background.",
        ),
    ],
)
def test_answers(maker: TaskMaker, task: str, argument: str, answer: str) -> None:
    assert maker.answer(task, HEARD, argument) == answer


def test_silence_is_none(maker: TaskMaker) -> None:
    for task in ("focal_common", "list_scientific", "which_of", "non_animal", "list_kind"):
        assert maker.answer(task, [], "common") == "None"
    assert maker.answer("count_species", []) == "0"
    assert maker.answer("is_animal", []) == "No"
    assert caption([], []) == "No animal species is heard."
    assert caption([], ["rain"]) == "No animal species is heard, only rain."
    assert caption(["a", "b", "c"], []) == "A recording of a, b and c."


def test_every_task_makes_examples_that_name_only_what_passes(maker: TaskMaker) -> None:
    rng = np.random.default_rng(0)
    for task in TASK_SHARES:
        for _ in range(5):
            logits = rng.normal(-9, 0.1, size=(4, len(TABLE))).astype(np.float32)
            heard = rng.integers(len(TABLE), size=3)
            logits[0, heard] = rng.uniform(-2, 4, size=3)
            example = maker.example(logits, rng, task=task)
            assert example.query == example.query.lower()
            assert "{" not in example.query
            passing = {item.class_index for item in example.context.content.evidence if item.passes}
            assert passing <= set(heard.tolist())
            for species in TABLE:
                if f">{species.common_name}<" in example.answer and species.is_animal:
                    assert species.class_index in passing


def test_option_lists_hold_right_and_wrong_ones(maker: TaskMaker) -> None:
    rng = np.random.default_rng(1)
    great_tit = TABLE.find("Great Tit")
    assert great_tit is not None
    logits = np.full((4, len(TABLE)), -9.0, dtype=np.float32)
    logits[0, great_tit.class_index] = 3.0
    settings = AnswerSettings()
    answers = {maker.example(logits, rng, "which_of", settings).answer for _ in range(40)}
    assert answers == {"None", "<common>Great Tit</name>", "<scientific>Parus major</name>"}


def test_held_out_wordings_are_not_trained(maker: TaskMaker) -> None:
    for splits in maker.wordings.values():
        assert not set(splits["train"]) & set(splits["held_out"])


def test_unheard_animals_are_no_classes() -> None:
    for animals in UNHEARD_ANIMALS.values():
        assert [name for name in animals if TABLE.mentions(name)] == []


def test_articles() -> None:
    assert with_article("owl") == "an owl"
    assert with_article("Great Tit") == "a Great Tit"
