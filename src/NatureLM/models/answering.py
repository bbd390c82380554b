"""What a model is asked with and what it gives back, for every encoder and adapter alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from NatureLM.errors import ConfigError

NOTHING_HEARD = "None"
"""The answer about a silent window, and in place of one that is withheld, in the word that models use."""

Precision = Literal["bfloat16", "int8"]
"""What a CPU multiplies where it is asked for other than float32 numbers."""


@dataclass(frozen=True)
class Detection:
    """One species that an answer names.

    Attributes
    ----------
    common_name, scientific_name : str
        Names of the species (``scientific_name`` is empty for sounds that are no animal's).
    score : float or None
        Evidence in [0, 1]: the encoder's own score for the bundled model, None where a model has none.
    probability : float or None
        Probability that the species is there, by a calibration; None without one.
    """

    common_name: str
    scientific_name: str
    score: float | None
    probability: float | None = None


@dataclass(frozen=True)
class Turn:
    """A question that was asked earlier in a conversation, and its answer."""

    query: str
    answer: str


@dataclass(frozen=True)
class Candidates:
    """What an answer may name.

    Attributes
    ----------
    labels : tuple of str
        Each once, as the user's list has it.
    top_k : int or None
        At most this many scores come with an answer, the best; None gives all.
    scored : bool
        Whether answers come with scores; without them a model that spells names is only held to the labels.
    length_normalised : bool
        Whether labels that compete are compared by the mean log-probability of their tokens instead of the
        sum (models that spell names).
    """

    labels: tuple[str, ...]
    top_k: int | None = None
    scored: bool = True
    length_normalised: bool = False

    @classmethod
    def of_several(cls, lists: Sequence[Candidates]) -> Candidates:
        """Return what may be named of several recordings: the labels of all, the rest as the first's."""
        return replace(lists[0], labels=tuple(dict.fromkeys(label for one in lists for label in one.labels)))


@dataclass(frozen=True)
class AnswerSettings:
    """Everything beside the question that can change an answer.

    Attributes
    ----------
    min_evidence : float
        Floor in [0, 1] on the encoder's evidence; below it a species is not named (bundled model).
    max_species : int
        At most this many species per window, strongest first (bundled model).
    min_confidence : float
        Confidence in [0, 1] below which an answer is withheld.
    max_new_tokens : int
        Longest answer in tokens.
    num_beams : int
        Beams of the search; 1 is greedy.
    length_penalty : float
        Exponent of an answer's length by which beams' log-probabilities are divided; above 1 favours long
        answers.
    repetition_penalty : float
        Factor by which the scores of tokens that the answer already holds are lowered; 1 changes nothing.
    temperature : float
        0 takes the best answer; above 0 answers are drawn at random, the more evenly the higher.
    top_p : float
        Share in (0, 1] of the probability from which tokens are drawn, the most probable first.
    seed : int
        Of the random numbers. The same seed draws the same answer, whatever the batch.
    merging_alpha : float or None
        Factor on the LoRA scaling (published model); None leaves it at 1.
    """

    min_evidence: float = 0.25
    max_species: int = 6
    min_confidence: float = 0.0
    max_new_tokens: int = 300
    num_beams: int = 1
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    merging_alpha: float | None = None

    def __post_init__(self) -> None:
        """Refuse a factor that no merging of two models has (the only number that nothing else checks)."""
        if self.merging_alpha is not None and not 0.0 <= self.merging_alpha <= 1.0:
            raise ConfigError(f"merging_alpha {self.merging_alpha:g}: expected a number from 0 to 1.")


@dataclass(frozen=True)
class ModelAnswer:
    """A model's answer to one question about one window.

    Attributes
    ----------
    text : str
        The answer in words; "None" for one that is withheld.
    confidence : float
        Geometric mean of the token probabilities, in [0, 1], before any restriction of the choice; where a
        model that spells names has scored competing candidates, the best one's share.
    mean_logprob : float
        Mean log-probability of the answer's tokens, before any restriction of the choice.
    detections : list of Detection
        The species that the answer names; none where it is withheld.
    withheld : str or None
        The answer in words, where its confidence is below ``min_confidence``.
    scores : dict of str to float, or None
        With candidates, how each of them fares, best first: see docs/candidates.md.
    """

    text: str
    confidence: float
    mean_logprob: float
    detections: list[Detection] = field(default_factory=list)
    withheld: str | None = None
    scores: dict[str, float] | None = None
