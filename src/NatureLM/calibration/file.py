"""A calibration: what it holds, its JSON file, and the probability that it gives a detection."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from NatureLM.errors import ConfigError
from NatureLM.json_text import parse_json
from NatureLM.models.answering import Detection
from NatureLM.whole_files import write_whole

MARK = "naturelm_calibration"
LAYOUT = 1

DECIMALS = 6
"""Scores are calibrated as results have them."""
NEAREST = 1e-6
"""Scores are kept this far from 0 and 1, whose logits are infinite: a step of the last decimal."""


def logit(score: float) -> float:
    """Return the logit of a score in [0, 1], as results state it."""
    kept = min(max(round(score, DECIMALS), NEAREST), 1.0 - NEAREST)
    return math.log(kept / (1.0 - kept))


@dataclass(frozen=True)
class Threshold:
    """The score from which on a detection is right with at least this probability.

    Attributes
    ----------
    probability : float
        0.9, 0.95 or 0.99.
    score : float or None
        None if no score reaches the probability.
    interval : (float, float or None) or None
        95 % bootstrap interval of the score, None for an end that lies beyond every score; None as a whole
        where there are too few recordings or reviews to resample.
    extrapolated : bool
        Whether the score lies outside the scores that were reviewed.
    reviews, right : int
        Reviews at or above the score, and how many of them are right.
    """

    probability: float
    score: float | None
    interval: tuple[float | None, float | None] | None
    extrapolated: bool
    reviews: int
    right: int


@dataclass(frozen=True)
class Fit:
    """P(right) = sigmoid(intercept + slope * logit(score)), and what it rests on.

    Attributes
    ----------
    intercept, slope : float
    reviews, right : int
        Reviews of the fit, and how many of them are right.
    recordings : int
        How many recordings they are from.
    lowest_score, highest_score : float
        Of the reviews: beyond them the fit is extrapolated.
    thresholds : tuple of Threshold
    """

    intercept: float
    slope: float
    reviews: int
    right: int
    recordings: int
    lowest_score: float
    highest_score: float
    thresholds: tuple[Threshold, ...] = ()

    def probability(self, score: float) -> float:
        """Return the probability, in [0, 1], that a detection of this score is right."""
        return 1.0 / (1.0 + math.exp(-min(max(self.intercept + self.slope * logit(score), -700.0), 700.0)))


@dataclass(frozen=True)
class SpeciesCalibration:
    """What was reviewed of one species.

    Attributes
    ----------
    common_name, scientific_name : str
    reviews, right : int
    fit : Fit or None
        None where the pooled fit holds.
    why_pooled : str or None
        The reason for that.
    """

    common_name: str
    scientific_name: str
    reviews: int
    right: int
    fit: Fit | None
    why_pooled: str | None = None


@dataclass(frozen=True)
class Calibration:
    """Probabilities of one model's detections, for recordings like the reviewed ones.

    Attributes
    ----------
    model : str
        Name of the model whose scores were reviewed.
    model_fingerprint : str or None
        As a run records it; None where the scores came without the record of their run.
    window_length_seconds, time_expansion : float or None
        Of the run: scores of other windows are other scores. None where not known.
    pooled : Fit
        Over all reviews: for species without a fit of their own, reviewed or not.
    species : tuple of SpeciesCalibration
        Those that were reviewed.
    made_of : dict
        Files, counts and settings behind it, for people.
    """

    model: str
    model_fingerprint: str | None
    window_length_seconds: float | None
    time_expansion: float | None
    pooled: Fit
    species: tuple[SpeciesCalibration, ...] = ()
    made_of: dict[str, Any] = field(default_factory=dict)

    def fit_of(self, common_name: str, scientific_name: str) -> Fit:
        """Return the fit that holds for a species: its own, or the pooled one."""
        return self._own.get((common_name, scientific_name), self.pooled)

    def probability(self, detection: Detection) -> float | None:
        """Return the probability that a detection is right; None for one without a score."""
        if detection.score is None:
            return None
        return self.fit_of(detection.common_name, detection.scientific_name).probability(detection.score)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over everything that can change a probability."""
        lasting = self.as_json()
        del lasting["made_of"]
        return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def _own(self) -> dict[tuple[str, str], Fit]:
        return {
            (each.common_name, each.scientific_name): each.fit
            for each in self.species
            if each.fit is not None
        }

    def check(
        self,
        model: str,
        model_fingerprint: str,
        window_length_seconds: float,
        time_expansion: float,
    ) -> None:
        """Refuse a run whose scores are not those that were reviewed.

        Raises
        ------
        ConfigError
            Another model, or windows of another length.
        """
        if self.model != model or self.model_fingerprint not in (None, model_fingerprint):
            ours = (
                self.model if self.model_fingerprint is None else f"{self.model} ({self.model_fingerprint})"
            )
            raise ConfigError(
                f"--calibration: is of the model {ours}, but {model} ({model_fingerprint}) answers; "
                "review detections of this model and run naturelm calibrate on them."
            )
        for name, its, now in (
            ("window length in seconds", self.window_length_seconds, window_length_seconds),
            ("time expansion", self.time_expansion, time_expansion),
        ):
            if its is not None and not math.isclose(its, now):
                raise ConfigError(
                    f"--calibration: was made of scores at a {name} of {its:g}, but this run has {now:g}, "
                    "which gives other scores; take the same value, or calibrate for this one."
                )

    def as_json(self) -> dict[str, Any]:
        """Return what the file holds."""
        return {MARK: LAYOUT, **asdict(self)}

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file, whole or not at all.

        Raises
        ------
        OSError
            It cannot be written.
        """
        content = json.dumps(self.as_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_whole({Path(path): content.encode("utf-8", "backslashreplace")})


def read_calibration(path: str | os.PathLike[str]) -> Calibration:
    """Read the file that ``naturelm calibrate`` wrote.

    Raises
    ------
    ConfigError
        There is no such file, or it is not a calibration of this version.
    """
    path = Path(path)
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such calibration file; make one with naturelm calibrate.") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a calibration file ({error}).") from None
    if not isinstance(content, dict) or MARK not in content:
        raise ConfigError(f"{path}: is not a calibration file; give one that naturelm calibrate wrote.")
    if content.pop(MARK) != LAYOUT:
        raise ConfigError(f"{path}: is a calibration of another version; run naturelm calibrate again.")
    try:
        return _calibration(content)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path}: is a damaged calibration file ({type(error).__name__}: {error}); run naturelm "
            "calibrate again."
        ) from None


def _calibration(content: Mapping[str, Any]) -> Calibration:
    species = tuple(
        SpeciesCalibration(**{**each, "fit": None if each["fit"] is None else _fit(each["fit"])})
        for each in content["species"]
    )
    return Calibration(**{**content, "pooled": _fit(content["pooled"]), "species": species})


def _fit(content: Mapping[str, Any]) -> Fit:
    thresholds = tuple(
        Threshold(**{**each, "interval": None if each["interval"] is None else tuple(each["interval"])})
        for each in content["thresholds"]
    )
    fit = Fit(**{**content, "thresholds": thresholds})
    if not (math.isfinite(fit.intercept) and math.isfinite(fit.slope)):
        raise ValueError("a fit is not of finite numbers")
    return fit
