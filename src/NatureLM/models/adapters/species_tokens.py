"""The bundled model's adapter: each class that the encoder hears becomes a token that answers can point at.

A class is described by its kind, its state, its strength, how it is related to the stronger ones, and
whether the question or the last answer speaks of it. It has no parameters of its own, so a new class needs
only a row in the table. Names in a question stand as one token each, which carries what the evidence says
of them, so that the language model never has to spell a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import LogitsProcessorList, PreTrainedTokenizerBase

from NatureLM.errors import ConfigError
from NatureLM.models.adapters.base import Adapter, Mark, PromptContext
from NatureLM.models.answering import AnswerSettings, Candidates, Detection
from NatureLM.models.candidate_classes import CandidateFinder, candidate_scores
from NatureLM.models.concepts import Concept, ConceptFinder, ConceptType
from NatureLM.models.slot_rules import (
    AnswerTokens,
    NamedSlot,
    SlotRules,
    numbers_in,
    read_answer,
    tokens_that_follow,
)
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import (
    MAX_SPECIES,
    ClassEvidence,
    State,
    choose_classes,
    pooled_logits,
    restricted,
    state_of_concept,
)
from NatureLM.models.vocabulary import MAX_RECORDINGS, MAX_SLOTS, NAME, SLOTS

KINDS = ("bird", "frog", "insect", "mammal", "sound")

RANKS = ("genus", "family", "order", "kind")

FEATURES = (
    "logit / 8",
    "sigmoid of the logit",
    "share of segments",
    *(f"first of its {rank}" for rank in RANKS),
    "in the other recording too",
    "strongest of the other recording",
    "named in the question",
    "of a group in the question",
    "named in the last answer",
    "named in any answer",
)
"""What a class's features say, in their order."""

SPOKEN_OF = FEATURES.index("named in the question")
"""From here on, features say whether the question or an answer speaks of the class."""

NAMED_LAST = FEATURES.index("named in the last answer")
NAMED_BEFORE = FEATURES.index("named in any answer")

CLASS_COLUMNS = 3
"""Slot (counted over the recordings), kind, state."""

MARK_COLUMNS = 1 + 2 * MAX_RECORDINGS
"""Concept type; for each recording its state there, and 1 + the slot it has there (0 for none)."""

SPECIES_NAMES = (ConceptType.COMMON, ConceptType.SCIENTIFIC)
"""Concepts that are one species."""

COLLAPSED = (*SPECIES_NAMES, ConceptType.TAXON)
"""Concepts for which the token ``<name>`` stands; the words of others are kept."""


@dataclass(frozen=True)
class SpeciesTokens:
    """The described classes of a prompt's windows, one row a class.

    Attributes
    ----------
    evidence : list of lists of ClassEvidence
        The classes of each window, in slot order.
    classes : int64 [count, 3]
        Slot, kind, state.
    features : float32 [count, 13]
        As ``FEATURES`` lists them.
    numbers : frozenset of int
        The numbers that the question names.
    scores : dict of str to float, or None
        With candidates, the score of each.
    """

    evidence: list[list[ClassEvidence]]
    classes: npt.NDArray[np.int64]
    features: npt.NDArray[np.float32]
    numbers: frozenset[int] = frozenset()
    scores: dict[str, float] | None = None


