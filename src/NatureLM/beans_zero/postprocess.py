"""From what a model wrote to labels, as the benchmark does it.

The text ends before ``<|end_of_text|>``. It is the label that it equals, else the one that fewest edits
(Levenshtein 1966: insertions, deletions, substitutions, each one edit; case counts) lead to. Detection
answers are lists: each piece between commas is matched by itself, and is ``None`` where every label is more
than :data:`MAX_EDITS` edits away. Captions stay as they are. Of labels that are equally near, the first in
sorted order is taken; the benchmark's own choice there changes from run to run.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from NatureLM.beans_zero.components import NONE, Task

__all__ = ["END_OF_TEXT", "MAX_EDITS", "nearest_labels", "postprocess"]

END_OF_TEXT = "<|end_of_text|>"
"""Llama 3's end token, left in the text by some decoders."""

MAX_EDITS = 5
"""Edits up to which a piece of a detection answer still names a label (the benchmark's setting)."""

_BLOCK = 4_000_000
"""Distances held at a time."""


def postprocess(predictions: Sequence[str], labels: Collection[str], task: Task) -> list[str]:
    """Return the label, or for detection the list of labels, that each prediction stands for.

    Parameters
    ----------
    predictions : sequence of str
    labels : collection of str
        What to choose from. Detection may always choose ``None``.
    task : {"classification", "detection", "captioning"}

    Examples
    --------
    >>> postprocess(["dg", "cat<|end_of_text|>dog"], ["bird", "cat", "dog"], "classification")
    ['dog', 'cat']
    >>> postprocess(["Blue hay, a moose far away"], ["American Crow", "Blue Jay"], "detection")
    ['Blue Jay, None']
    """
    if task == "captioning":
        return list(predictions)
    if task == "classification":
        return nearest_labels([_before_end(text) for text in predictions], labels)
    split = [[_before_end(piece.strip()) for piece in text.split(",")] for text in predictions]
    found = iter(nearest_labels([piece for pieces in split for piece in pieces], {*labels, NONE}, MAX_EDITS))
    return [", ".join(next(found) for _ in pieces) for pieces in split]


def nearest_labels(texts: Sequence[str], labels: Collection[str], max_edits: int | None = None) -> list[str]:
    """Return the nearest label of each text.

    Parameters
    ----------
    texts : sequence of str
    labels : collection of str
        At least one.
    max_edits : int, optional
        Texts that are further than this from every label become ``None``, the label.
    """
    import numpy as np
    from rapidfuzz import process
    from rapidfuzz.distance import Levenshtein

    ordered = sorted(set(labels))
    known = set(ordered)
    found = {text: text for text in set(texts) if text in known}
    unknown = sorted(set(texts) - known)
    step = max(1, _BLOCK // len(ordered))
    for start in range(0, len(unknown), step):
        block = unknown[start : start + step]
        # Beyond the cutoff every distance is cutoff + 1, which saves most of the work.
        edits = process.cdist(
            block, ordered, scorer=Levenshtein.distance, score_cutoff=max_edits, dtype=np.int32
        )
        nearest = edits.argmin(axis=1)  # the first of equals
        for text, place, distance in zip(block, nearest, edits.min(axis=1), strict=True):
            too_far = max_edits is not None and distance > max_edits
            found[text] = NONE if too_far else ordered[place]
    return [found[text] for text in texts]


def _before_end(text: str) -> str:
    return text.partition(END_OF_TEXT)[0]
