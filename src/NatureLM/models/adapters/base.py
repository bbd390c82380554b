"""What every adapter offers: from an encoder's features to the tokens that the language model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import LogitsProcessorList, PreTrainedTokenizerBase

from NatureLM.models.answering import AnswerSettings, Detection
from NatureLM.models.species import SpeciesTable


@dataclass(frozen=True)
class AudioContext:
    """What the language model is given of one window for one query.

    Attributes
    ----------
    length : int
        Number of tokens that stand for the window in the prompt.
    query_marks : list of (int, int, int)
        Character spans of the query (start, end) and the mark (1, 2, ...) that their tokens get.
    content : Any
        What the adapter needs to make the tokens.
    """

    length: int
    query_marks: list[tuple[int, int, int]] = field(default_factory=list)
    content: Any = None


class Adapter(torch.nn.Module):
    """Base of the adapters; the defaults suit one whose tokens do not depend on the query."""

    def attach(self, tokenizer: PreTrainedTokenizerBase, table: SpeciesTable) -> None:
        """Give the adapter the tokenizer and the names of classes, where its tokens are made of them."""

    def check(self, settings: AnswerSettings) -> None:
        """Refuse settings that this adapter cannot honour.

        Raises
        ------
        ConfigError
            With the limit.
        """

    def context(self, features: Any, query: str, settings: AnswerSettings) -> AudioContext:
        """Return what the language model is given of a window's ``features`` for ``query``."""
        raise NotImplementedError

    def forward(self, contexts: Sequence[AudioContext], embed_tokens: torch.nn.Embedding) -> torch.Tensor:
        """Return the tokens of all contexts one after another, [sum of lengths, hidden]."""
        raise NotImplementedError

    def mark_text(self, embeddings: torch.Tensor, marks: torch.Tensor) -> torch.Tensor:
        """Return text embeddings [..., hidden] with the marks (int64 [...], 0 for none) worked in."""
        return embeddings

    def decoding_rules(self, contexts: Sequence[Sequence[AudioContext]]) -> LogitsProcessorList:
        """Return what restrains decoding, given the contexts of each row of the batch."""
        return LogitsProcessorList()

    def detections(self, contexts: Sequence[AudioContext], token_ids: Sequence[int]) -> list[Detection]:
        """Return the species that an answer, given as its token ids, names."""
        return []
