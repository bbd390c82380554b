"""Answers are held to a list of labels: decoding writes one of them, or several joined by ``", "``.

Where one label is asked for, each step may choose only tokens that lead on to a label, and an end only after
a whole one. In a list of labels none comes twice, another follows only if the answer's greatest length leaves
room for it, and ``None``, where it is allowed, stands alone. Greedy search, beams and random draws choose
among the same tokens, so whatever they choose is made of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from NatureLM.errors import ConfigError
from NatureLM.models.label_trie import ROOT, TokenTrie, label_ids, tidy_labels

NONE = "None"
"""The published model's answer to a list question where nothing is heard."""

SEPARATOR = ", "
"""What the published model writes between names."""

AnswerKind = Literal["name", "list"]


class _Words:
    """Labels at one kind of place in an answer.

    Parameters
    ----------
    last, followed : sequences of sequences of int
        Token ids of each label where it ends the answer, and with its comma where another follows.

    Attributes
    ----------
    trie : TokenTrie
    last, followed : list of int
        The node at which each label is whole.
    whole : dict of int to int
        The label that may end the answer at a node.
    continued : dict of int to int
        The label after which, at a node, another begins.
    """

    def __init__(self, last: Sequence[Sequence[int]], followed: Sequence[Sequence[int]]) -> None:
        self.trie = TokenTrie.of([*last, *followed])
        nodes = self.trie.ends.tolist()
        self.last, self.followed = nodes[: len(last)], nodes[len(last) :]
        self.whole = {node: label for label, node in enumerate(self.last)}
        self.continued = {node: label for label, node in enumerate(self.followed)}
        self.leading_to_last = self._leading(self.last)
        self.leading_to_followed = self._leading(self.followed)

    def leads_on(self, node: int, written: Sequence[int], goes_on: bool) -> bool:
        """Return whether a node leads to a label that is not written yet."""
        stop = self.trie.stops[node]
        left = self.leading_to_last[node] - sum(node <= self.last[label] < stop for label in written)
        if goes_on:
            left += self.leading_to_followed[node]
            left -= sum(node <= self.followed[label] < stop for label in written)
        return bool(left > 0)

    def _leading(self, ends: Sequence[int]) -> list[int]:
        """Return for each node how many of the ends lie at it or below."""
        counts = np.cumsum(np.bincount(ends, minlength=len(self.trie) + 1)) if ends else None
        if counts is None:
            return [0] * len(self.trie)
        before = np.concatenate([[0], counts])
        found: list[int] = (before[self.trie.stops] - before[: len(self.trie)]).tolist()
        return found


@dataclass(frozen=True)
class Place:
    """Where an unfinished answer may stand.

    Attributes
    ----------
    words : _Words
    node : int
    written : tuple of int
        The labels before.
    goes_on : bool
        Whether another label may follow the one that is being written.
    """

    words: _Words
    node: int
    written: tuple[int, ...]
    goes_on: bool


