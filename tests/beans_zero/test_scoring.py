import pytest

from NatureLM.beans_zero.predictions import Answers
from NatureLM.beans_zero.scoring import score
from NatureLM.errors import NatureLMError


def test_components_come_in_the_benchmarks_order() -> None:
    rows = Answers(["a"], ["a"])
    assert list(score({"zf-indiv": rows, "nope": rows, "esc50": rows}, resamples=0)) == [
        "esc50",
        "zf-indiv",
        "nope",
    ]


def test_what_cannot_be_scored_does_not_stop_the_rest() -> None:
    rows = {
        "gibbons": Answers(["x"], ["None"]),
        "esk50": Answers(["a"], ["a"]),
        "esc50": Answers(["a"], ["a"]),
    }
    found = score(rows, resamples=10)
    assert found["gibbons"].problem == "every true label is None, so there is nothing to detect."
    assert found["esk50"].problem == (
        "'esk50' is not a component of BEANS-Zero; the nearest is 'esc50' (beans info lists all)."
    )
    assert found["esc50"].problem is None
    assert found["esc50"].intervals["Accuracy"] == (1.0, 1.0)


def test_all_labels_of_the_component_or_those_present() -> None:
    rows = {"call-type": Answers(["call"], ["song"])}
    assert score(rows, resamples=0)["call-type"].metrics["Accuracy"] == 1.0  # there is nothing but song
    assert score(rows, labels="component", resamples=0)["call-type"].metrics["Accuracy"] == 0.0


def test_detection_averages_over_all_labels_of_the_component() -> None:
    rows = {"gibbons": Answers(["Gibbon duet"], ["Gibbon duet"])}
    assert score(rows, resamples=0)["gibbons"].metrics["F1"] == 1.0
    assert score(rows, labels="component", resamples=0)["gibbons"].metrics["F1"] == pytest.approx(1 / 3)


def test_true_labels_that_the_component_does_not_have() -> None:
    rows = {"watkins": Answers(["a"], ["Walrus, Killer Whales"]), "dcase": Answers(["a"], ["None"])}
    found = score(rows, labels="component", resamples=0)
    assert found["watkins"].problem == (
        "the true label 'Killer Whales' is none of its 31 labels (the nearest is 'Killer Whale'); "
        "correct it, or score with --labels present."
    )
    assert found["dcase"].problem is None  # None is always a true label of detection


def test_captions_without_spice_name_what_is_skipped() -> None:
    found = score({"captioning": Answers(["a b", "c"], ["a b", "d"])}, resamples=10)["captioning"]
    assert list(found.metrics) == ["CIDEr"]
    reason = "SPICE needs Java and its authors' program; name that with --spice-jar"
    assert found.skipped == {"SPICE": reason, "SPIDEr": reason}
    assert found.problem is None


def test_captions_with_spice() -> None:
    rows = {"captioning": Answers(["a b", "c"], ["a b", "d"])}
    found = score(rows, resamples=10, spice=lambda said, true: [1.0, 0.0])["captioning"]
    assert list(found.metrics) == list(found.intervals) == ["CIDEr", "SPICE", "SPIDEr"]
    assert found.metrics["SPIDEr"] == pytest.approx((found.metrics["CIDEr"] / 10 + 0.5) / 2)
    assert found.skipped == {}


def test_spice_that_fails_is_a_problem_beside_cider() -> None:
    def fail(said: object, true: object) -> list[float]:
        raise NatureLMError("SPICE failed.")

    found = score({"captioning": Answers(["a"], ["a"])}, resamples=0, spice=fail)["captioning"]
    assert (found.problem, list(found.metrics)) == ("SPICE failed.", ["CIDEr"])
