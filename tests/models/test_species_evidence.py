"""Which classes of a window the language model is given, on logits written by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from NatureLM.models.answering import AnswerSettings
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import (
    MAX_SPECIES,
    MAX_WEAK_SLOTS,
    ClassEvidence,
    State,
    choose_classes,
    floor_logit,
)

TABLE = SpeciesTable.load()


def index_of(name: str) -> int:
    species = TABLE.find(name)
    assert species is not None
    return species.class_index


def window(**peaks: float) -> npt.NDArray[np.float32]:
    """Logits of four segments: -9 but for the named classes, which peak in the second segment."""
    logits = np.full((4, len(TABLE)), -9.0, dtype=np.float32)
    for name, peak in peaks.items():
        logits[1, index_of(name.replace("_", " "))] = peak
    return logits


def choose(logits: npt.NDArray[np.float32], query: str = "", **settings: float) -> list[ClassEvidence]:
    return choose_classes(logits, TABLE, TABLE.mentions(query), AnswerSettings(**settings))  # type: ignore[arg-type]


def names(evidence: list[ClassEvidence]) -> list[str]:
    return [TABLE[item.class_index].common_name for item in evidence]


def test_floor_is_on_the_sigmoid() -> None:
    assert floor_logit(0.25) == pytest.approx(-1.0986123)
    assert floor_logit(0.5) == 0.0
    assert floor_logit(0.0) == float("-inf")
    assert floor_logit(1.0) == float("inf")


def test_strongest_first_with_scores_and_states() -> None:
    chosen = choose(window(Great_Tit=1.5, Common_Cuckoo=3.0, Engine_noise=5.0, Mallard=-2.0))
    assert names(chosen) == ["engine noise", "Common Cuckoo", "Great Tit"]
    assert [item.state for item in chosen] == [State.SOUND, State.FOCAL, State.PRESENT]
    assert chosen[1].score == pytest.approx(0.952574, abs=1e-6)
    assert chosen[1].share == 0.25
    assert not any(item.mentioned for item in chosen)


def test_at_most_max_species() -> None:
    peaks = {"Great_Tit": 1.0, "Common_Cuckoo": 2.0, "Mallard": 3.0, "Eurasian_Wren": 4.0}
    assert names(choose(window(**peaks), max_species=2)) == ["Eurasian Wren", "Mallard"]


def test_sounds_take_no_animals_place() -> None:
    logits = window(Engine_noise=5.0, Siren=4.5, Gunshots=4.0, Great_Tit=3.0, Mallard=2.0)
    chosen = choose(logits, max_species=1)
    assert names(chosen) == ["engine noise", "siren", "Great Tit"]
    assert chosen[-1].state is State.FOCAL


def test_raising_the_floor_only_removes() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(-4.0, 1.5, size=(4, len(TABLE))).astype(np.float32)
    before = set(names(choose(logits, min_evidence=0.05, max_species=MAX_SPECIES)))
    for floor in (0.2, 0.4, 0.6, 0.8, 0.95):
        after = set(names(choose(logits, min_evidence=floor, max_species=MAX_SPECIES)))
        assert after <= before
        before = after


def test_a_named_class_below_the_floor_is_described_as_weak() -> None:
    chosen = choose(window(Great_Tit=2.0, Mallard=-3.0), query="is there a mallard?")
    assert names(chosen) == ["Great Tit", "Mallard"]
    assert [(item.state, item.mentioned) for item in chosen] == [(State.FOCAL, False), (State.WEAK, True)]


def test_a_named_class_that_ranks_low_is_found() -> None:
    strong = {TABLE[index].common_name.replace(" ", "_"): 5.0 for index in range(0, 200, 20)}
    chosen = choose(window(**strong, Mallard=0.5), query="is there a mallard?", max_species=3)
    assert names(chosen)[-1] == "Mallard"
    assert chosen[-1].state is State.PRESENT


def test_options_restrict_the_choice_before_it_is_made() -> None:
    logits = window(Eurasian_Wren=6.0, Great_Tit=0.4, Mallard=-3.0)
    chosen = choose(logits, query="which of these? great tit, mallard", max_species=1)
    assert names(chosen) == ["Great Tit", "Mallard"]
    assert [item.state for item in chosen] == [State.FOCAL, State.WEAK]


def test_many_options_keep_within_the_slots() -> None:
    options = [TABLE[index].common_name for index in range(0, 400, 10)]
    chosen = choose(window(), query="which of these? " + ", ".join(options))
    assert len(chosen) == MAX_WEAK_SLOTS
    present = choose(window(**{name.replace(" ", "_"): 3.0 for name in options}), query=", ".join(options))
    assert len(present) == MAX_SPECIES


def test_ties_keep_class_order() -> None:
    chosen = choose(window(Great_Tit=1.0, Mallard=1.0))
    assert [item.class_index for item in chosen] == sorted(item.class_index for item in chosen)