class LabelChoice:
    """What an answer may say: one of the labels, or a list of them.

    Parameters
    ----------
    labels : sequence of str
        For a name, with ``None`` among them where it may be the answer.
    kind : {"name", "list"}
    tokenizer : PreTrainedTokenizerBase
    ends : set of int
        The tokens that end an answer.
    max_new_tokens : int
        Greatest length of an answer.
    none : bool
        Whether a list may be empty, written ``None``.

    Attributes
    ----------
    labels : list of str
        Tidied, each once.

    Raises
    ------
    ConfigError
        If there are no labels, some cannot be written in the model's tokens, or the longest has no room.
    """

    def __init__(
        self,
        labels: Sequence[str],
        kind: AnswerKind,
        tokenizer: PreTrainedTokenizerBase,
        ends: set[int],
        max_new_tokens: int,
        *,
        none: bool = False,
    ) -> None:
        self.labels = [label for label in tidy_labels(labels) if kind == "name" or label != NONE]
        self.ends = sorted(ends)
        self.max_new_tokens = max_new_tokens
        if not self.labels:
            raise ConfigError("The list of labels holds nothing but None; it must hold at least one name.")
        if not ends:
            raise ConfigError("The model's generation config names no eos_token_id; labels need an end.")
        last = label_ids(self.labels, tokenizer)
        self.several = len(self.labels) if kind == "list" else 1
        followed: list[list[int]] = []
        self.later = _Words([], [])
        if kind == "list":
            space, comma = SEPARATOR.lstrip(","), SEPARATOR.rstrip()
            # A comma may be one token with what is before it; a space is one with what follows.
            followed = label_ids(self.labels, tokenizer, after=comma)
            self.later = _Words(
                label_ids(self.labels, tokenizer, before=space),
                label_ids(self.labels, tokenizer, before=space, after=comma),
            )
        if kind == "list" and none:
            self.labels.append(NONE)
            last += label_ids([NONE], tokenizer)
        self.first = _Words(last, followed)
        # One more for the end.
        self.longest = 1 + max(int(words.trie.depths.max()) for words in (self.first, self.later))
        if self.longest > max_new_tokens:
            raise ConfigError(
                f"The longest label takes {self.longest} tokens, but answers have at most {max_new_tokens}; "
                "raise --max-new-tokens."
            )
        self.start = [Place(self.first, ROOT, (), self._goes_on(0, 1))]

    def follow(self, places: Sequence[Place], token: int, length: int) -> list[Place]:
        """Return where an answer may stand after one more token, its ``length``-th."""
        return [after for place in places for after in self._after(place, token, length)]

    def next_tokens(self, places: Sequence[Place]) -> list[int]:
        """Return the tokens that may come next."""
        allowed: set[int] = set()
        for place in places:
            words = place.words
            allowed.update(
                token
                for token, node in words.trie.children[place.node].items()
                if words.leads_on(node, place.written, place.goes_on)
            )
            if self._whole(place):
                allowed.update(self.ends)
        return sorted(allowed)

    def read(self, ids: Sequence[int]) -> list[str] | None:
        """Return the labels that an answer's tokens are, its end included or not; None if they are none.

        Where commas leave several ways to read a list, its text is the same in each.
        """
        places = self.start
        for length, token in enumerate(ids, 1):
            if token in self.ends:
                break
            places = self.follow(places, token, length)
        whole = next(filter(self._whole, places), None)
        if whole is None:
            return None
        return [self.labels[label] for label in (*whole.written, whole.words.whole[whole.node])]

    def _after(self, place: Place, token: int, length: int) -> list[Place]:
        words = place.words
        node = words.trie.children[place.node].get(token)
        if node is None or not words.leads_on(node, place.written, place.goes_on):
            return []
        after = [Place(words, node, place.written, place.goes_on)]
        label = words.continued.get(node)
        if label is not None and place.goes_on and label not in place.written:
            written = (*place.written, label)
            after.append(Place(self.later, ROOT, written, self._goes_on(length, len(written) + 1)))
        return after

    def _goes_on(self, length: int, labels: int) -> bool:
        """Return whether a label that begins after ``length`` tokens may be followed by another."""
        return labels < self.several and length + 2 * self.longest <= self.max_new_tokens

    def _whole(self, place: Place) -> bool:
        label = place.words.whole.get(place.node)
        return label is not None and label not in place.written


class LabelRules(LogitsProcessor):
    """Masks the logits so that each row of a batch answers by its labels.

    Parameters
    ----------
    choices : sequence of LabelChoice or None
        One for each prompt (beams share it); None leaves an answer free.
    max_new_tokens : int
        Greatest length of the answers.

    Raises
    ------
    ConfigError
        If a choice was made for longer answers.
    """

    def __init__(self, choices: Sequence[LabelChoice | None], max_new_tokens: int) -> None:
        for choice in choices:
            if choice is not None and choice.max_new_tokens > max_new_tokens:
                raise ConfigError(
                    f"The labels were prepared for answers of {choice.max_new_tokens} tokens, but answers "
                    f"have at most {max_new_tokens}; raise --max-new-tokens."
                )
        self.choices = choices
        self.places: dict[tuple[int, tuple[int, ...]], list[Place]] = {}
        """Where the answers of the last step may stand, by prompt and tokens: beams change rows."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores [rows, vocabulary] with what may not follow set to minus infinity."""
        beams = scores.shape[0] // len(self.choices)
        held = scores.clone()
        places: dict[tuple[int, tuple[int, ...]], list[Place]] = {}
        for position, ids in enumerate(input_ids.tolist()):
            prompt, written = position // beams, tuple(ids)
            choice = self.choices[prompt]
            if choice is None:
                continue
            before = self.places.get((prompt, written[:-1]), [])
            found = choice.follow(before, ids[-1], len(ids)) if ids else choice.start
            places[prompt, written] = found
            # Nothing may follow in rows that have ended, and in those that a search has already given up.
            if allowed := choice.next_tokens(found):
                held[position] = -torch.inf
                held[position, allowed] = scores[position, allowed]
        self.places = places
        return held
