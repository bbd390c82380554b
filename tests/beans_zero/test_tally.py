import numpy as np
import pytest

from NatureLM.beans_zero import tally as module
from NatureLM.beans_zero.metrics import classification, detection
from NatureLM.beans_zero.tally import Tally


def half_right(rows: int) -> Tally:
    return classification(["a", "b"] * (rows // 2), ["a"] * rows)


def test_the_interval_is_the_binomial_one() -> None:
    low, high = half_right(400).intervals("esc50")["Accuracy"]
    width = 1.96 * np.sqrt(0.25 / 400)
    assert (low, high) == pytest.approx((0.5 - width, 0.5 + width), abs=0.01)


def test_a_resample_is_what_the_metrics_of_those_rows_are() -> None:
    rng = np.random.default_rng(3)
    said, true = (np.array(list("abc"))[rng.integers(0, 3, 60)] for _ in range(2))
    for make in (
        lambda rows: classification(list(said[rows]), list(true[rows])),
        lambda rows: detection(list(said[rows]), list(true[rows]))[0],
    ):
        whole = make(np.arange(60))
        rows = rng.integers(0, 60, 60)
        counts = np.bincount(whole.kinds[rows], minlength=whole.kinds.max() + 1)[None].astype(float)
        resampled = {name: values[0] for name, values in whole.measure(whole._sums(counts), 60).items()}
        assert resampled == pytest.approx(make(rows).metrics())


def test_intervals_depend_on_seed_and_component_only(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = half_right(2000)
    first = tally.intervals("esc50")
    monkeypatch.setattr(module, "_BLOCK", 300)
    assert tally.intervals("esc50") == first
    assert tally.intervals("esc50", seed=1) != first
    assert tally.intervals("cbi") != first


def test_resamples_without_any_label_are_left_out() -> None:
    tally, _ = detection(["a", "None"], ["a", "None"])
    assert tally.intervals("gibbons") == dict.fromkeys(("F1", "Recall", "Precision"), (1.0, 1.0))
