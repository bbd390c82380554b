"""Answers are held to the classes that the evidence supports.

An answer names a class by a tag that says what kind of name it wants and the slot of the class, such as
``<common><slot_2>``; the name itself is written by the program. Decoding follows these rules, whatever the
language model would rather write:

- after a tag, only the slot of a class that reaches the floor and has such a name, none twice, and in order
  of evidence; after ``A (``, or ``A`` and a space, the slot of the same class;
- a tag, or a comma or "and" or "with", only where something is left to be named, and no name right after
  another; a bracket closes only where one is open;
- after each word, and after a name, only what follows there in the answers that the model's config lists, so
  that no answer breaks off in mid-sentence or goes on as another;
- a list that names the strongest and the next ones in order names all, unless the question says how many;
- a caption enumerates all animals of its recording: commas, and "and" before the last;
- that it cannot tell, the model says only where it is surer of it than the model's config asks for.

So a name is never invented, garbled or paired with another's. Two species of a list may share a genus,
family, order or kind; whoever writes the names out leaves the second out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from NatureLM.models.species import Species
from NatureLM.models.vocabulary import FIELD_TAGS, MAX_SLOTS, SLOTS, UNKNOWN

SAME_CLASS_SEPARATORS = (" ", " (")
"""What stands between two names of one class: ranks in a row, or a second name in brackets."""


PLAIN_LIST = 2
"""Names in order of evidence after which a list is taken for one of all species."""

CAPTION_START = "A recording of"

START, NAMED = -1, -2
"""Where an answer begins, and where a name has just been given, in place of the token before."""

NUMBERS = {
    "two": 2,
    "pair": 2,
    "couple": 2,
    "both": 2,
    "duo": 2,
    "three": 3,
    "trio": 3,
    "few": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
}
"""Words by which a question may say how many names it asks for."""


@dataclass(frozen=True)
class NamedSlot:
    """A place that an answer may point at.

    Attributes
    ----------
    slot : int
    names : dict of str to str
        The names of its class by form.
    spoken_of : bool
        Whether the question or an answer before it speaks of the class.
    """

    slot: int
    names: dict[str, str]
    spoken_of: bool = False

    @classmethod
    def of(cls, slot: int, species: Species, spoken_of: bool = False) -> NamedSlot:
        """Return the slot of a class with the names that the class has."""
        if not species.is_animal:
            return cls(slot, {"sound": species.common_name}, spoken_of)
        return cls(
            slot,
            {
                "common": species.common_name,
                "scientific": species.scientific_name,
                "genus": species.genus,
                "family": species.family,
                "order": species.order,
                "kind": species.kind,
            },
            spoken_of,
        )

    @property
    def recording(self) -> int:
        """Number of the recording, from 0."""
        return self.slot // MAX_SLOTS


@dataclass(frozen=True)
class AnswerTokens:
    """Token ids that the rules and the reading of answers need."""

    tags: dict[int, str]
    slots: dict[int, int]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> AnswerTokens:
        """Look the tokens up."""
        look_up = tokenizer.convert_tokens_to_ids
        return cls(
            {look_up(tag): form for form, tag in FIELD_TAGS.items()},
            {look_up(slot): number for number, slot in enumerate(SLOTS)},
        )


@dataclass
class Written:
    """What an answer holds so far.

    Attributes
    ----------
    given : list of (str, int)
        Form and slot of each name.
    between : tuple of int
        Token ids since the last name.
    form : str
        Form of a name whose slot is to follow; empty elsewhere.
    """

    given: list[tuple[str, int]] = field(default_factory=list)
    between: tuple[int, ...] = ()
    form: str = ""


def read_answer(ids: Sequence[int], tokens: AnswerTokens) -> Written:
    """Return what the token ids of an unfinished answer hold."""
    written = Written()
    for token in ids:
        if token in tokens.tags:
            written.form = tokens.tags[token]
        elif token in tokens.slots and written.form:
            written.given.append((written.form, tokens.slots[token]))
            written.form, written.between = "", ()
        else:
            written.between += (token,)
    return written


def tokens_that_follow(
    answers: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> dict[int, frozenset[int]]:
    """Return which tokens come next in the answers given as examples.

    Returns
    -------
    dict of int to frozenset of int
        For each token outside names, for ``START`` and for ``NAMED`` (after a name), the tokens that follow
        it somewhere, the end of an answer included. What follows one digit may follow any, and where there
        is a digit or a tag, any may stand.
    """
    tokens = AnswerTokens.of(tokenizer)
    digits = {tokenizer.convert_tokens_to_ids(digit) for digit in "0123456789"}
    alike = {token: group for group in (digits, set(tokens.tags)) for token in group}
    found: dict[int, set[int]] = {}
    for text in answers:
        before = START
        for token in (*tokenizer.encode(text, add_special_tokens=False), int(tokenizer.eos_token_id)):
            if token not in tokens.slots:
                for one in digits if before in digits else (before,):
                    found.setdefault(one, set()).update(alike.get(token, {token}))
            before = NAMED if token in tokens.slots else token
    return {before: frozenset(after) for before, after in found.items() if before not in tokens.tags}


def numbers_in(question: str) -> frozenset[int]:
    """Return the numbers that a question names, in figures or words."""
    words = re.findall(r"[a-z]+|\d+", question.lower())
    return frozenset(int(word) if word.isdecimal() else NUMBERS.get(word, 0) for word in words) - {0}


class SlotRules(LogitsProcessor):
    """Masks the logits so that answers keep to the rules at the head of this module.

    Parameters
    ----------
    rows : sequence of sequences of NamedSlot
        The classes that may be named, in slot order, one list per row of the batch (beams share it).
    tokenizer : PreTrainedTokenizerBase
    following : mapping of int to frozenset of int
        As :func:`tokens_that_follow` returns it; empty leaves words free.
    numbers : sequence of frozenset of int or None, optional
        The numbers that the question of each row names; None where a list may end at any, as about two
        recordings.
    decline_floor : float, optional
        Probability in [0, 1] of beginning with the first word of "I cannot tell from this model." below which
        an answer begins otherwise.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[NamedSlot]],
        tokenizer: PreTrainedTokenizerBase,
        following: Mapping[int, frozenset[int]] = MappingProxyType({}),
        numbers: Sequence[frozenset[int] | None] = (),
        decline_floor: float = 0.0,
    ) -> None:
        self.rows = rows
        self.numbers: Sequence[frozenset[int] | None] = numbers or [frozenset()] * len(rows)
        self.tokens = AnswerTokens.of(tokenizer)
        self.slot_ids = {number: token for token, number in self.tokens.slots.items()}
        self.following = following
        self.decline_floor = decline_floor
        self.decline = tokenizer.encode(UNKNOWN, add_special_tokens=False)[0]
        self.end = int(tokenizer.eos_token_id)
        words = frozenset().union(*following.values()) or (
            frozenset(range(len(tokenizer))) - set(tokenizer.all_special_ids)
        )
        self.outside = sorted(words | set(self.tokens.tags) | {self.end})
        self.stops = {self.end, *tokenizer.encode(".", add_special_tokens=False)}
        self.same_class = {
            tuple(tokenizer.encode(text, add_special_tokens=False)) for text in SAME_CLASS_SEPARATORS
        }
        written = dict(zip(self.outside, tokenizer.convert_ids_to_tokens(self.outside), strict=True))
        # In byte-level BPE a token that begins a word in mid-sentence starts with a (written) space.
        self.continuations = {
            token for token, text in written.items() if "," in text or text in ("Ġand", "Ġwith")
        }
        self.ands = {token for token, text in written.items() if text == "Ġand"}
        self.commas = {token for token, text in written.items() if text == ","}
        self.caption = tuple(tokenizer.encode(CAPTION_START, add_special_tokens=False))
        self.openers = {token for token, text in written.items() if "(" in text}
        self.closers = {token for token, text in written.items() if ")" in text}

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores [rows, vocabulary] with what may not follow set to minus infinity."""
        beams = scores.shape[0] // len(self.rows)
        held = torch.full_like(scores, float("-inf"))
        for position, ids in enumerate(input_ids.tolist()):
            row = position // beams
            allowed = self.next_tokens(ids, self.rows[row], self.numbers[row])
            held[position, allowed] = scores[position, allowed]
            if not ids and scores[position].softmax(-1)[self.decline] < self.decline_floor:
                held[position, self.decline] = float("-inf")
        return held

    def next_tokens(
        self, ids: Sequence[int], named: Sequence[NamedSlot], numbers: frozenset[int] | None = frozenset()
    ) -> list[int]:
        """Return the tokens that may follow ``ids``."""
        written = read_answer(ids, self.tokens)
        if written.form:
            return [self.slot_ids[slot] for slot in self._next_slots(written, written.form, named)]
        blocked = {
            tag for tag, form in self.tokens.tags.items() if not self._next_slots(written, form, named)
        }
        named_last = bool(written.given) and not written.between
        if named_last:
            blocked = set(self.tokens.tags)
        if sum(token in self.openers for token in ids) <= sum(token in self.closers for token in ids):
            blocked |= self.closers
        if written.given and not any(
            self._next_slots(written, form, named) for form in {written.given[-1][0], "common", "sound"}
        ):
            blocked |= self.continuations
        if self._cut_short(written, named, numbers):
            blocked = blocked | self.stops
        if tuple(ids[: len(self.caption)]) == self.caption:
            blocked = blocked | self._not_in_caption(written, named)
        if self.following:
            last = NAMED if named_last else ids[-1] if ids else START
            blocked = blocked | (set(self.outside) - self.following.get(last, frozenset()))
        return [token for token in self.outside if token not in blocked] or [self.end]

    def _not_in_caption(self, written: Written, named: Sequence[NamedSlot]) -> set[int]:
        """Return what may not follow an animal of a caption, by how many of its recording are left."""
        if not written.given or written.between or written.given[-1][0] == "sound":
            return set()
        form, last = written.given[-1]
        left = [
            item
            for item in named
            if form in item.names and item.slot > last and item.recording == last // MAX_SLOTS
        ]
        if not left:
            return self.ands
        return set(self.outside) - (self.ands if len(left) == 1 else self.commas)

    def _cut_short(
        self, written: Written, named: Sequence[NamedSlot], numbers: frozenset[int] | None
    ) -> bool:
        """Tell whether an answer about one recording lists the strongest, but not all of them."""
        if numbers is None or not written.given or any(item.spoken_of for item in named):
            return False
        form = written.given[0][0]
        listed = [slot for past, slot in written.given if past == form]
        strongest = [item.slot for item in named if form in item.names][: len(listed)]
        plain = len(listed) >= PLAIN_LIST and listed == strongest and len(listed) not in numbers
        return plain and bool(self._next_slots(written, form, named))

    def _next_slots(self, written: Written, form: str, named: Sequence[NamedSlot]) -> list[int]:
        """Return the slots that may come next in a form, in their order."""
        if not written.given:
            return [item.slot for item in named if form in item.names]
        last = written.given[-1][1]
        if written.between in self.same_class:
            again = (form, last) in written.given
            return [item.slot for item in named if item.slot == last and form in item.names and not again]
        return [item.slot for item in named if form in item.names and item.slot > last]
