import numpy as np
import pytest

from NatureLM.calibration.logistic import firth, fit_logistic, sigmoid


def penalised(intercept: float, slope: float, values: np.ndarray, right: np.ndarray) -> float:
    """Firth's penalised log-likelihood, as it is written in the paper."""
    chance = 1 / (1 + np.exp(-(intercept + slope * values)))
    design = np.stack([np.ones_like(values), values], axis=1)
    information = design.T @ np.diag(chance * (1 - chance)) @ design
    likelihood = np.where(right, np.log(chance), np.log1p(-chance)).sum()
    return float(likelihood + 0.5 * np.linalg.slogdet(information)[1])


@pytest.mark.parametrize("table", [(7, 3, 2, 8), (10, 0, 3, 5), (6, 0, 0, 6)])
def test_two_values_are_the_closed_form(table: tuple[int, int, int, int]) -> None:
    # With two values of the variable the penalty adds one half to every cell (Heinze & Schemper 2002).
    hit_at_one, miss_at_one, hit_at_zero, miss_at_zero = table
    values = np.repeat([1.0, 1.0, 0.0, 0.0], table)
    right = np.repeat([True, False, True, False], table)
    (intercept,), (slope,) = firth(values, right)
    assert intercept == pytest.approx(np.log((hit_at_zero + 0.5) / (miss_at_zero + 0.5)), abs=1e-9)
    odds = (hit_at_one + 0.5) * (miss_at_zero + 0.5) / ((miss_at_one + 0.5) * (hit_at_zero + 0.5))
    assert slope == pytest.approx(np.log(odds), abs=1e-9)


def test_fit_is_the_maximum_of_the_penalised_likelihood() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(1.0, 2.0, 80)
    right = rng.random(80) < sigmoid(-0.5 + 0.9 * values)
    (intercept,), (slope,) = firth(values, right)
    best = penalised(intercept, slope, values, right)
    grid = [
        penalised(intercept + a, slope + b, values, right)
        for a in np.linspace(-0.5, 0.5, 41)
        for b in np.linspace(-0.5, 0.5, 41)
    ]
    assert best == pytest.approx(max(grid), abs=1e-12)
    for shift in [(1e-4, 0), (-1e-4, 0), (0, 1e-4), (0, -1e-4)]:
        assert penalised(intercept + shift[0], slope + shift[1], values, right) < best


def test_fit_is_what_scipy_finds() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(4)
    values = rng.normal(3.0, 1.5, 60)
    right = rng.random(60) < sigmoid(-2.0 + 0.8 * values)
    (intercept,), (slope,) = firth(values, right)
    found = optimize.minimize(
        lambda place: -penalised(*place, values, right), [0.0, 0.0], method="Nelder-Mead",
        options={"xatol": 1e-10, "fatol": 1e-13, "maxiter": 10_000},
    )  # fmt: skip
    assert [intercept, slope] == pytest.approx(found.x, abs=1e-6)
    (corrected,), (same_slope,) = fit_logistic(values, right)
    assert same_slope == slope
    root = optimize.brentq(lambda a: sigmoid(a + slope * values).sum() - right.sum(), -50, 50, xtol=1e-13)
    assert corrected == pytest.approx(root, abs=1e-9)


def test_mean_probability_is_the_share_that_is_right() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(0, 2, 200)
    right = rng.random(200) < sigmoid(2.5 + values)
    (intercept,), (slope,) = fit_logistic(values, right)
    assert sigmoid(intercept + slope * values).mean() == pytest.approx(right.mean(), abs=1e-9)
    plain, _ = firth(values, right)
    assert sigmoid(plain[0] + slope * values).mean() < right.mean()  # towards one half


def test_perfectly_separated_reviews_have_a_finite_fit() -> None:
    values = np.concatenate([np.linspace(-3, -1, 12), np.linspace(1, 3, 12)])
    right = values > 0
    (intercept,), (slope,) = fit_logistic(values, right)
    assert intercept == pytest.approx(0.0, abs=1e-9)
    assert 1.0 < slope < 5.0
    assert sigmoid(np.array(slope * 3.0)) < 1.0


def test_many_weightings_are_fitted_as_one_by_one() -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(0, 2, 30)
    right = rng.random(30) < sigmoid(values)
    weights = rng.multinomial(30, [1 / 30] * 30, size=20)
    intercepts, slopes = fit_logistic(values, right, weights)
    for intercept, slope, counts in zip(intercepts, slopes, weights, strict=True):
        repeated = np.repeat(values, counts), np.repeat(right, counts)
        alone = fit_logistic(*repeated)
        assert [intercept, slope] == pytest.approx([alone[0][0], alone[1][0]], abs=1e-7)


def test_one_verdict_only_is_finite_and_one_value_only_is_unknown() -> None:
    (intercept,), (slope,) = fit_logistic([0.0, 1.0, 2.0], [True, True, True])
    assert np.isfinite(intercept) and np.isfinite(slope)
    (intercept,), (slope,) = fit_logistic([1.0, 1.0, 1.0], [True, False, True])
    assert np.isnan(intercept) and np.isnan(slope)


def test_scale_of_the_variable_does_not_matter() -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(0, 1, 50)
    right = rng.random(50) < sigmoid(values)
    (intercept,), (slope,) = fit_logistic(values, right)
    (shifted,), (scaled,) = fit_logistic(1000.0 + 100.0 * values, right)
    assert scaled * 100.0 == pytest.approx(slope, rel=1e-7)
    assert shifted + scaled * 1000.0 == pytest.approx(intercept, rel=1e-6)
