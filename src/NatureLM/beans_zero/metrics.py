"""The benchmark's metrics for classification and detection.

Precision, recall and F1 of a label are 0 where they would divide by nothing. Classification averages them
over labels by the number of true rows (weighted); detection gives each label the same weight (macro).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from NatureLM.beans_zero.components import NONE
from NatureLM.beans_zero.tally import FloatArray, IntArray, Measure, Tally
from NatureLM.errors import PredictionsError

__all__ = ["classification", "detection", "mean_average_precision", "pieces"]


def pieces(text: str) -> frozenset[str]:
    """Return the labels in a list with commas; ``None``, in any case, is not one.

    Examples
    --------
    >>> sorted(pieces("cat,dog, None"))
    ['cat', 'dog']
    """
    return frozenset(piece for part in text.split(",") if (piece := part.strip()).lower() != NONE.lower())


def classification(predictions: Sequence[str], labels: Sequence[str]) -> Tally:
    """Tally post-processed predictions against true labels.

    Accuracy compares whole texts. Top-1 Accuracy takes a prediction as right that is one of the true label's
    parts between commas: it differs where rows have several labels, and where a label holds a comma itself.

    Examples
    --------
    >>> classification(["cat", "dog"], ["cat, dog", "dog"]).metrics()["Top-1 Accuracy"]
    1.0
    """
    _check_lengths(predictions, labels)
    classes = {text: place for place, text in enumerate(sorted({*predictions, *labels}))}
    count = len(classes)
    pairs = np.array(
        [classes[true] * count + classes[said] for said, true in zip(predictions, labels, strict=True)]
    )
    unique, kinds = np.unique(pairs, return_inverse=True)
    true, said = np.divmod(unique, count)
    names = list(classes)
    one_of = np.array(
        [names[s] in [part.strip() for part in names[t].split(",")] for t, s in zip(true, said, strict=True)]
    )
    every, right, among = np.arange(len(unique)), np.flatnonzero(true == said), np.flatnonzero(one_of)

    def measure(sums: FloatArray, rows: int) -> Mapping[str, FloatArray]:
        truths, answers, hits = (sums[:, place * count : (place + 1) * count] for place in range(3))
        precision, recall, f1 = _per_label(truths, answers, hits)
        weights = truths / rows
        return {
            "Accuracy": hits.sum(axis=1) / rows,
            "Precision": (weights * precision).sum(axis=1),
            "Recall": (weights * recall).sum(axis=1),
            "F1 Score": (weights * f1).sum(axis=1),
            "Top-1 Accuracy": sums[:, -1] / rows,
        }

    columns = [true, count + said, 2 * count + true[right], np.full(len(among), 3 * count)]
    return _tally(kinds, [every, every, right, among], columns, measure, 3 * count + 1)


def detection(
    predictions: Sequence[str], labels: Sequence[str], label_set: Collection[str] | None = None
) -> tuple[Tally, float]:
    """Tally post-processed lists of labels against true lists; also return the mean average precision.

    Parameters
    ----------
    predictions, labels : sequence of str
    label_set : collection of str, optional
        Labels to average over; those that occur in ``labels`` unless given. Then a resample, too, averages
        over those that occur in it.

    Raises
    ------
    PredictionsError
        There is no label but ``None``.
    """
    _check_lengths(predictions, labels)
    sets = {text: pieces(text) for text in {*predictions, *labels}}
    chosen = label_set if label_set is not None else frozenset().union(*(sets[text] for text in labels))
    names = {label: place for place, label in enumerate(sorted(set(chosen) - {NONE}))}
    if not names:
        raise PredictionsError(f"every true label is {NONE}, so there is nothing to detect.")
    places = {
        text: np.array(sorted(names[label] for label in found if label in names), dtype=np.int64)
        for text, found in sets.items()
    }
    numbers: dict[tuple[str, str], int] = {}
    kinds = np.array(
        [numbers.setdefault(pair, len(numbers)) for pair in zip(labels, predictions, strict=True)]
    )
    count, entries, columns = len(names), [], []
    for kind, (true, said) in enumerate(numbers):
        for first, found in enumerate(
            (places[true], places[said], np.intersect1d(places[true], places[said]))
        ):
            entries.append(np.full(len(found), kind))
            columns.append(first * count + found)

    def measure(sums: FloatArray, rows: int) -> Mapping[str, FloatArray]:
        truths, answers, hits = (sums[:, place * count : (place + 1) * count] for place in range(3))
        precision, recall, f1 = _per_label(truths, answers, hits)
        counted = truths > 0 if label_set is None else np.ones_like(truths, dtype=bool)
        with np.errstate(invalid="ignore"):  # a resample may hold no label; it is left out
            weights = counted / counted.sum(axis=1, keepdims=True)
        return {
            "F1": (weights * f1).sum(axis=1),
            "Recall": (weights * recall).sum(axis=1),
            "Precision": (weights * precision).sum(axis=1),
        }

    truth, heard = (_table([places[text] for text in texts], count) for texts in (labels, predictions))
    return _tally(kinds, entries, columns, measure, 3 * count), mean_average_precision(truth, heard)


def mean_average_precision(truth: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]) -> float:
    """Return the mean over labels of average precision, as the benchmark computes it.

    Answers without scores leave rows tied, and average precision depends on their order. The benchmark takes
    that of ``torch.sort``, and so do we; the same torch on the same kind of processor gives the same order.

    Parameters
    ----------
    truth, found : array of bool, shape (rows, labels)
    """
    import torch

    total = 0.0
    for true, said in zip(truth.T, found.T, strict=True):
        order = torch.sort(torch.from_numpy(said.astype(np.float32)), descending=True).indices.numpy()
        ranked = true[order]
        precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
        total += precision[ranked].sum() / max(1, ranked.sum())
    return total / truth.shape[1]


def _per_label(
    truths: FloatArray, answers: FloatArray, hits: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    precision = np.divide(hits, answers, out=np.zeros_like(hits), where=answers > 0)
    recall = np.divide(hits, truths, out=np.zeros_like(hits), where=truths > 0)
    f1 = np.divide(2 * hits, truths + answers, out=np.zeros_like(hits), where=truths + answers > 0)
    return precision, recall, f1


def _tally(
    kinds: IntArray, entries: list[IntArray], columns: list[IntArray], measure: Measure, width: int
) -> Tally:
    where = np.concatenate(entries)
    return Tally(kinds, np.concatenate(columns), where, np.ones(len(where)), measure, width)


def _table(rows: list[IntArray], width: int) -> npt.NDArray[np.bool_]:
    table = np.zeros((len(rows), width), dtype=bool)
    for row, places in zip(table, rows, strict=True):
        row[places] = True
    return table


def _check_lengths(predictions: Sequence[str], labels: Sequence[str]) -> None:
    if len(predictions) != len(labels) or not labels:
        raise PredictionsError(
            f"{len(predictions)} predictions and {len(labels)} labels; there must be one of each per row."
        )
