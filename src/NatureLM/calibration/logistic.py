"""Logistic regression on one variable that holds up on few, rare and perfectly separated reviews.

The slope is that of Firth's penalised likelihood (Jeffreys' prior): finite where maximum likelihood diverges,
and less biased with few reviews (Firth 1993, Biometrika 80:27-38; Heinze & Schemper 2002, Statistics in
Medicine 21:2409-2419). The penalty draws probabilities towards one half; the intercept is therefore fitted
anew by maximum likelihood, after which the mean probability is the share of what is right ("FLIC", Puhr et
al. 2017, Statistics in Medicine 36:2302-2317).

Many weightings of the same reviews are fitted at once, for the bootstrap. Everything is float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

MOST_STEPS = 100
LONGEST_STEP = 5.0
"""In units of the standardised variable; logistf's bound, too."""
ENOUGH = 1e-9
"""Steps below this end the search."""


def fit_logistic(
    values: npt.ArrayLike, right: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[Array, Array]:
    """Fit P(right) = sigmoid(intercept + slope * value), intercept corrected.

    Parameters
    ----------
    values : [reviews]
    right : bool [reviews]
    weights : [fits, reviews], optional
        How often each review counts in each fit; once in one fit unless given.

    Returns
    -------
    intercept, slope : float64 [fits]
        NaN where the reviews that count all have one value: no slope can be told from them. Where all are
        right, or all wrong, the intercept is the penalised one, which is finite.
    """
    values, right, counts = _arrays(values, right, weights)
    intercept, slope = firth(values, right, counts)
    total, hits = counts.sum(1), counts @ right
    mixed = (hits > 0) & (hits < total) & np.isfinite(slope)
    if mixed.any():
        intercept[mixed] = _intercept(slope[mixed, None] * values, counts[mixed], hits[mixed])
    return intercept, slope


def firth(
    values: npt.ArrayLike, right: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> tuple[Array, Array]:
    """Maximise Firth's penalised likelihood; parameters and results are those of :func:`fit_logistic`.

    Newton's method on Firth's modified score, in the standardised variable (the penalty does not depend on
    its scale), with steps halved until the penalised likelihood grows.
    """
    values, right, counts = _arrays(values, right, weights)
    total = counts.sum(1)
    centre = counts @ values / total
    spread = np.sqrt(np.maximum(counts @ values**2 / total - centre**2, 0.0))
    told = spread > 1e-9 * np.maximum(1.0, np.abs(centre))
    intercept, slope = np.full(len(counts), np.nan), np.full(len(counts), np.nan)
    if told.any():
        standardised = (values - centre[told, None]) / spread[told, None]
        a, b = _maximise(standardised, right, counts[told])
        slope[told] = b / spread[told]
        intercept[told] = a - slope[told] * centre[told]
    return intercept, slope


def sigmoid(logits: npt.NDArray[Any]) -> Array:
    """Return 1 / (1 + exp(-logits)), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))


def _arrays(
    values: npt.ArrayLike, right: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[Array, Array, Array]:
    given = np.asarray(values, dtype=np.float64)
    counts = np.ones((1, len(given))) if weights is None else np.asarray(weights, dtype=np.float64)
    return given, np.asarray(right, dtype=np.float64), counts


def _maximise(x: Array, right: Array, counts: Array) -> tuple[Array, Array]:
    """Return the penalised estimates for ``x`` [fits, reviews]."""
    place = np.zeros((2, len(x)))
    height, score, information = _penalised(place, x, right, counts)
    moving = np.ones(len(x), dtype=bool)
    for _ in range(MOST_STEPS):
        step = _solve(information, score)
        step *= np.minimum(1.0, LONGEST_STEP / np.maximum(np.abs(step).max(0), 1e-300))
        step[:, ~moving] = 0.0
        for _ in range(30):
            there, its_score, its_information = _penalised(place + step, x, right, counts)
            lower = there < height - 1e-12 * np.abs(height)
            if not lower.any():
                break
            step[:, lower] /= 2.0
        place, height, score, information = place + step, there, its_score, its_information
        moving &= np.abs(step).max(0) > ENOUGH
        if not moving.any():
            break
    return place[0], place[1]


def _penalised(place: Array, x: Array, right: Array, counts: Array) -> tuple[Array, Array, Array]:
    """Return log-likelihood with its penalty, Firth's score [2, fits] and the information [3, fits]."""
    logits = place[0][:, None] + place[1][:, None] * x
    chance = sigmoid(logits)
    variance = chance * (1.0 - chance)
    weighted = counts * variance
    ones, cross, square = weighted.sum(1), (weighted * x).sum(1), (weighted * x * x).sum(1)
    determinant = np.maximum(ones * square - cross**2, 1e-300)
    inverse = np.stack([square, -cross, ones]) / determinant
    leverage = variance * (inverse[0][:, None] + 2 * inverse[1][:, None] * x + inverse[2][:, None] * x * x)
    residual = counts * (right - chance + leverage * (0.5 - chance))
    likelihood = (counts * (right * logits - np.logaddexp(0.0, logits))).sum(1)
    return (
        likelihood + 0.5 * np.log(determinant),
        np.stack([residual.sum(1), (residual * x).sum(1)]),
        np.stack([ones, cross, square]),
    )


def _solve(information: Array, score: Array) -> Array:
    """Return information^-1 score, two by two for each fit."""
    ones, cross, square = information
    determinant = np.maximum(ones * square - cross**2, 1e-300)
    return np.stack([square * score[0] - cross * score[1], ones * score[1] - cross * score[0]]) / determinant


def _intercept(offsets: Array, counts: Array, hits: Array) -> Array:
    """Return the intercept at which the expected number of what is right is the observed one.

    The expectation grows with the intercept, so bisection is certain to find it.
    """
    low, high = -offsets.max(1) - 40.0, -offsets.min(1) + 40.0
    for _ in range(80):
        middle = (low + high) / 2
        expected = (counts * sigmoid(middle[:, None] + offsets)).sum(1)
        low, high = np.where(expected < hits, middle, low), np.where(expected < hits, high, middle)
    return (low + high) / 2
