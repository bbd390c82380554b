"""Which species of a window reach the language model: plain settings, decided outside its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from NatureLM.models.answering import AnswerSettings
from NatureLM.models.species import Mention, SpeciesTable

MAX_SPECIES = 10
"""Most classes at or above the floor that the language model is given: as many as it was trained with."""

MAX_SOUNDS = 2
"""Most classes that are no animals; they take no animal's place."""

MAX_SLOTS = 16
"""Most classes of one window that the language model has places for, those below the floor included."""

MAX_WEAK_SLOTS = 4
"""Most classes below the floor that are described because the question names them; the marks on the
question's own words tell the state of the others."""


class State(IntEnum):
    """What the evidence says of a class, as the language model is told."""

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
    """The evidence for one class in one window.

    Attributes
    ----------
    class_index : int
        Class of the encoder.
    peak_logit : float
        Largest logit over the window's segments.
    score : float
        Sigmoid of the peak logit: BirdNET's confidence, in [0, 1].
    share : float
        Share of the window's segments in which the class reaches the floor.
    state : State
        What the language model is told.
    mentioned : bool
        Whether the question names the class.
    """

    class_index: int
    peak_logit: float
    score: float
    share: float
    state: State
    mentioned: bool

    @property
    def passes(self) -> bool:
        """Whether the class reaches the floor, so that answers may name it."""
        return self.state is not State.WEAK


def floor_logit(min_evidence: float) -> float:
    """Return the logit whose sigmoid is ``min_evidence`` (in [0, 1])."""
    if min_evidence <= 0.0:
        return float("-inf")
    if min_evidence >= 1.0:
        return float("inf")
    return float(np.log(min_evidence / (1.0 - min_evidence)))


def choose_classes(
    logits: npt.NDArray[np.float32],
    table: SpeciesTable,
    mentions: Sequence[Mention],
    settings: AnswerSettings,
) -> list[ClassEvidence]:
    """Choose the classes of one window that the language model is given, strongest first.

    A question that names two classes or more is taken to offer options: only the named classes are
    considered then, before the choice is made, so that a class ranked low but listed is found.

    Parameters
    ----------
    logits : float32 [segments, classes]
    table : SpeciesTable
    mentions : sequence of Mention
        The classes that the question names.
    settings : AnswerSettings
        ``min_evidence`` and ``max_species`` count here.

    Returns
    -------
    list of ClassEvidence
        Classes at or above the floor by falling peak logit (animals up to ``max_species``, and a named
        one; other sounds up to two), then named classes below it.
    """
    named = list(dict.fromkeys(mention.class_index for mention in mentions))
    peaks = logits.max(axis=0)
    floor = floor_logit(settings.min_evidence)
    considered = np.array(named, dtype=np.int64) if len(named) > 1 else np.flatnonzero(peaks >= floor)
    passing = considered[peaks[considered] >= floor]
    passing = passing[np.argsort(-peaks[passing], kind="stable")].tolist()
    animals = [index for index in passing if table.species[index].is_animal]
    animals = animals[: MAX_SPECIES if len(named) > 1 else settings.max_species]
    if len(named) == 1 and peaks[named[0]] >= floor and named[0] not in animals:
        animals.append(named[0])
    sounds = [index for index in passing if not table.species[index].is_animal][:MAX_SOUNDS]
    chosen = sorted([*animals, *sounds], key=passing.index)
    weak = [index for index in named if peaks[index] < floor][:MAX_WEAK_SLOTS]
    focal = animals[0] if animals else None

    def state_of(index: int) -> State:
        if peaks[index] < floor:
            return State.WEAK
        if not table.species[index].is_animal:
            return State.SOUND
        return State.FOCAL if index == focal else State.PRESENT

    return [
        ClassEvidence(
            class_index=index,
            peak_logit=float(peaks[index]),
            score=float(1.0 / (1.0 + np.exp(-np.float64(peaks[index])))),
            share=float((logits[:, index] >= floor).mean()),
            state=state_of(index),
            mentioned=index in named,
        )
        for index in chosen + weak
    ]


def state_of_mention(
    mention: Mention,
    logits: npt.NDArray[np.float32],
    chosen: Sequence[ClassEvidence],
    table: SpeciesTable,
    settings: AnswerSettings,
) -> State:
    """Return what the evidence says of a class that the question names, described or not."""
    for evidence in chosen:
        if evidence.class_index == mention.class_index:
            return evidence.state
    if logits[:, mention.class_index].max() < floor_logit(settings.min_evidence):
        return State.WEAK
    return State.PRESENT if table.species[mention.class_index].is_animal else State.SOUND
