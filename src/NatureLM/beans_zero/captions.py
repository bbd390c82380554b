"""CIDEr, and with SPICE SPIDEr, of captions.

CIDEr is CIDEr-D of Vedantam, Zitnick and Parikh 2015, *CIDEr: Consensus-based Image Description Evaluation*
(CVPR; arXiv:1411.5726). Captions are compared as they are, cut into words at white space, as the benchmark
does: case and full stops count. SPIDEr (Liu et al. 2017, ICCV; arXiv:1612.00370) is the mean of SPICE and
CIDEr, here with CIDEr on SPICE's scale: (CIDEr / 10 + SPICE) / 2.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from NatureLM.beans_zero.tally import FloatArray, Tally

__all__ = ["captioning", "cider"]

LONGEST_NGRAM = 4
SIGMA = 6.0
"""Width of the penalty for differing lengths, in words (the paper's value for CIDEr-D)."""
SCALE = 10.0
"""Of the similarities, as the paper scales CIDEr-D."""

_Grams = Counter[tuple[str, ...]]


def captioning(cider_scores: Sequence[float], spice_scores: Sequence[float] | None = None) -> Tally:
    """Tally the scores of single captions.

    Parameters
    ----------
    cider_scores : sequence of float
    spice_scores : sequence of float, optional
        With them there is SPICE and SPIDEr too.
    """
    scores = [np.asarray(cider_scores, dtype=float)]
    if spice_scores is not None:
        scores.append(np.asarray(spice_scores, dtype=float))
    rows = np.arange(len(scores[0]))

    def measure(sums: FloatArray, count: int) -> Mapping[str, FloatArray]:
        found = {"CIDEr": sums[:, 0] / count}
        if spice_scores is not None:
            found["SPICE"] = sums[:, 1] / count
            found["SPIDEr"] = (found["CIDEr"] / SCALE + found["SPICE"]) / 2
        return found

    columns = np.repeat(np.arange(len(scores)), len(rows))
    return Tally(rows, columns, np.tile(rows, len(scores)), np.concatenate(scores), measure, len(scores))


def cider(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Return the CIDEr-D of each caption, from 0 to 10.

    Words are weighted by how few of the references of this very call hold them: scores of one caption differ
    from file to file, and a file of a single caption scores 0.

    Parameters
    ----------
    predictions : sequence of str
    references : sequence of sequences of str
        One or several for each prediction.

    Examples
    --------
    >>> cider(["a cat sits", "a dog barks loudly"], [["a bird sings"], ["a dog barks loudly"]])
    [0.0, 10.0]
    """
    counted = [[_grams(text) for text in each] for each in references]
    documents: _Grams = Counter(gram for each in counted for gram in set().union(*each))
    log_count = math.log(len(references)) if references else 0.0
    # A gram in no reference weighs as much as one in a single one.
    rarity = {gram: log_count - math.log(held) for gram, held in documents.items()}
    scores = []
    for text, each in zip(predictions, counted, strict=True):
        said = _Weighted.of(_grams(text), rarity, log_count)
        similar = [_similarity(said, _Weighted.of(grams, rarity, log_count)) for grams in each]
        scores.append(SCALE * sum(similar) / len(similar))
    return scores


@dataclass(frozen=True)
class _Weighted:
    """The tf-idf weights of a caption's n-grams, their norms by n, and its length in words."""

    weights: dict[tuple[str, ...], float]
    norms: list[float]
    words: int

    @classmethod
    def of(cls, grams: _Grams, rarity: Mapping[tuple[str, ...], float], unseen: float) -> _Weighted:
        weights = {gram: times * rarity.get(gram, unseen) for gram, times in grams.items()}
        squares = [0.0] * LONGEST_NGRAM
        for gram, weight in weights.items():
            squares[len(gram) - 1] += weight * weight
        words = sum(times for gram, times in grams.items() if len(gram) == 1)
        return cls(weights, [math.sqrt(square) for square in squares], words)


def _grams(text: str) -> _Grams:
    words = text.split()
    return Counter(
        tuple(words[start : start + length])
        for length in range(1, LONGEST_NGRAM + 1)
        for start in range(len(words) - length + 1)
    )


def _similarity(said: _Weighted, reference: _Weighted) -> float:
    """Return the mean over n of the clipped cosines, with the penalty for differing lengths."""
    products = [0.0] * LONGEST_NGRAM
    for gram, weight in said.weights.items():
        other = reference.weights.get(gram, 0.0)
        products[len(gram) - 1] += min(weight, other) * other
    norms = [mine * other for mine, other in zip(said.norms, reference.norms, strict=True)]
    cosines = [product / norm if norm else 0.0 for product, norm in zip(products, norms, strict=True)]
    penalty = math.exp(-((said.words - reference.words) ** 2) / (2 * SIGMA**2))
    return penalty * sum(cosines) / LONGEST_NGRAM
