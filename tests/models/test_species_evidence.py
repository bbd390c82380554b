"""Which classes of a window the language model is given, on logits written by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from NatureLM.models.answering import AnswerSettings
from NatureLM.models.concepts import Concept, ConceptFinder, ConceptType
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import (
    MAX_ANIMALS,
    MAX_SOUNDS,
    MAX_SPECIES,
    ClassEvidence,
    State,
    choose_classes,
    floor_logit,
    pooled_logits,
    state_of_concept,
)
from NatureLM.models.vocabulary import MAX_SLOTS

Logits = npt.NDArray[np.float32]
MakeWindow = Callable[..., Logits]


class Chooser:
    """Chooses classes for questions in words."""

    def __init__(self, table: SpeciesTable, finder: ConceptFinder) -> None:
        self.table = table
        self.finder = finder

    def __call__(self, logits: Logits, query: str = "", **settings: float) -> list[ClassEvidence]:
        concepts = self.finder.find(query)
        return choose_classes(logits, self.table, concepts, AnswerSettings(**settings))  # type: ignore[arg-type]

    def names(self, logits: Logits, query: str = "", **settings: float) -> list[str]:
        """Return the common names of the classes chosen."""
        return [self.table[item.class_index].common_name for item in self(logits, query, **settings)]

    def state(self, logits: Logits, query: str, **settings: float) -> State:
        """Return what the evidence says of the one thing that a question speaks of."""
        (concept,) = self.finder.find(query)
        chosen = self(logits, query, **settings)
        return state_of_concept(
            concept,
            pooled_logits(logits),
            chosen,
            AnswerSettings(**settings),  # type: ignore[arg-type]
        )


@pytest.fixture(scope="module")
def choose(table: SpeciesTable, finder: ConceptFinder) -> Chooser:
    return Chooser(table, finder)


@pytest.fixture(scope="module")
def twelve_songbirds(table: SpeciesTable) -> dict[str, float]:
    """Peaks of twelve passerines, from 8.0 down to 2.5."""
    birds = [species.common_name for species in table if species.order == "Passeriformes"][::300][:12]
    return {name.replace(" ", "_"): 8.0 - place / 2 for place, name in enumerate(birds)}


def test_floor_is_on_the_sigmoid() -> None:
    assert floor_logit(0.25) == pytest.approx(-1.0986123)
    assert floor_logit(0.5) == 0.0
    assert floor_logit(0.0) == float("-inf")
    assert floor_logit(1.0) == float("inf")


def test_animals_strongest_first_then_sounds(choose: Chooser, make_window: MakeWindow) -> None:
    logits = make_window(Great_Tit=1.5, Common_Cuckoo=3.0, Engine_noise=5.0, Mallard=-2.0)
    assert choose.names(logits) == ["Common Cuckoo", "Great Tit", "engine noise"]
    chosen = choose(logits)
    assert [item.state for item in chosen] == [State.FOCAL, State.PRESENT, State.SOUND]
    assert [item.logit for item in chosen] == [3.0, 1.5, 5.0]
    assert chosen[0].score == pytest.approx(0.952574, abs=1e-6)


def test_evidence_is_the_mean_of_the_two_largest_logits() -> None:
    logits = np.array([[1.0, -2.0], [-5.0, 3.0], [3.0, 0.0]], dtype=np.float32)
    np.testing.assert_array_equal(pooled_logits(logits), [2.0, 1.5])
    np.testing.assert_array_equal(pooled_logits(logits[:2]), [-2.0, 0.5])
    np.testing.assert_array_equal(pooled_logits(logits[:1]), [1.0, -2.0])


def test_share_is_that_of_the_segments_at_or_above_the_floor(
    choose: Chooser, make_window: MakeWindow
) -> None:
    logits = make_window(Great_Tit=2.0, Common_Cuckoo=1.0)
    cuckoo = choose(logits)[1].class_index
    logits[0, cuckoo] = 0.0
    logits[1, cuckoo] = -0.1
    logits[3, cuckoo] = 0.5
    assert [item.share for item in choose(logits, min_evidence=0.5)] == [0.5, 0.75]
    assert [item.share for item in choose(logits, min_evidence=0.25)] == [0.5, 1.0]
    assert [item.share for item in choose(logits, min_evidence=0.0, max_species=1)][:1] == [1.0]


def test_nothing_below_the_floor_is_chosen_even_if_named(choose: Chooser, make_window: MakeWindow) -> None:
    logits = make_window(Great_Tit=2.0, Mallard=-3.0, Boreal_Owl=-1.2)
    assert choose.names(logits, "is there a mallard, an owl or a frog?") == ["Great Tit"]
    assert choose(make_window(), "is there a mallard?") == []
    assert choose(logits, min_evidence=1.0) == []


def test_at_most_max_species(choose: Chooser, make_window: MakeWindow) -> None:
    logits = make_window(Great_Tit=1.0, Common_Cuckoo=2.0, Mallard=3.0, Eurasian_Wren=4.0)
    assert choose.names(logits, max_species=2) == ["Eurasian Wren", "Mallard"]
    assert choose.names(logits, max_species=0) == []


def test_sounds_take_no_animals_place(choose: Chooser, make_window: MakeWindow) -> None:
    logits = make_window(Engine_noise=5.0, Siren=4.5, Gunshots=4.0, Great_Tit=3.0, Mallard=2.0)
    assert choose.names(logits, max_species=1) == ["Great Tit", "engine noise", "siren"]
    assert choose(logits, max_species=1)[0].state is State.FOCAL
    # A sound that the question names gets no place before stronger ones.
    assert choose.names(logits, "any gunshots?", max_species=1) == ["Great Tit", "engine noise", "siren"]


def test_raising_the_floor_only_removes(choose: Chooser, table: SpeciesTable) -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(-4.0, 1.5, size=(4, len(table))).astype(np.float32)
    before = set(choose.names(logits, min_evidence=0.05, max_species=MAX_SPECIES))
    assert len(before) == MAX_SPECIES + MAX_SOUNDS
    for floor in (0.2, 0.4, 0.6, 0.8, 0.95):
        after = set(choose.names(logits, min_evidence=floor, max_species=MAX_SPECIES))
        assert after <= before
        before = after
    assert len(before) < MAX_SPECIES


@pytest.mark.parametrize("query", ["is there a mallard?", "any Anas platyrhynchos?"])
def test_a_named_class_has_a_place_however_low_it_ranks(
    choose: Chooser, make_window: MakeWindow, twelve_songbirds: dict[str, float], query: str
) -> None:
    logits = make_window(**twelve_songbirds, Mallard=0.5)
    assert "Mallard" not in choose.names(logits, max_species=3)
    chosen = choose.names(logits, query, max_species=3)
    assert chosen == [name.replace("_", " ") for name in list(twelve_songbirds)[:3]] + ["Mallard"]
    assert choose(logits, query, max_species=3)[-1].state is State.PRESENT


@pytest.mark.parametrize(
    "query", ["is there an owl?", "any birds of prey?", "is it of the order strigiformes?", "genus aegolius?"]
)
def test_members_of_a_group_have_a_place_however_low_they_rank(
    choose: Chooser, make_window: MakeWindow, twelve_songbirds: dict[str, float], query: str
) -> None:
    logits = make_window(**twelve_songbirds, Boreal_Owl=0.5, Mallard=0.4)
    strongest = [name.replace("_", " ") for name in list(twelve_songbirds)[:3]]
    assert choose.names(logits, query, max_species=3) == [*strongest, "Boreal Owl"]


def test_the_strongest_members_of_a_kind_have_a_place(
    choose: Chooser, make_window: MakeWindow, twelve_songbirds: dict[str, float]
) -> None:
    logits = make_window(**twelve_songbirds, Spring_Peeper=1.0, Wood_Frog=0.5, American_Bullfrog=0.0)
    strongest = [name.replace("_", " ") for name in list(twelve_songbirds)[:2]]
    assert choose.names(logits, "which frogs?", max_species=2) == [*strongest, "Spring Peeper", "Wood Frog"]


def test_options_are_looked_at_with_the_strongest(choose: Chooser, make_window: MakeWindow) -> None:
    logits = make_window(Eurasian_Wren=6.0, Great_Tit=0.4, Mallard=-3.0, Dunlin=0.5)
    chosen = choose(logits, "which of these? great tit, mallard", max_species=1)
    assert [item.state for item in chosen] == [State.FOCAL, State.PRESENT]
    assert choose.names(logits, "which of these? great tit, mallard", max_species=1) == [
        "Eurasian Wren",
        "Great Tit",
    ]


def test_many_options_keep_within_the_slots(
    choose: Chooser, make_window: MakeWindow, table: SpeciesTable
) -> None:
    assert MAX_ANIMALS + MAX_SOUNDS == MAX_SLOTS
    options = [table[index].common_name for index in range(0, 400, 10)]
    assert choose(make_window(), "which of these? " + ", ".join(options)) == []
    peaks = {name.replace(" ", "_"): 3.0 - place / 100 for place, name in enumerate(options)}
    logits = make_window(**peaks, Engine_noise=5.0, Siren=4.0, Gunshots=3.0)
    chosen = choose.names(logits, ", ".join(options))
    assert chosen == [*options[:MAX_ANIMALS], "engine noise", "siren"]


def test_the_focal_species_stays_beside_many_options(
    choose: Chooser, make_window: MakeWindow, table: SpeciesTable
) -> None:
    options = [table[index].common_name for index in range(0, 400, 10)]
    logits = make_window(**{name.replace(" ", "_"): 3.0 for name in options}, Spring_Peeper=6.0)
    chosen = choose(logits, "which of these? " + ", ".join(options))
    assert len(chosen) == MAX_ANIMALS
    assert table[chosen[0].class_index].common_name == "Spring Peeper"
    assert chosen[0].state is State.FOCAL


def test_ties_keep_class_order(choose: Chooser, make_window: MakeWindow) -> None:
    chosen = choose(make_window(Great_Tit=1.0, Mallard=1.0, Common_Cuckoo=1.0))
    assert len(chosen) == 3
    assert [item.class_index for item in chosen] == sorted(item.class_index for item in chosen)


@pytest.mark.parametrize(
    ("query", "state"),
    [
        ("great tit", State.FOCAL),
        ("parus major", State.FOCAL),
        ("paridae", State.FOCAL),
        ("birds", State.FOCAL),
        ("frogs", State.PRESENT),
        ("spring peeper", State.PRESENT),
        ("mallard", State.WEAK),
        ("owls", State.WEAK),
        ("mammals", State.WEAK),
        ("engine", State.SOUND),
        ("gunshots", State.SOUND),
        ("speech", State.WEAK),
    ],
)
def test_what_the_evidence_says_of_a_question(
    choose: Chooser, make_window: MakeWindow, query: str, state: State
) -> None:
    logits = make_window(
        Great_Tit=3.0, Spring_Peeper=1.0, Mallard=-2.0, Engine_noise=5.0, Siren=4.0, Gunshots=3.0
    )
    assert choose.state(logits, query) is state


def test_the_state_follows_the_floor(choose: Chooser, make_window: MakeWindow) -> None:
    logits = make_window(Great_Tit=3.0, Mallard=-2.0)
    assert choose.state(logits, "a mallard?", min_evidence=0.1) is State.PRESENT
    assert choose.state(logits, "a great tit?", min_evidence=0.99) is State.WEAK


def test_a_group_without_members_is_weak(make_window: MakeWindow) -> None:
    nothing = Concept(0, 3, ConceptType.GROUP, ())
    pooled = pooled_logits(make_window(Great_Tit=3.0))
    assert state_of_concept(nothing, pooled, [], AnswerSettings(min_evidence=0.25)) is State.WEAK
