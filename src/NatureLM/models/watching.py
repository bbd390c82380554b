"""Seeing answers while they are written, and ending them early."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

import torch
from transformers import StoppingCriteria

Watch = Callable[[list[str]], bool]
"""Told the answers so far; returns whether they should go on."""


class Watching(StoppingCriteria):
    """Shows a batch's answers after each token.

    Parameters
    ----------
    watch : callable
    text : callable
        Makes a row's number and its token ids into text.
    ends : set of int
        Tokens that end an answer; what a row holds behind one is padding.
    """

    def __init__(self, watch: Watch, text: Callable[[int, list[int]], str], ends: Set[int]) -> None:
        self._watch = watch
        self._text = text
        self._ends = ends

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """Return for each row whether it ends here."""
        texts = []
        for row, ids in enumerate(input_ids.tolist()):
            length = next((place for place, token in enumerate(ids) if token in self._ends), len(ids))
            texts.append(self._text(row, ids[:length]))
        stop = not self._watch(texts)
        return torch.full((len(input_ids),), stop, dtype=torch.bool, device=input_ids.device)
