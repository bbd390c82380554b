"""Which classes of a window reach the language model: plain settings, decided outside its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from NatureLM.models.answering import AnswerSettings
from NatureLM.models.concepts import Concept, ConceptType
from NatureLM.models.species import SpeciesTable
from NatureLM.models.vocabulary import MAX_SLOTS

MAX_SPECIES = 10
"""Most animals that answers name unasked: as many as the model was trained with."""

MAX_SOUNDS = 2
"""Most classes that are no animals; they take no animal's place."""

MAX_ANIMALS = MAX_SLOTS - MAX_SOUNDS
"""Most animals in all, those included that have a place because the question speaks of them."""


class State(IntEnum):
    """What the evidence says of a class, or of what a question speaks of."""

    WEAK = 1
    """Below the floor."""
    PRESENT = 2
    """At or above the floor, and an animal."""
    FOCAL = 3
    """The strongest animal at or above the floor."""
    SOUND = 4
    """At or above the floor, and not an animal."""


@dataclass(frozen=True)
class ClassEvidence:
    """The evidence for one class in one window, at or above the floor.

    Attributes
    ----------
    class_index : int
        Class of the encoder.
    logit : float
        As :func:`pooled_logits` has it.
    score : float
        Its sigmoid, in [0, 1]: in a window of one segment BirdNET's confidence.
    share : float
        Share of the window's segments in which the class reaches the floor.
    state : State
        What the language model is told.
    """

    class_index: int
    logit: float
    score: float
    share: float
    state: State


def floor_logit(min_evidence: float) -> float:
    """Return the logit whose sigmoid is ``min_evidence`` (in [0, 1])."""
    if min_evidence <= 0.0:
        return float("-inf")
    if min_evidence >= 1.0:
        return float("inf")
    return float(np.log(min_evidence / (1.0 - min_evidence)))


def pooled_logits(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the evidence for each class in a window: the mean of its two largest logits.

    One segment alone convinces only if it is sure, or another agrees a little. On 3.1 hours of music,
    machines, speech, water and wind that more than halves the false names at the default floor, beside the
    largest logit alone (``benchmarks/real_recordings.py``).

    Parameters
    ----------
    logits : float32 [segments, classes]

    Returns
    -------
    float32 [classes]
        The logits themselves where there is one segment.
    """
    if len(logits) < 2:
        return logits[0]
    # Many times as fast as sorting: there are thousands of classes, but few segments.
    largest, second = np.maximum(logits[0], logits[1]), np.minimum(logits[0], logits[1])
    for segment in logits[2:]:
        second = np.maximum(second, np.minimum(largest, segment))
        largest = np.maximum(largest, segment)
    return (largest + second) / 2


def restricted(logits: npt.NDArray[np.float32], classes: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return logits [segments, classes] with all but ``classes`` at minus infinity."""
    left = np.full_like(logits, -np.inf)
    left[:, classes] = logits[:, classes]
    return left


def own_scores(pooled: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the evidence of classes as scores in [0, 1], each by itself: the sigmoids of pooled logits."""
    return 1.0 / (1.0 + np.exp(-pooled.astype(np.float64)))


def focal_scores(
    pooled: npt.NDArray[np.float32], min_evidence: float
) -> tuple[npt.NDArray[np.float64], float]:
    """Return how classes and None share the answer to a question that has one: their softmax.

    None stands at the floor's logit. So None has the largest score where no class reaches the floor, and
    otherwise the strongest class has, as in the answer; at a floor of 0 None has no share.

    Parameters
    ----------
    pooled : float32 [classes]
        Pooled logits of the classes that may be named.
    min_evidence : float
        The floor in [0, 1].

    Returns
    -------
    (float64 [classes], float)
        Scores of the classes and of None; their sum is 1.
    """
    logits = np.append(pooled.astype(np.float64), floor_logit(min_evidence))
    largest = logits.max()
    if np.isinf(largest):  # a floor of 1, or no class and a floor of 0
        return np.zeros(len(pooled)), 1.0
    shares = np.exp(logits - largest)
    shares /= shares.sum()
    return shares[:-1], float(shares[-1])


def choose_classes(
    logits: npt.NDArray[np.float32],
    table: SpeciesTable,
    concepts: Sequence[Concept],
    settings: AnswerSettings,
) -> list[ClassEvidence]:
    """Choose the classes of one window that the language model is given.

    Species that the question names, and the strongest of a group or taxon that it speaks of, have a place
    whenever they reach the floor, however low they rank: so options and "is there an owl?" look at real
    evidence.

    Parameters
    ----------
    logits : float32 [segments, classes]
        Classes at minus infinity are never chosen.
    table : SpeciesTable
    concepts : sequence of Concept
        What the question speaks of.
    settings : AnswerSettings
        ``min_evidence`` and ``max_species`` count here.

    Returns
    -------
    list of ClassEvidence
        Classes at or above the floor: animals by falling logit, then up to two other sounds, likewise.
    """
    pooled = pooled_logits(logits)
    floor = floor_logit(settings.min_evidence)
    passing = np.flatnonzero((pooled >= floor) & (pooled > -np.inf))
    passing = passing[np.argsort(-pooled[passing], kind="stable")]
    ranked = [int(index) for index in passing]
    animals = [index for index in ranked if table.species[index].is_animal]
    asked = _asked_for(animals, concepts, settings.max_species)
    unasked = animals[: settings.max_species]
    # The strongest keeps its place, then what is asked for, then the others.
    wanted = set([*dict.fromkeys([*unasked[:1], *asked, *unasked])][:MAX_ANIMALS])
    chosen = [index for index in animals if index in wanted]
    sounds = [index for index in ranked if not table.species[index].is_animal][:MAX_SOUNDS]
    return [
        ClassEvidence(
            class_index=index,
            logit=float(pooled[index]),
            score=float(1.0 / (1.0 + np.exp(-np.float64(pooled[index])))),
            share=float((logits[:, index] >= floor).mean()),
            state=State.SOUND if index in sounds else State.FOCAL if index == animals[0] else State.PRESENT,
        )
        for index in chosen + sounds
    ]


def _asked_for(animals: Sequence[int], concepts: Sequence[Concept], max_species: int) -> list[int]:
    """Return the passing animals that have a place because the question speaks of them, strongest first."""
    named: set[int] = set()
    for concept in concepts:
        if concept.type in (ConceptType.COMMON, ConceptType.SCIENTIFIC):
            named |= set(concept.classes)
        elif concept.type is not ConceptType.SOUND:
            members = set(concept.classes)
            named |= set([index for index in animals if index in members][:max_species])
    return [index for index in animals if index in named]


def state_of_concept(
    concept: Concept,
    pooled: npt.NDArray[np.float32],
    chosen: Sequence[ClassEvidence],
    settings: AnswerSettings,
) -> State:
    """Return what the evidence says of what a question speaks of: the strongest of the classes it means.

    Parameters
    ----------
    concept : Concept
    pooled : float32 [classes]
        What :func:`pooled_logits` returned.
    chosen : sequence of ClassEvidence
        What :func:`choose_classes` returned.
    settings : AnswerSettings
    """
    floor = floor_logit(settings.min_evidence)
    strongest = pooled[list(concept.classes)].max(initial=-np.inf)
    if strongest < floor or strongest == -np.inf:
        return State.WEAK
    if concept.type is ConceptType.SOUND:
        return State.SOUND
    members = set(concept.classes)
    focal = any(item.class_index in members and item.state is State.FOCAL for item in chosen)
    return State.FOCAL if focal else State.PRESENT