class SpeciesTokensAdapter(Adapter):
    """Evidence of windows -> a token for each of their strongest classes.

    Parameters
    ----------
    hidden_size : int
        Width of the language model.
    answers : sequence of str
        Answers that hold every pair of words which may follow each other outside names; none leaves words
        free.
    decline_floor : float
        Probability in [0, 1] that the language model must give to "I cannot tell from this model." (to its
        first word) to answer so; what it is less sure to be outside its knowledge it answers.
    """

    mark_columns = MARK_COLUMNS
    names_classes = True
    has_evidence_floor = True
    declined_tasks = frozenset({"call type", "life stage", "number of birds"})

    table: SpeciesTable
    finder: ConceptFinder
    candidates: CandidateFinder

    def __init__(self, hidden_size: int, answers: Sequence[str] = (), decline_floor: float = 0.0) -> None:
        super().__init__()
        self.answers = list(answers)
        self.decline_floor = decline_floor
        self.feature_map = torch.nn.Linear(len(FEATURES), hidden_size)
        self.kind_embedding = torch.nn.Embedding(len(KINDS), hidden_size)
        self.state_embedding = torch.nn.Embedding(1 + len(State), hidden_size)
        self.recording_embedding = torch.nn.Embedding(MAX_RECORDINGS, hidden_size)
        self.mark_type_embedding = torch.nn.Embedding(1 + len(ConceptType), hidden_size, padding_idx=0)
        self.mark_state_embedding = torch.nn.Embedding(
            MAX_RECORDINGS * (1 + len(State)), hidden_size, padding_idx=0
        )
        self.mark_slot_map = torch.nn.Linear(hidden_size, hidden_size, bias=False)

    def attach(self, tokenizer: PreTrainedTokenizerBase, table: SpeciesTable) -> None:
        """Give the adapter the tokenizer and the names of the classes."""
        super().attach(tokenizer, table)
        self.table = table
        self.finder = ConceptFinder(table)
        self.candidates = CandidateFinder(table)
        self._tokens = AnswerTokens.of(tokenizer)
        self._following = tokens_that_follow(self.answers, tokenizer)
        self._first_slot = int(tokenizer.convert_tokens_to_ids(SLOTS[0]))

    def check(self, settings: AnswerSettings) -> None:
        """Refuse floors outside [0, 1] and more species than the model was trained with."""
        if not 0.0 <= settings.min_evidence <= 1.0:
            raise ConfigError(f"--min-evidence {settings.min_evidence:g}: expected a number from 0 to 1.")
        if not 0 <= settings.max_species <= MAX_SPECIES:
            raise ConfigError(
                f"--max-species {settings.max_species}: this model names from 0 to {MAX_SPECIES} species "
                "per window; for more, use shorter windows."
            )

    def unknown_labels(self, labels: Sequence[str]) -> dict[str, str]:
        """Return which labels name no class, each with the nearest name that does."""
        return self.candidates.unknown(labels)

    def check_recordings(self, count: int) -> None:
        """Refuse more recordings in one question than the model was trained to compare."""
        if count > MAX_RECORDINGS:
            raise ConfigError(
                f"{count} recordings in one question: this model compares at most {MAX_RECORDINGS}; "
                "ask about fewer."
            )

    def context(
        self,
        features: Sequence[Any],
        texts: Sequence[str],
        settings: AnswerSettings,
        candidates: Sequence[Candidates] = (),
    ) -> PromptContext:
        """Describe the strongest classes of one window or two for a conversation about them.

        Parameters
        ----------
        features : sequence of float32 tensors [segments, classes]
            Logits of the encoder, window by window.
        texts : sequence of str
            Question, answer, question, ...: the last is the question to be answered.
        settings : AnswerSettings
        candidates : sequence of Candidates
            What may be named of each window: all other classes are as if the encoder did not have them.

        Raises
        ------
        ConfigError
            If there are more windows than one prompt can hold.
        """
        self.check_recordings(len(features))
        concepts = [self.finder.find(text, genera=place % 2 == 1) for place, text in enumerate(texts)]
        spoken_of = [concept for found in concepts for concept in found]
        windows = [np.asarray(window, dtype=np.float32) for window in features]
        allowed = [self.candidates.classes(one) for one in candidates]
        if allowed:
            windows = [restricted(window, one.classes) for window, one in zip(windows, allowed, strict=True)]
        chosen = [choose_classes(window, self.table, spoken_of, settings) for window in windows]
        pooled = [pooled_logits(window) for window in windows]
        marks = [[self._mark(concept, pooled, chosen, settings) for concept in found] for found in concepts]
        question = concepts[-1] if concepts else []
        answers = [found_in_answer(texts, concepts, place) for place in range(1, len(texts), 2)]
        content = self.describe(chosen, question, answers)
        asked = texts[-1] if texts else ""
        scores = candidate_scores(pooled, allowed, asked, settings) if allowed else None
        content = replace(content, numbers=numbers_in(asked), scores=scores)
        return PromptContext([len(window) for window in chosen], marks, content)

    def _mark(
        self,
        concept: Concept,
        pooled: Sequence[npt.NDArray[np.float32]],
        chosen: Sequence[Sequence[ClassEvidence]],
        settings: AnswerSettings,
    ) -> Mark:
        """Return what the evidence says of something that a text speaks of."""
        content = [int(concept.type)]
        members = set(concept.classes)
        for recording in range(MAX_RECORDINGS):
            state, place = 0, 0
            if recording < len(chosen):
                state = int(state_of_concept(concept, pooled[recording], chosen[recording], settings))
                places = (slot for slot, e in enumerate(chosen[recording]) if e.class_index in members)
                slot = next(places, None)
                place = 0 if slot is None else 1 + recording * MAX_SLOTS + slot
            content += [state, place]
        token = NAME if concept.type in COLLAPSED else None
        return Mark(concept.start, concept.end, tuple(content), token)

    def describe(
        self,
        chosen: Sequence[Sequence[ClassEvidence]],
        question: Sequence[Concept] = (),
        answers: Sequence[Sequence[Concept]] = (),
    ) -> SpeciesTokens:
        """Lay out the chosen classes of each window.

        Parameters
        ----------
        chosen : sequence of sequences of ClassEvidence
        question : sequence of Concept
            What the question speaks of.
        answers : sequence of sequences of Concept
            What each of the answers before it speaks of.
        """
        named = {concept.classes[0] for concept in question if concept.type in SPECIES_NAMES}
        grouped = {
            index
            for concept in question
            if concept.type not in (*SPECIES_NAMES, ConceptType.SOUND)
            for index in concept.classes
        }
        shown = [item.class_index for evidence in chosen for item in evidence]
        last_answered: set[int] = set()
        ever_answered: set[int] = set()
        for answer in answers:
            last_answered = classes_answered(answer, shown, ever_answered)
            ever_answered |= last_answered
        classes, features = [], []
        for recording, evidence in enumerate(chosen):
            others = [item for other, items in enumerate(chosen) if other != recording for item in items]
            elsewhere = {item.class_index for item in others}
            strongest_elsewhere = {item.class_index for item in others if item.state is State.FOCAL}
            seen: set[tuple[str, str]] = set()
            for slot, item in enumerate(evidence):
                index, species = item.class_index, self.table.species[item.class_index]
                ranks = [(rank, getattr(species, rank)) for rank in RANKS]
                classes.append((recording * MAX_SLOTS + slot, KINDS.index(species.kind), int(item.state)))
                features.append(
                    (
                        item.logit / 8.0,
                        item.score,
                        item.share,
                        *(rank not in seen for rank in ranks),
                        index in elsewhere,
                        index in strongest_elsewhere,
                        index in named,
                        index in grouped,
                        index in last_answered,
                        index in ever_answered,
                    )
                )
                seen |= set(ranks)
        return SpeciesTokens(
            [list(evidence) for evidence in chosen],
            np.array(classes, dtype=np.int64).reshape(-1, CLASS_COLUMNS),
            np.array(features, dtype=np.float32).reshape(-1, len(FEATURES)),
        )

    def forward(self, contexts: Sequence[PromptContext], embed_tokens: torch.nn.Embedding) -> torch.Tensor:
        """Return the tokens of all contexts one after another, [sum of lengths, hidden]."""
        weight = self.feature_map.weight
        classes = torch.from_numpy(np.concatenate([context.content.classes for context in contexts]))
        features = torch.from_numpy(np.concatenate([context.content.features for context in contexts]))
        return self.embed(classes.to(weight.device), features.to(weight.device, weight.dtype), embed_tokens)

    def embed(
        self, classes: torch.Tensor, features: torch.Tensor, embed_tokens: torch.nn.Embedding
    ) -> torch.Tensor:
        """Return embeddings [count, hidden] of rows as :class:`SpeciesTokens` holds them."""
        slot, kind, state = classes.unbind(-1)
        return (
            embed_tokens(slot + self._first_slot)
            + self.feature_map(features)
            + self.kind_embedding(kind)
            + self.state_embedding(state)
            + self.recording_embedding(torch.div(slot, MAX_SLOTS, rounding_mode="floor"))
        )

    def mark_text(
        self, embeddings: torch.Tensor, marks: torch.Tensor, embed_tokens: torch.nn.Embedding
    ) -> torch.Tensor:
        """Add to the words of a text what the evidence says of what they mean."""
        marked = embeddings + self.mark_type_embedding(marks[..., 0])
        for recording in range(MAX_RECORDINGS):
            state, place = marks[..., 1 + 2 * recording], marks[..., 2 + 2 * recording]
            offset = torch.where(state > 0, recording * (1 + len(State)), 0)
            marked = marked + self.mark_state_embedding(state + offset)
            slot = self.mark_slot_map(embed_tokens((place - 1).clamp(min=0) + self._first_slot))
            marked = marked + slot * (place > 0)[..., None]
        return marked

    def named_slots(self, context: PromptContext) -> list[NamedSlot]:
        """Return the slots that an answer may point at, with the names of their classes."""
        evidence = [
            (recording * MAX_SLOTS + slot, item)
            for recording, items in enumerate(context.content.evidence)
            for slot, item in enumerate(items)
        ]
        spoken_of = context.content.features[:, SPOKEN_OF:].any(axis=1)
        return [
            NamedSlot.of(slot, self.table.species[item.class_index], bool(spoken))
            for (slot, item), spoken in zip(evidence, spoken_of, strict=True)
        ]

    def decoding_rules(self, contexts: Sequence[PromptContext]) -> LogitsProcessorList:
        """Hold names to those of the classes that reach the floor."""
        rows = [self.named_slots(context) for context in contexts]
        numbers = [context.content.numbers if len(context.lengths) == 1 else None for context in contexts]
        rules = SlotRules(rows, self.tokenizer, self._following, numbers, self.decline_floor)
        return LogitsProcessorList([rules])

    def text(self, context: PromptContext, token_ids: Sequence[int]) -> str:
        """Return an answer with the names that it points at."""
        names = {item.slot: item.names for item in self.named_slots(context)}
        special = set(self.tokenizer.all_special_ids)
        parts: list[str] = []
        listed: set[str] = set()
        words: list[int] = []
        form = ""
        for token in token_ids:
            slot = self._tokens.slots.get(token)
            if slot is not None:
                between, name = self.tokenizer.decode(words), names.get(slot, {}).get(form, "")
                # A list holds the family of two species, or a species of both recordings, once.
                if between != ", " or name not in listed:
                    parts += [between, name]
                listed.add(name)
                words, form = [], ""
            elif token in self._tokens.tags:
                form = self._tokens.tags[token]
            elif token not in special:
                words.append(token)
        return "".join([*parts, self.tokenizer.decode(words)]).strip()

    def detections(self, context: PromptContext, token_ids: Sequence[int]) -> list[Detection]:
        """Return the animals that an answer names by common or scientific name, with their evidence."""
        evidence = {
            recording * MAX_SLOTS + slot: item
            for recording, items in enumerate(context.content.evidence)
            for slot, item in enumerate(items)
        }
        found: dict[int, Detection] = {}
        for form, slot in read_answer(token_ids, self._tokens).given:
            if form in ("common", "scientific") and slot in evidence:
                item = evidence[slot]
                species = self.table.species[item.class_index]
                found.setdefault(slot, Detection(species.common_name, species.scientific_name, item.score))
        return list(found.values())

    def scores(self, context: PromptContext) -> dict[str, float] | None:
        """Return the score of each candidate, best first; None without candidates."""
        scores: dict[str, float] | None = context.content.scores
        return scores


def found_in_answer(
    texts: Sequence[str], concepts: Sequence[Sequence[Concept]], place: int
) -> Sequence[Concept]:
    """Return what the answer at a place of a conversation speaks of: with a Yes, the species asked about."""
    if texts[place].strip().lower() != "yes":
        return concepts[place]
    return [concept for concept in concepts[place - 1] if concept.type in SPECIES_NAMES]


def classes_answered(answer: Sequence[Concept], shown: Sequence[int], before: set[int]) -> set[int]:
    """Return the classes that an answer names.

    A taxon or kind stands for those of its classes that were named before, or else for the strongest.
    """
    answered = {concept.classes[0] for concept in answer if concept.type in SPECIES_NAMES}
    for concept in answer:
        if concept.type in (ConceptType.TAXON, ConceptType.KIND):
            members = set(concept.classes)
            meant = [index for index in shown if index in members]
            answered |= members & before & set(meant) or set(meant[:1])
    return answered
