"""From reviewed detections to a calibration: fits per species and pooled, thresholds, bootstrap intervals.

The model is Wood and Kahl's (2024, *Guidelines for appropriate use of BirdNET scores and other detector
outputs*, Journal of Ornithology 165:777-782): a logistic regression of the verdict on the logit of the score.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from NatureLM import __version__
from NatureLM.calibration.file import Calibration, Fit, SpeciesCalibration, Threshold, logit
from NatureLM.calibration.logistic import Array, fit_logistic
from NatureLM.calibration.matching import Matched, match
from NatureLM.calibration.reviews import read_reviews
from NatureLM.calibration.scores import Scored, read_scores
from NatureLM.errors import ConfigError

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

PROBABILITIES = (0.9, 0.95, 0.99)

MIN_REVIEWS = 10
"""Right and wrong detections, each, that a fit needs: ten events of the rarer kind per variable, of which
there is one (Peduzzi et al. 1996, Journal of Clinical Epidemiology 49:1373-1379)."""

RECORDINGS_TO_RESAMPLE = 20
"""From so many recordings on the bootstrap draws recordings, not reviews: what is heard in one recording is
alike, and a bootstrap of few groups is too narrow (Field & Welsh 2007, JRSS B 69:369-390)."""

CONFIDENCE = 0.95
RESAMPLES_AT_ONCE = 2_000_000
"""Reviews times resamples that are fitted together: some 16 MB for each of a dozen arrays."""


@dataclass(frozen=True)
class Calibrated:
    """A new calibration with what it was made of.

    Attributes
    ----------
    calibration : Calibration
    matched : Matched
        The reviews that count, and how many do not.
    """

    calibration: Calibration
    matched: Matched


def calibrate(
    reviewed: Paths,
    scores: str | os.PathLike[str],
    *,
    min_reviews: int = MIN_REVIEWS,
    resamples: int = 1000,
    seed: int = 0,
) -> Calibrated:
    """Fit the probability that a detection is right, from detections that somebody verified.

    Parameters
    ----------
    reviewed : path or sequence of paths
        Tables (CSV, TSV, Raven selection tables) with the recording, start, end and species of detections and
        a verdict, or folders of such tables.
    scores : path
        Results of the run that made the detections: jsonl, csv or parquet.
    min_reviews : int
        Right and wrong reviews, each, that a species needs for a fit of its own, and all of them together.
    resamples : int
        Of the bootstrap; 0 leaves the intervals out.
    seed : int
        Of the bootstrap.

    Raises
    ------
    ConfigError
        A file is not what it should be, no review is about a detection of the run, or there are too few
        that are right, or wrong.

    Examples
    --------
    >>> made = calibrate("reviewed.csv", "june.jsonl")  # doctest: +SKIP
    >>> made.calibration.write("june.calibration.json")  # doctest: +SKIP
    """
    paths = [Path(path) for path in ([reviewed] if isinstance(reviewed, (str, os.PathLike)) else reviewed)]
    run = read_scores(Path(scores))
    reviews = read_reviews(paths)
    matched = match(reviews, run)
    _check_enough(matched, min_reviews)
    model = run.run.get("model") or {}
    calibration = Calibration(
        model=run.model,
        model_fingerprint=model.get("fingerprint"),
        window_length_seconds=run.run.get("window_length_seconds"),
        time_expansion=run.run.get("time_expansion"),
        pooled=_fitted(matched.detections, matched.right, resamples, seed),
        species=tuple(_by_species(matched, min_reviews, resamples, seed)),
        made_of={
            "version": __version__,
            "reviewed": [str(path) for path in paths],
            "scores": str(scores),
            "reviews": len(reviews),
            "matched": len(matched.detections),
            "not_counted": dict(matched.unmatched),
            "min_reviews": min_reviews,
            "resamples": resamples,
            "seed": seed,
        },
    )
    return Calibrated(calibration, matched)


def _check_enough(matched: Matched, min_reviews: int) -> None:
    if not matched.detections:
        reasons = "; ".join(
            f"{count} {reason} (first: {matched.examples[reason]})"
            for reason, count in matched.unmatched.items()
        )
        raise ConfigError(
            f"no review is about a detection of the run: {reasons or 'the tables are empty'}; check that the "
            "recordings, times and species are those of --scores."
        )
    right = sum(matched.right)
    wrong = len(matched.right) - right
    if min(right, wrong) < min_reviews:
        raise ConfigError(
            f"calibrating needs at least {min_reviews} reviews that are right and {min_reviews} that are "
            f"wrong, but {right} are right and {wrong} wrong; review more, at scores where both are found."
        )
    if len({each.score for each in matched.detections}) == 1:
        raise ConfigError(
            "every reviewed detection has the same score, so nothing can be told of others; review "
            "detections over the whole range of scores."
        )


def _by_species(matched: Matched, min_reviews: int, resamples: int, seed: int) -> list[SpeciesCalibration]:
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, detection in enumerate(matched.detections):
        rows[detection.common_name, detection.scientific_name].append(row)
    result = []
    for (common, scientific), here in sorted(rows.items()):
        detections, right = [matched.detections[row] for row in here], [matched.right[row] for row in here]
        hits = sum(right)
        fit, why = None, None
        if min(hits, len(right) - hits) < min_reviews:
            why = f"fewer than {min_reviews} reviews are right, or wrong"
        elif len({each.score for each in detections}) == 1:
            why = "all reviews have one score"
        else:
            fit = _fitted(detections, right, resamples, seed)
            if fit.slope <= 0:
                fit, why = None, "higher scores are not more often right"
        result.append(SpeciesCalibration(common, scientific, len(right), hits, fit, why))
    return result


def _fitted(detections: Sequence[Scored], verdicts: Sequence[bool], resamples: int, seed: int) -> Fit:
    scores = np.array([each.score for each in detections])
    logits = np.array([logit(each.score) for each in detections])
    right = np.array(verdicts, dtype=bool)
    _, groups = np.unique([each.audio_path for each in detections], return_inverse=True)
    (intercept,), (slope,) = fit_logistic(logits, right)
    recordings = int(groups.max()) + 1
    places = _places(np.array([intercept]), np.array([slope]))[0]
    ends = _intervals(logits, right, groups, resamples, seed)
    thresholds = []
    for number, probability in enumerate(PROBABILITIES):
        place = float(places[number])
        reached = place < math.inf
        score = _score(place)
        above = logits >= place
        thresholds.append(
            Threshold(
                probability=probability,
                score=score,
                interval=None if ends is None else (_score(ends[0][number]), _score(ends[1][number])),
                extrapolated=reached and not logits.min() <= place <= logits.max(),
                reviews=int(above.sum()),
                right=int(right[above].sum()),
            )
        )
    return Fit(
        intercept=float(intercept),
        slope=float(slope),
        reviews=len(right),
        right=int(right.sum()),
        recordings=recordings,
        lowest_score=float(scores.min()),
        highest_score=float(scores.max()),
        thresholds=tuple(thresholds),
    )


def _places(intercept: Array, slope: Array) -> Array:
    """Return the logits at which the probabilities are reached [fits, probabilities]; infinite for never."""
    wanted = np.array([math.log(each / (1 - each)) for each in PROBABILITIES])
    with np.errstate(divide="ignore", invalid="ignore"):
        places = (wanted - intercept[:, None]) / slope[:, None]
    return np.where(slope[:, None] > 0, places, np.inf)


def _score(place: float) -> float | None:
    """Return the score of a logit, rounded up to the decimals of results; None where it is never reached."""
    if place == math.inf:
        return None
    exact = 1.0 / (1.0 + math.exp(-max(min(place, 700.0), -700.0)))
    up = math.ceil(exact * 1e6) / 1e6
    return up if up < 1.0 else None


def _intervals(
    logits: Array, right: npt.NDArray[np.bool_], groups: npt.NDArray[np.intp], resamples: int, seed: int
) -> tuple[Array, Array] | None:
    """Return the ends of the percentile bootstrap's intervals of the thresholds, as logits."""
    if not resamples:
        return None
    recordings = int(groups.max()) + 1
    of_recordings = recordings >= RECORDINGS_TO_RESAMPLE
    units = recordings if of_recordings else len(logits)
    rng = np.random.default_rng(seed)
    places = []
    at_once = max(1, RESAMPLES_AT_ONCE // len(logits))
    for first in range(0, resamples, at_once):
        drawn = rng.multinomial(units, [1.0 / units] * units, size=min(at_once, resamples - first))
        counts = drawn[:, groups] if of_recordings else drawn
        intercept, slope = fit_logistic(logits, right, counts)
        told = np.isfinite(slope)  # a resample of one score tells of no slope
        places.append(_places(intercept[told], slope[told]))
    every = np.concatenate(places)
    if not len(every):
        return None
    tails = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    # Values that are there: no mean of an infinity and a number.
    low, high = np.quantile(every, tails, axis=0, method="inverted_cdf")
    return low, high
