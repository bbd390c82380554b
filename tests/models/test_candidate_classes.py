"""What scores of candidates are, on logits written by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from NatureLM.models.answering import AnswerSettings, Candidates
from NatureLM.models.candidate_classes import CandidateFinder, candidate_scores
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import focal_scores, pooled_logits

FOCAL = "What is the common name for the Focal species in the audio?"
LIST = "What are the common names for the species in the audio, if any?"

MakeWindow = Callable[..., npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def finder(table: SpeciesTable) -> CandidateFinder:
    return CandidateFinder(table)


@pytest.fixture
def scores(finder: CandidateFinder) -> Callable[..., dict[str, float]]:
    """Score these names about one window."""

    def score(
        window: npt.NDArray[np.float32], query: str, *names: str, top_k: int | None = None, **settings: float
    ) -> dict[str, float]:
        classes = finder.classes(Candidates(names, top_k))
        return candidate_scores([pooled_logits(window)], [classes], query, AnswerSettings(**settings))  # type: ignore[arg-type]

    return score


def sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + float(np.exp(-logit)))


def test_lists_score_each_by_its_own_evidence(
    make_window: MakeWindow, scores: Callable[..., dict[str, float]]
) -> None:
    window = make_window(Great_Tit=3.0, Common_Cuckoo=1.0, Mallard=-2.0, Engine_noise=4.0)
    found = scores(window, LIST, "mallard", "Parus major", "comcuc", "Engine")
    assert list(found) == ["Engine", "Parus major", "comcuc", "mallard"], "best first, as written"
    expected = {"Engine": sigmoid(4), "Parus major": sigmoid(3), "comcuc": sigmoid(1), "mallard": sigmoid(-2)}
    assert found == pytest.approx(expected, abs=1e-6)
    alone = {name: scores(window, LIST, name)[name] for name in found}
    assert found == pytest.approx(alone, abs=1e-12)
    assert sum(found.values()) > 1.5


def test_focal_scores_are_shares_of_the_animals_and_none(
    make_window: MakeWindow, scores: Callable[..., dict[str, float]]
) -> None:
    window = make_window(Great_Tit=3.0, Common_Cuckoo=1.0, Engine_noise=6.0)
    found = scores(window, FOCAL, "Common Cuckoo", "Great Tit", "Engine", min_evidence=0.5)
    weights = {"Great Tit": np.exp(3.0), "Common Cuckoo": np.exp(1.0), "None": 1.0}
    total = sum(weights.values())
    assert list(found) == ["Great Tit", "Common Cuckoo", "None"], "sounds are no answer to it"
    assert found == pytest.approx({name: weight / total for name, weight in weights.items()}, abs=1e-9)
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-12)
    # Alone, a candidate has the same odds against None.
    alone = scores(window, FOCAL, "Great Tit", min_evidence=0.5)
    assert alone["Great Tit"] / alone["None"] == pytest.approx(np.exp(3.0), rel=1e-6)


def test_none_wins_where_nothing_reaches_the_floor(
    make_window: MakeWindow, scores: Callable[..., dict[str, float]]
) -> None:
    window = make_window(Great_Tit=-1.5)
    assert next(iter(scores(window, FOCAL, "Great Tit", "Mallard"))) == "None"
    assert next(iter(scores(window, FOCAL, "Great Tit", "Mallard", min_evidence=0.1))) == "Great Tit"
    assert scores(window, FOCAL, "Great Tit", min_evidence=0.0) == {"Great Tit": 1.0, "None": 0.0}
    assert scores(window, FOCAL, "Great Tit", min_evidence=1.0) == {"None": 1.0, "Great Tit": 0.0}
    assert scores(window, FOCAL, "Engine", min_evidence=0.0) == {"None": 1.0}
    assert focal_scores(np.array([500.0, -500.0], np.float32), 0.25)[0].tolist() == [1.0, 0.0]


def test_order_of_the_list_counts_among_equals_only(
    make_window: MakeWindow, scores: Callable[..., dict[str, float]]
) -> None:
    window = make_window(Great_Tit=3.0, Common_Cuckoo=1.0)
    names = ["Mallard", "Common Cuckoo", "Great Tit", "Boreal Owl"]
    found, back = scores(window, FOCAL, *names), scores(window, FOCAL, *names[::-1])
    assert found == pytest.approx(back, abs=1e-12)
    assert list(found) == ["Great Tit", "Common Cuckoo", "None", "Mallard", "Boreal Owl"]
    assert list(back) == ["Great Tit", "Common Cuckoo", "None", "Boreal Owl", "Mallard"]


def test_top_k_keeps_the_best_unchanged(
    table: SpeciesTable, make_window: MakeWindow, scores: Callable[..., dict[str, float]]
) -> None:
    window = make_window(Great_Tit=3.0, Common_Cuckoo=1.0)
    names = [species.common_name for species in table]
    every = scores(window, LIST, *names)
    assert len(every) == 6522
    best = scores(window, LIST, *names, top_k=2)
    assert best == {name: every[name] for name in ("Great Tit", "Common Cuckoo")}
    assert list(scores(window, FOCAL, *names, top_k=1)) == ["Great Tit"]


def test_a_class_is_scored_once_under_its_first_label(
    make_window: MakeWindow, scores: Callable[..., dict[str, float]]
) -> None:
    found = scores(
        make_window(Great_Tit=1.0), LIST, "gretit1", "Great Tit", "Parus major", "Mallard", "unicorn"
    )
    assert list(found) == ["gretit1", "Mallard"]


def test_two_recordings_count_with_the_stronger_evidence(
    finder: CandidateFinder, make_window: MakeWindow
) -> None:
    both = finder.classes(Candidates(("Great Tit", "Mallard")))
    second = finder.classes(Candidates(("Mallard",)))
    windows = [
        pooled_logits(make_window(Great_Tit=2.0, Mallard=-1.0)),
        pooled_logits(make_window(Great_Tit=5.0, Mallard=1.0)),
    ]
    found = candidate_scores(windows, [both, second], "Which are there?", AnswerSettings())
    assert found == pytest.approx({"Great Tit": sigmoid(2.0), "Mallard": sigmoid(1.0)}, abs=1e-6)


def test_unknown_labels_come_with_the_nearest_name(finder: CandidateFinder) -> None:
    # None is no class, but may be in a list: for other models it has to be.
    assert finder.unknown(["Great Tit", "None", "Grate Tit", "mallrad"]) == {
        "Grate Tit": "Great Tit",
        "mallrad": "Mallard",
    }
