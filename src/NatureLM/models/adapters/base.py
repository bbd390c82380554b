"""What every adapter offers: from an encoder's features to the tokens that the language model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from transformers import LogitsProcessorList, PreTrainedTokenizerBase

from NatureLM.models.answering import AnswerSettings, Candidates, Detection
from NatureLM.models.species import SpeciesTable


@dataclass(frozen=True)
class Mark:
    """A stretch of a text that the adapter has something to say of.

    Attributes
    ----------
    start, end : int
        Characters of the text.
    content : tuple of int
        What :meth:`Adapter.mark_text` is given for the stretch's tokens.
    token : str or None
        A token that stands for the stretch in the prompt; None leaves its words.
    """

    start: int
    end: int
    content: tuple[int, ...]
    token: str | None = None


@dataclass(frozen=True)
class PromptContext:
    """What the language model is given of one prompt's recordings.

    Attributes
    ----------
    lengths : list of int
        Number of tokens that stand for each recording.
    marks : list of lists of Mark
        For each text of the conversation.
    content : Any
        What the adapter needs to make the tokens.
    """

    lengths: list[int]
    marks: list[list[Mark]] = field(default_factory=list)
    content: Any = None


@dataclass(frozen=True, eq=False)
class Questions:
    """Questions as the language model reads them.

    Attributes
    ----------
    contexts : list of PromptContext
    embeds : [batch, length, hidden]
        Prompts, padded on the left.
    mask : int64 [batch, length]
        0 where there is padding.
    """

    contexts: list[PromptContext]
    embeds: torch.Tensor
    mask: torch.Tensor


CLEANED_UP = (
    *((f" {mark}", mark) for mark in ".?!,"),
    (" ' ", "'"),
    *((f" {ending}", ending) for ending in ("n't", "'m", "'s", "'ve", "'re")),
)
"""Which spaces the published code's decoding leaves out, in this order (transformers' clean_up_tokenization,
which its newer versions no longer do for Llama's kind of tokenizer)."""


class Adapter(torch.nn.Module):
    """Base of the adapters; the defaults suit one whose tokens do not depend on the query."""

    mark_columns = 1
    """Numbers in a mark's content."""

    cleans_up_spaces = False
    """Whether decoded answers lose the spaces before punctuation, as the published model's do."""

    names_classes = False
    """Whether answers name the encoder's classes, by pointing at them; others are spelled, token by token."""

    has_evidence_floor = False
    """Whether ``min_evidence`` counts: species below it are not named."""

    declined_tasks: ClassVar[frozenset[str]] = frozenset()
    """Kinds of question that a model with it is trained to decline, as its tokens do not say it."""

    tokenizer: PreTrainedTokenizerBase

    def attach(self, tokenizer: PreTrainedTokenizerBase, table: SpeciesTable) -> None:
        """Give the adapter the tokenizer and the names of classes, where its tokens are made of them."""
        self.tokenizer = tokenizer

    def check(self, settings: AnswerSettings) -> None:
        """Refuse settings that this adapter cannot honour.

        Raises
        ------
        ConfigError
            With the limit.
        """

    def unknown_labels(self, labels: Sequence[str]) -> dict[str, str]:
        """Return which labels of a list of candidates are unknown, each with the nearest known name.

        A model that spells names can write any.
        """
        return {}

    def check_recordings(self, count: int) -> None:
        """Refuse more recordings in one question than this adapter can tell apart.

        Raises
        ------
        ConfigError
            With the limit.
        """

    def context(
        self,
        features: Sequence[Any],
        texts: Sequence[str],
        settings: AnswerSettings,
        candidates: Sequence[Candidates] = (),
    ) -> PromptContext:
        """Return what the language model is given of windows for a conversation about them.

        Parameters
        ----------
        features : sequence
            The features of each window that the prompt is about.
        texts : sequence of str
            Question, answer, question, ...: the last is the question to be answered.
        settings : AnswerSettings
        candidates : sequence of Candidates
            What may be named of each window; empty where nothing is restricted. The labels have passed
            :meth:`unknown_labels`.
        """
        raise NotImplementedError

    def forward(self, contexts: Sequence[PromptContext], embed_tokens: torch.nn.Embedding) -> torch.Tensor:
        """Return the tokens of all contexts one after another, [sum of lengths, hidden]."""
        raise NotImplementedError

    def mark_text(
        self, embeddings: torch.Tensor, marks: torch.Tensor, embed_tokens: torch.nn.Embedding
    ) -> torch.Tensor:
        """Return text embeddings [..., hidden] with marks (int64 [..., mark_columns]) worked in."""
        return embeddings

    def decoding_rules(self, contexts: Sequence[PromptContext]) -> LogitsProcessorList:
        """Return what restrains decoding, given the context of each row of the batch."""
        return LogitsProcessorList()

    def text(self, context: PromptContext, token_ids: Sequence[int]) -> str:
        """Return the text of an answer that is given as token ids."""
        text = str(
            self.tokenizer.decode(
                list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )
        for spaced, joined in CLEANED_UP if self.cleans_up_spaces else ():
            text = text.replace(spaced, joined)
        return text.strip()

    def detections(self, context: PromptContext, token_ids: Sequence[int]) -> list[Detection]:
        """Return the species that an answer, given as its token ids, names."""
        return []

    def scores(self, context: PromptContext) -> dict[str, float] | None:
        """Return the score of each candidate, best first; None without candidates."""
        return None
