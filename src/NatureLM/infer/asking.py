"""One batch through the model: each window encoded once, questions of about equal length asked together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from NatureLM.models.answering import AnswerSettings, Candidates, ModelAnswer

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

LONGER_BY = 1.5
"""Queries that go through the model together are at most this many times as long as the shortest: every
prompt is padded to the longest."""


def ask(
    model: NatureLM,
    settings: AnswerSettings,
    most: int,
    waveforms: Sequence[npt.NDArray[np.float32]],
    asked: Sequence[Sequence[str]],
    candidates: Sequence[Candidates | None] = (),
) -> list[list[ModelAnswer]]:
    """Answer the questions about each window.

    Parameters
    ----------
    model : NatureLM
    settings : AnswerSettings
    most : int
        Prompts that go through the model together.
    waveforms : sequence of float32 [samples]
        As :meth:`NatureLM.encode_audio` takes them.
    asked : sequence of sequences of str
        For each window its queries.
    candidates : sequence of Candidates or None
        For each window what may be named of it; None for all, or none at all, restricts nothing.

    Returns
    -------
    list of lists of ModelAnswer
        For each window the answers to its queries, in their order.
    """
    features = model.encode_audio(waveforms) if waveforms else []
    return ask_about(model, settings, most, features, asked, candidates)


def ask_about(
    model: NatureLM,
    settings: AnswerSettings,
    most: int,
    features: Sequence[Any],
    asked: Sequence[Sequence[str]],
    candidates: Sequence[Candidates | None] = (),
) -> list[list[ModelAnswer]]:
    """Answer the questions about windows that are encoded already; all else is as in :func:`ask`."""
    answered: dict[tuple[int, int], ModelAnswer] = {}
    for call in calls(asked, most):
        named = [one for row, _ in call if candidates and (one := candidates[row]) is not None]
        answers = model.answer(
            [features[row] for row, _ in call],
            [asked[row][turn] for row, turn in call],
            settings,
            candidates=named or None,
        )
        answered.update(zip(call, answers, strict=True))
    return [[answered[row, turn] for turn in range(len(queries))] for row, queries in enumerate(asked)]


def calls(asked: Sequence[Sequence[str]], most: int) -> list[list[tuple[int, int]]]:
    """Part the questions of a batch, each (row, turn), into calls of equal queries, or of about equal length.

    Examples
    --------
    >>> calls([("Which?", "Caption the audio"), ("Which?", "Who?")], 16)
    [[(1, 1), (0, 0), (1, 0)], [(0, 1)]]
    """
    queries = {(row, turn): query for row, several in enumerate(asked) for turn, query in enumerate(several)}
    parted: list[list[tuple[int, int]]] = []
    shortest = 0
    for place, query in sorted(queries.items(), key=lambda item: (len(item[1]), item[1], item[0])):
        if not parted or len(parted[-1]) == most or len(query) > LONGER_BY * shortest:
            parted.append([])
            shortest = len(query)
        parted[-1].append(place)
    return parted
