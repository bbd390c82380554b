"""Answers of the bundled model that are restricted to candidates, and answers that are withheld."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch

from NatureLM.models.adapters.window_qformer import WindowQFormerAdapter
from NatureLM.models.answering import AnswerSettings, Candidates, ModelAnswer, Turn
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.species import SpeciesTable

FOCAL = "What is the common name for the focal species in the audio?"
LIST = "What are the common names for the species in the audio, if any?"

MakeWindow = Callable[..., npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def model() -> NatureLM:
    return NatureLM.from_pretrained("bundled")


@pytest.fixture(scope="module")
def crowd(table: SpeciesTable) -> torch.Tensor:
    """Thirty frogs and birds, one after another at falling evidence above the floor; the others at -9."""
    logits = np.full((4, len(table)), -9.0, dtype=np.float32)
    for place, index in enumerate(crowded(table)):
        logits[1:3, index] = 4.0 - place / 8
    return torch.from_numpy(logits)


def crowded(table: SpeciesTable) -> list[int]:
    frogs = [species.class_index for species in table if species.kind == "frog"][:15]
    birds = [species.class_index for species in table if species.kind == "bird"][100:1600:100]
    return [index for pair in zip(frogs, birds, strict=True) for index in pair]


def ask(
    model: NatureLM,
    features: torch.Tensor | list[torch.Tensor],
    query: str,
    names: Sequence[str] | None = None,
    *turns: Turn,
    top_k: int | None = None,
    **settings: float,
) -> ModelAnswer:
    count = len(features) if isinstance(features, list) else 1
    candidates = None if names is None else [[Candidates(tuple(names), top_k)] * count]
    (answer,) = model.answer([features], [query], AnswerSettings(**settings), [turns], candidates)  # type: ignore[arg-type]
    return answer


def test_a_species_ranked_twentieth_is_found_when_listed(
    model: NatureLM, table: SpeciesTable, crowd: torch.Tensor
) -> None:
    twentieth = table[crowded(table)[19]].common_name
    assert twentieth not in ask(model, crowd, LIST).text
    assert twentieth not in ask(model, crowd, LIST, max_species=10).text
    for settings in ({}, {"num_beams": 3}, {"temperature": 1.5, "seed": 4}):
        answer = ask(model, crowd, FOCAL, [twentieth, "Great Tit"], **settings)
        assert answer.text == twentieth
        assert list(answer.scores or {}) == [twentieth, "None", "Great Tit"]
        assert [found.common_name for found in answer.detections] == [twentieth]
        score = 1 / (1 + math.exp(-(4.0 - 19 / 8)))
        assert answer.detections[0].score == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("settings", [{}, {"num_beams": 2}, {"temperature": 2.0, "seed": 1}])
@pytest.mark.parametrize("query", [LIST, FOCAL, "Caption the audio", "Which frogs are there?", "Kohlmeise?"])
def test_answers_name_nothing_beside_the_list(
    model: NatureLM, table: SpeciesTable, crowd: torch.Tensor, query: str, settings: dict[str, float]
) -> None:
    named = crowded(table)[3::7]
    names = [table[index].scientific_name for index in named]
    answer = ask(model, crowd, query, names, **settings)
    assert {mention.class_index for mention in table.mentions(answer.text)} <= set(named)
    assert {found.scientific_name for found in answer.detections} <= set(names)
    assert set(answer.scores or {}) - {"None"} == set(names)


def test_lists_of_one_of_264_and_of_all(model: NatureLM, table: SpeciesTable, crowd: torch.Tensor) -> None:
    free = ask(model, crowd, LIST)
    every = ask(model, crowd, LIST, [species.common_name for species in table])
    assert (every.text, every.mean_logprob) == (free.text, pytest.approx(free.mean_logprob, abs=1e-6))
    assert len(every.scores or {}) == 6522
    assert ask(model, crowd, LIST, [s.common_name for s in table], top_k=3).scores == {
        name: (every.scores or {})[name] for name in list(every.scores or {})[:3]
    }
    species = [table[index].common_name for index in range(0, 6522, 24)][:264]
    some = ask(model, crowd, LIST, species)
    assert len(some.scores or {}) == 264 and set(some.scores or {}) == set(species)
    one = table[crowded(table)[5]].common_name
    assert ask(model, crowd, LIST, [one]).text == one
    for name in (one, species[0]):
        own = ask(model, crowd, LIST, [name]).scores or {}
        assert own[name] == pytest.approx((every.scores or {})[name], abs=1e-9)


def test_nothing_listed_is_heard(model: NatureLM, crowd: torch.Tensor) -> None:
    for floor in (0.25, 0.0001):
        answer = ask(model, crowd, FOCAL, ["Great Tit"], min_evidence=floor)
        assert answer.text == ("None" if floor > 0.001 else "Great Tit")
    # At a floor of 0 all that is listed may be named, and nothing else.
    answer = ask(model, crowd, LIST, ["Great Tit", "Coal Tit"], min_evidence=0.0)
    assert set(answer.text.split(", ")) == {"Great Tit", "Coal Tit"}


def test_a_question_about_what_is_not_listed_is_answered_no(model: NatureLM, make_window: MakeWindow) -> None:
    window = torch.from_numpy(make_window(Great_Tit=3.0, Common_Cuckoo=2.0))
    question = "Is there a Great Tit in the audio? Answer Yes or No."
    assert ask(model, window, question).text == "Yes"
    for floor in (0.25, 0.0):
        assert ask(model, window, question, ["Common Cuckoo"], min_evidence=floor).text == "No"


def test_answers_and_scores_do_not_depend_on_batch_or_order(
    model: NatureLM, table: SpeciesTable, crowd: torch.Tensor, make_window: MakeWindow
) -> None:
    tit = torch.from_numpy(make_window(Great_Tit=3.0, Common_Cuckoo=1.0))
    lists = [
        Candidates(("Great Tit", "Mallard")),
        Candidates(tuple(table[index].common_name for index in crowded(table)[10:14])),
        Candidates(("Mallard", "Common Cuckoo", "Great Tit")),
    ]
    windows, queries = [tit, crowd, tit], [FOCAL, LIST, LIST]
    together = model.answer(windows, queries, candidates=lists)
    back = model.answer(windows[::-1], queries[::-1], candidates=lists[::-1])[::-1]
    alone = [
        model.answer([window], [query], candidates=[named])[0]
        for window, query, named in zip(windows, queries, lists, strict=True)
    ]
    assert together[0].text == "Great Tit" and together[2].text == "Great Tit, Common Cuckoo"
    for others in (back, alone):
        for one, other in zip(together, others, strict=True):
            assert one.text == other.text
            assert one.scores == other.scores
            assert one.confidence == pytest.approx(other.confidence, abs=1e-4)
    turned = model.answer([tit], [LIST], candidates=[Candidates(lists[2].labels[::-1])])[0]
    assert turned.text == together[2].text and turned.scores == together[2].scores


def test_scores_fall(model: NatureLM, table: SpeciesTable, crowd: torch.Tensor) -> None:
    scores = ask(model, crowd, LIST, [table[index].common_name for index in crowded(table)]).scores or {}
    assert list(scores) == [table[index].common_name for index in crowded(table)]
    assert all(first > second for first, second in pairwise(scores.values()))


def test_candidates_hold_for_every_turn_and_both_recordings(model: NatureLM, make_window: MakeWindow) -> None:
    first = torch.from_numpy(make_window(Great_Tit=3.0, Common_Cuckoo=1.0, Mallard=2.0))
    second = torch.from_numpy(make_window(Spring_Peeper=3.0, Common_Cuckoo=2.0))
    names = ["Great Tit", "Common Cuckoo"]
    asked = Turn(FOCAL, "Great Tit")
    assert ask(model, first, "Which other species are there?", None, asked).text == "Mallard, Common Cuckoo"
    answer = ask(model, first, "Which other species are there?", names, asked)
    assert answer.text == "Common Cuckoo"
    both = ask(model, [first, second], "Which species are in both recordings?", names)
    assert both.text == "Common Cuckoo"
    assert both.scores == pytest.approx(
        {"Great Tit": 1 / (1 + math.exp(-3)), "Common Cuckoo": 1 / (1 + math.exp(-2))}, abs=1e-6
    )


def test_unsure_answers_are_withheld(model: NatureLM, make_window: MakeWindow) -> None:
    window = torch.from_numpy(make_window(Great_Tit=3.0, Common_Cuckoo=1.0))
    free = ask(model, window, FOCAL)
    assert free.withheld is None and free.confidence == pytest.approx(math.exp(free.mean_logprob))
    kept = ask(model, window, FOCAL, min_confidence=free.confidence - 1e-4)
    assert kept == free
    withheld = ask(model, window, FOCAL, ["Great Tit"], min_confidence=1.0)
    assert (withheld.text, withheld.withheld, withheld.detections) == ("None", "Great Tit", [])
    assert withheld.confidence < 1.0 and (withheld.scores or {})["Great Tit"] > 0.9


def test_models_that_spell_names_know_all() -> None:
    adapter = WindowQFormerAdapter(8, 8, hidden_size=24, intermediate_size=16)
    assert adapter.unknown_labels(["Great Tit", "Grate Tit"]) == {}
