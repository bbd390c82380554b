"""What a model is asked with and what it gives back, for every encoder and adapter alike."""

from __future__ import annotations

from dataclasses import dataclass, field


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
class AnswerSettings:
    """Everything beside the question that can change an answer.

    Attributes
    ----------
    min_evidence : float
        Floor in [0, 1] on the encoder's evidence; below it a species is not named (bundled model).
    max_species : int
        At most this many species per window, strongest first (bundled model).
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
    max_new_tokens: int = 300
    num_beams: int = 1
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    merging_alpha: float | None = None


@dataclass(frozen=True)
class ModelAnswer:
    """A model's answer to one question about one window.

    Attributes
    ----------
    text : str
        The answer in words.
    confidence : float
        Geometric mean of the token probabilities, in [0, 1], before any restriction of the choice.
    mean_logprob : float
        Mean log-probability of the answer's tokens, before any restriction of the choice.
    detections : list of Detection
        The species that the answer names.
    """

    text: str
    confidence: float
    mean_logprob: float
    detections: list[Detection] = field(default_factory=list)
