"""The bundled model's adapter: each species that the encoder hears becomes a few tokens made of its words.

A class is described by the language model's own embeddings of its kind, common name, scientific name,
family and order, each passed through a small map, plus embeddings of what field a word belongs to, of
the word before it (which makes names easy to copy), of the slot and of the state of the class, and
learned features of its strength. A class has no parameters of its own, so a new one needs only words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import LogitsProcessorList, PreTrainedTokenizerBase

from NatureLM.errors import ConfigError
from NatureLM.models.adapters.base import Adapter, AudioContext
from NatureLM.models.answering import AnswerSettings, Detection
from NatureLM.models.name_rules import NameRules, answer_tokens, names_of_answer, window_names
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import (
    MAX_SLOTS,
    MAX_SPECIES,
    ClassEvidence,
    State,
    choose_classes,
    floor_logit,
    state_of_mention,
)
from NatureLM.models.vocabulary import FIELD_TAGS, NAME_END

FIELDS = ("kind", "common", "scientific", "family", "order")
"""What the words of a class are, in the order in which they are laid out."""

STRENGTHS = 3
"""Peak logit / 8, sigmoid, share of segments."""

QUERY_MARKS = 1 + 2 * len(State)
"""No mark, or one of the states for a common or a scientific name in the question."""


@dataclass(frozen=True)
class SpeciesTokens:
    """The described classes of one window, one row a token.

    Attributes
    ----------
    evidence : list of ClassEvidence
        The classes, in slot order.
    tokens : int64 [length, 5]
        Token id, id of the token before it, field, slot, state (+ 4 if the question names the class).
    strengths : float32 [length, 3]
        Non-zero at the first token of each class only.
    """

    evidence: list[ClassEvidence]
    tokens: npt.NDArray[np.int64]
    strengths: npt.NDArray[np.float32]


class SpeciesTokensAdapter(Adapter):
    """Evidence of a window -> tokens of its strongest classes.

    Parameters
    ----------
    hidden_size : int
        Width of the language model.
    answers : sequence of str
        Answers that hold every word which may be written outside names; none leaves words free.
    """

    tokenizer: PreTrainedTokenizerBase
    table: SpeciesTable

    def __init__(self, hidden_size: int, answers: Sequence[str] = ()) -> None:
        super().__init__()
        self.answers = list(answers)
        self.token_map = torch.nn.Linear(hidden_size, hidden_size, bias=False)
        self.previous_map = torch.nn.Linear(hidden_size, hidden_size, bias=False)
        self.strength_map = torch.nn.Linear(STRENGTHS, hidden_size)
        self.field_embedding = torch.nn.Embedding(len(FIELDS), hidden_size)
        self.slot_embedding = torch.nn.Embedding(MAX_SLOTS, hidden_size)
        self.state_embedding = torch.nn.Embedding(1 + 2 * len(State), hidden_size)
        self.mark_embedding = torch.nn.Embedding(QUERY_MARKS, hidden_size, padding_idx=0)
        self._class_tokens: dict[int, npt.NDArray[np.int64]] = {}

    def attach(self, tokenizer: PreTrainedTokenizerBase, table: SpeciesTable) -> None:
        """Give the adapter the tokenizer and the names that its tokens are made of."""
        self.tokenizer = tokenizer
        self.table = table
        self._class_tokens = {}
        self._words = answer_tokens(self.answers, tokenizer)

    def class_tokens(self, class_index: int) -> npt.NDArray[np.int64]:
        """Return the words of a class: int64 [length, 3] of token id, id before it, field."""
        if class_index not in self._class_tokens:
            species = self.table.species[class_index]
            vocabulary = self.tokenizer
            end = vocabulary.convert_tokens_to_ids(NAME_END)
            texts = (
                species.kind,
                species.common_name,
                species.scientific_name,
                species.family,
                species.order,
            )
            rows: list[tuple[int, int, int]] = []
            for field, (name, text) in enumerate(zip(FIELDS, texts, strict=True)):
                if not text:
                    continue
                ids = vocabulary.encode(text, add_special_tokens=False)
                if name in ("common", "scientific"):
                    ids = [*ids, end]
                tag = FIELD_TAGS["sound" if name == "common" and not species.is_animal else name]
                before = vocabulary.convert_tokens_to_ids(tag)
                for token in ids:
                    rows.append((token, before, field))
                    before = token
            self._class_tokens[class_index] = np.array(rows, dtype=np.int64)
        return self._class_tokens[class_index]

    def check(self, settings: AnswerSettings) -> None:
        """Refuse floors outside [0, 1] and more species than the model was trained with."""
        if not 0.0 <= settings.min_evidence <= 1.0:
            raise ConfigError(f"--min-evidence {settings.min_evidence:g}: expected a number from 0 to 1.")
        if not 0 <= settings.max_species <= MAX_SPECIES:
            raise ConfigError(
                f"--max-species {settings.max_species}: this model names from 0 to {MAX_SPECIES} species "
                "per window; for more, use shorter windows."
            )

    def context(self, features: Any, query: str, settings: AnswerSettings) -> AudioContext:
        """Describe a window's strongest classes for a question.

        Parameters
        ----------
        features : float32 tensor [segments, classes]
            Logits of the encoder.
        query : str
        settings : AnswerSettings
        """
        logits = np.asarray(features, dtype=np.float32)
        # Sounds have everyday names ("background noise"): as words of a question they are no species.
        mentions = [
            mention
            for mention in self.table.mentions(query)
            if self.table.species[mention.class_index].is_animal
        ]
        chosen = choose_classes(logits, self.table, mentions, settings)
        marks = []
        for mention in mentions:
            state = state_of_mention(mention, logits, chosen, self.table, settings)
            offset = len(State) if mention.form == "scientific" else 0
            marks.append((mention.start, mention.end, int(state) + offset))
        if not mentions:
            # "An owl" is answered like "a Barn Owl": by what the evidence says of any owl.
            floor = floor_logit(settings.min_evidence)
            for start, end, noun in self.table.group_mentions(query):
                heard = bool((logits[:, self.table.groups[noun]] >= floor).any())
                marks.append((start, end, int(State.PRESENT if heard else State.WEAK)))
        content = self.describe(chosen)
        return AudioContext(length=len(content.tokens), query_marks=marks, content=content)

    def describe(self, chosen: Sequence[ClassEvidence]) -> SpeciesTokens:
        """Lay out the words of the chosen classes one class after another."""
        tokens: list[npt.NDArray[np.int64]] = [np.zeros((0, 5), dtype=np.int64)]
        strengths: list[npt.NDArray[np.float32]] = [np.zeros((0, STRENGTHS), dtype=np.float32)]
        for slot, evidence in enumerate(chosen):
            words = self.class_tokens(evidence.class_index)
            rows = np.zeros((len(words), 5), dtype=np.int64)
            rows[:, :3] = words
            rows[:, 3] = slot
            rows[:, 4] = int(evidence.state) + len(State) * evidence.mentioned
            strength = np.zeros((len(words), STRENGTHS), dtype=np.float32)
            strength[0] = (evidence.peak_logit / 8.0, evidence.score, evidence.share)
            tokens.append(rows)
            strengths.append(strength)
        return SpeciesTokens(list(chosen), np.concatenate(tokens), np.concatenate(strengths))

    def forward(self, contexts: Sequence[AudioContext], embed_tokens: torch.nn.Embedding) -> torch.Tensor:
        """Return the tokens of all contexts one after another, [sum of lengths, hidden]."""
        weight = self.token_map.weight
        tokens = torch.from_numpy(np.concatenate([context.content.tokens for context in contexts]))
        strengths = torch.from_numpy(np.concatenate([context.content.strengths for context in contexts]))
        return self.embed(tokens.to(weight.device), strengths.to(weight.device, weight.dtype), embed_tokens)

    def embed(
        self, tokens: torch.Tensor, strengths: torch.Tensor, embed_tokens: torch.nn.Embedding
    ) -> torch.Tensor:
        """Return embeddings [length, hidden] of rows as :class:`SpeciesTokens` holds them."""
        token, previous, field, slot, state = tokens.unbind(-1)
        return (
            self.token_map(embed_tokens(token))
            + self.previous_map(embed_tokens(previous))
            + self.strength_map(strengths)
            + self.field_embedding(field)
            + self.slot_embedding(slot)
            + self.state_embedding(state)
        )

    def mark_text(self, embeddings: torch.Tensor, marks: torch.Tensor) -> torch.Tensor:
        """Add to the words of a class's name in the question what the evidence says of the class."""
        return embeddings + self.mark_embedding(marks)

    def decoding_rules(self, contexts: Sequence[Sequence[AudioContext]]) -> LogitsProcessorList:
        """Hold names to those of the classes that reach the floor."""
        rows = [
            window_names([e for context in row for e in context.content.evidence], self.table)
            for row in contexts
        ]
        return LogitsProcessorList([NameRules(rows, self.tokenizer, self._words)])

    def detections(self, contexts: Sequence[AudioContext], token_ids: Sequence[int]) -> list[Detection]:
        """Return the animals that an answer names by common or scientific name, with their evidence."""
        evidence = [e for context in contexts for e in context.content.evidence if e.passes]
        named = names_of_answer(token_ids, self.tokenizer)
        found: dict[int, Detection] = {}
        for form, name in named:
            for item in evidence:
                species = self.table.species[item.class_index]
                value = {"common": species.common_name, "scientific": species.scientific_name}.get(form)
                if value == name and item.class_index not in found:
                    found[item.class_index] = Detection(
                        species.common_name, species.scientific_name, round(item.score, 4)
                    )
        return list(found.values())
