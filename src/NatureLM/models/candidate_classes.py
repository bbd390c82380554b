"""Candidates as classes of the encoder: which are left to be named, and how each of them fares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from NatureLM.models.answering import NOTHING_HEARD, AnswerSettings, Candidates
from NatureLM.models.label_queries import asks_for_one
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import focal_scores, own_scores
from NatureLM.models.species_lookup import SpeciesLookup

LISTS_KEPT = 256
"""Lists whose classes are remembered: more than BirdNET has weeks."""


@dataclass(frozen=True)
class CandidateClasses:
    """A list of candidates as classes.

    Attributes
    ----------
    classes : int64 [labels]
        Each once.
    labels : tuple of str
        The first label of each.
    is_animal : bool [labels]
        Whether it is no mere sound.
    top_k : int or None
        As in Candidates.
    """

    classes: npt.NDArray[np.int64]
    labels: tuple[str, ...]
    is_animal: npt.NDArray[np.bool_]
    top_k: int | None = None


class CandidateFinder:
    """Finds the classes that labels of candidates mean.

    Parameters
    ----------
    table : SpeciesTable
    """

    def __init__(self, table: SpeciesTable) -> None:
        self.lookup = SpeciesLookup(table)
        self._kept: dict[Candidates, CandidateClasses] = {}

    def unknown(self, labels: Sequence[str]) -> dict[str, str]:
        """Return which labels mean no class, each with the nearest name that does.

        ``None`` is no class, and known: it has a score wherever it may be the answer.
        """
        unknown = (label for label in labels if label != NOTHING_HEARD and self.lookup.find(label) is None)
        return {label: self.lookup.nearest(label).common_name for label in unknown}

    def classes(self, candidates: Candidates) -> CandidateClasses:
        """Return the classes of candidates; unknown labels mean none, the first label of a class stays."""
        if candidates not in self._kept:
            if len(self._kept) >= LISTS_KEPT:
                self._kept.clear()
            self._kept[candidates] = self._find(candidates)
        return self._kept[candidates]

    def _find(self, candidates: Candidates) -> CandidateClasses:
        labels: dict[int, str] = {}
        for label in candidates.labels:
            species = self.lookup.find(label)
            if species is not None:
                labels.setdefault(species.class_index, label)
        table = self.lookup.table
        return CandidateClasses(
            np.array(list(labels), dtype=np.int64),
            tuple(labels.values()),
            np.array([table[index].is_animal for index in labels], dtype=np.bool_),
            candidates.top_k,
        )


def candidate_scores(
    pooled: Sequence[npt.NDArray[np.float32]],
    candidates: Sequence[CandidateClasses],
    query: str,
    settings: AnswerSettings,
) -> dict[str, float]:
    """Return the score of each candidate, best first, with the list's order among equals.

    A question for one species has one answer, which the animals among the candidates and None share as
    :func:`~NatureLM.models.species_evidence.focal_scores` has it. For other questions each candidate has its
    own evidence, whatever the others have.

    Parameters
    ----------
    pooled : sequence of float32 [classes]
        Pooled logits of each recording that the question is about; the stronger evidence of several counts.
    candidates : sequence of CandidateClasses
        Of each recording.
    query : str
    settings : AnswerSettings
        ``min_evidence`` counts here.
    """
    focal = asks_for_one(query)
    logits: dict[str, np.float32] = {}
    for evidence, named in zip(pooled, candidates, strict=True):
        for label, index, animal in zip(named.labels, named.classes, named.is_animal, strict=True):
            if animal or not focal:
                logits[label] = max(evidence[index], logits.get(label, evidence[index]))
    values = np.array(list(logits.values()), dtype=np.float32)
    names = list(logits)
    if focal:
        shares, none = focal_scores(values, settings.min_evidence)
        names, scores = [*names, NOTHING_HEARD], np.append(shares, none)
    else:
        scores = own_scores(values)
    best = np.argsort(-scores, kind="stable")[: candidates[0].top_k]
    return {names[place]: float(scores[place]) for place in best}
