"""Scores of a file of predictions, component by component."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from NatureLM.beans_zero.components import COMPONENTS, NONE, Component, component, unknown_component
from NatureLM.beans_zero.predictions import Answers
from NatureLM.errors import NatureLMError, PredictionsError

__all__ = ["LabelSet", "Score", "score"]

LabelSet = Literal["present", "component"]
Spice = Callable[[Sequence[str], Sequence[str]], list[float]]


@dataclass(frozen=True)
class Score:
    """What a component's predictions come to.

    Attributes
    ----------
    rows : int
        Number of predictions.
    metrics : dict
        Name to value, named and ordered as the benchmark has them.
    intervals : dict
        Name to the ends of the 95 % bootstrap interval; mAP has none, as it depends on the rows' order.
    skipped : dict
        Name of a metric to why it is not there.
    problem : str or None
        Why the component, or a metric that was asked for, could not be computed.
    """

    rows: int
    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    problem: str | None = None


def score(
    answers: Mapping[str, Answers],
    *,
    labels: LabelSet = "present",
    resamples: int = 1000,
    seed: int = 0,
    spice: Spice | None = None,
) -> dict[str, Score]:
    """Score predictions by component, in the benchmark's order.

    A component that cannot be scored has a :attr:`Score.problem`; the others are scored all the same.

    Parameters
    ----------
    answers : mapping
        By component, as :func:`~NatureLM.beans_zero.predictions.read_predictions` returns them.
    labels : {"present", "component"}
        What predictions are matched to, and detection averages over: the true labels of the rows, as in the
        published evaluation, or all labels of the component.
    resamples, seed : int
        Of the bootstrap; no resamples, no intervals.
    spice : callable, optional
        Makes SPICE scores of predictions and references.

    Examples
    --------
    >>> rows = Answers(predictions=["calls", "song"], labels=["call", "song"])
    >>> score({"call-type": rows}, resamples=0)["call-type"].metrics["Accuracy"]
    1.0
    """
    known = [each.name for each in COMPONENTS if each.name in answers]
    scores = {}
    for name in [*known, *(name for name in answers if name not in known)]:
        rows = answers[name]
        try:
            if name not in known:
                raise PredictionsError(unknown_component(name))
            scores[name] = _score(component(name), rows, labels, resamples, seed, spice)
        except PredictionsError as error:
            scores[name] = Score(len(rows.labels), problem=str(error))
    return scores


def _score(
    which: Component, rows: Answers, labels: LabelSet, resamples: int, seed: int, spice: Spice | None
) -> Score:
    if which.task == "captioning":
        return _score_captions(which, rows, resamples, seed, spice)
    from NatureLM.beans_zero.metrics import classification, detection
    from NatureLM.beans_zero.postprocess import postprocess

    if labels == "component":
        _check_labels(which, rows.labels)
    choices = which.labels if labels == "component" else set(rows.labels)
    found = postprocess(rows.predictions, choices, which.task)
    metrics: dict[str, float] = {}
    if which.task == "detection":
        tally, precision = detection(found, rows.labels, choices if labels == "component" else None)
        metrics["mAP"] = precision
    else:
        tally = classification(found, rows.labels)
    metrics |= tally.metrics()
    intervals = tally.intervals(which.name, resamples, seed) if resamples else {}
    return Score(len(found), metrics, intervals)


def _score_captions(which: Component, rows: Answers, resamples: int, seed: int, spice: Spice | None) -> Score:
    from NatureLM.beans_zero.captions import captioning, cider
    from NatureLM.beans_zero.spice import WITHOUT_SPICE

    problem, spices, reason = None, None, WITHOUT_SPICE
    if spice is not None:
        try:
            spices = spice(rows.predictions, rows.labels)
        except NatureLMError as error:
            problem = reason = str(error)
    tally = captioning(cider(rows.predictions, [[label] for label in rows.labels]), spices)
    intervals = tally.intervals(which.name, resamples, seed) if resamples else {}
    skipped = {} if spices is not None else dict.fromkeys(("SPICE", "SPIDEr"), reason)
    return Score(len(rows.labels), tally.metrics(), intervals, skipped, problem)


def _check_labels(which: Component, labels: Sequence[str]) -> None:
    """Refuse true labels that the component does not have, whole or in any of their parts."""
    known = {*which.labels, NONE} if which.task == "detection" else set(which.labels)
    for label in sorted(set(labels) - known):
        for part in (piece.strip() for piece in label.split(",")):
            if part not in known:
                from rapidfuzz import process
                from rapidfuzz.distance import Levenshtein

                nearest = process.extractOne(part, sorted(known), scorer=Levenshtein.distance)[0]
                raise PredictionsError(
                    f"the true label '{part}' is none of its {len(which.labels)} labels (the nearest is "
                    f"'{nearest}'); correct it, or score with --labels present."
                )
