"""Names in answers are held to the names that the window's evidence supports.

An answer writes every name between an opening tag that says what kind of name it is and ``</name>``.
Decoding follows these rules, whatever the language model would rather write:

- inside a name, only a name of a class that reaches the floor, none twice, the strongest first (within each
  kind of animal, so that "which frogs ...?" may pass over the birds);
- after a name in the form ``A (``, or ``A`` and a space, a name of the same class; after a comma or "and",
  a name of the same form;
- an answer that has named two of a kind names all of that kind before it ends, and does not go on when
  nothing is left to be named;
- outside names, only the words that the model's config lists as those of its answers, and after a name none
  that begins an answer ("Yes").

So a name is never invented, repeated or paired with another's, and an enumeration is never cut short.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import ClassEvidence
from NatureLM.models.vocabulary import FIELD_TAGS, NAME_END

SAME_CLASS_SEPARATORS = (" ", " (")
"""What stands between two names of one class: ranks in a row, or a second name in brackets."""

SAME_FORM_SEPARATORS = (", ", " and ", "), ", ") and ")
"""What stands between the names of an enumeration."""


@dataclass(frozen=True)
class ClassNames:
    """The names by which an answer may call one class.

    Attributes
    ----------
    kind : str
        Kind of animal, or "sound".
    forms : dict of str to str
        The name in each form (a key of ``FIELD_TAGS``) that the class has.
    """

    kind: str
    forms: dict[str, str]


def window_names(evidence: Iterable[ClassEvidence], table: SpeciesTable) -> list[ClassNames]:
    """Return the names of the classes that reach the floor, strongest first."""
    names = []
    for item in evidence:
        if not item.passes:
            continue
        species = table.species[item.class_index]
        forms = {"sound": species.common_name}
        if species.is_animal:
            forms = {
                "common": species.common_name,
                "scientific": species.scientific_name,
                "genus": species.genus,
                "family": species.family,
                "order": species.order,
                "kind": species.kind,
            }
        names.append(ClassNames(species.kind, forms))
    return names


def names_of_answer(token_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[tuple[str, str]]:
    """Return the names in an answer's tokens as (form, name), in their order."""
    forms = {tokenizer.convert_tokens_to_ids(tag): form for form, tag in FIELD_TAGS.items()}
    written = read_answer(token_ids, forms, tokenizer.convert_tokens_to_ids(NAME_END))
    return [(form, tokenizer.decode(list(ids[:-1]))) for form, ids in written.given]


def answer_tokens(answers: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the tokens that stand outside names in the answers given as examples."""
    special = set(tokenizer.all_special_ids)
    ids = {token for text in answers for token in tokenizer.encode(text, add_special_tokens=False)}
    return frozenset(ids - special)


@dataclass
class Written:
    """What an answer holds so far.

    Attributes
    ----------
    given : list of (str, tuple of int)
        Form and token ids (``</name>`` included) of each finished name.
    separators : list of tuple of int
        Token ids before each finished name.
    between : tuple of int
        Token ids between the last finished name and the open one (or the end).
    form : str
        Form of the open name; empty outside names.
    prefix : tuple of int
        Token ids of the open name.
    """

    given: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    separators: list[tuple[int, ...]] = field(default_factory=list)
    between: tuple[int, ...] = ()
    form: str = ""
    prefix: tuple[int, ...] = ()


def read_answer(ids: Sequence[int], tags: dict[int, str], end: int) -> Written:
    """Return what the token ids of an unfinished answer hold."""
    written = Written()
    for token in ids:
        if token in tags:
            written.form, written.prefix = tags[token], ()
        elif not written.form:
            written.between += (token,)
        elif token == end:
            written.given.append((written.form, (*written.prefix, end)))
            written.separators.append(written.between)
            written.form, written.prefix, written.between = "", (), ()
        else:
            written.prefix += (token,)
    return written


@dataclass(frozen=True)
class _ClassTokens:
    kind: str
    forms: dict[str, tuple[int, ...]]


class NameRules(LogitsProcessor):
    """Masks the logits so that answers keep to the rules at the head of this module.

    Parameters
    ----------
    rows : list of lists of ClassNames
        The classes that may be named, strongest first, one list per row of the batch (beams share it).
    tokenizer : PreTrainedTokenizerBase
    words : frozenset of int
        The tokens that may stand outside names; empty leaves words free.
    """

    def __init__(
        self,
        rows: list[list[ClassNames]],
        tokenizer: PreTrainedTokenizerBase,
        words: frozenset[int] = frozenset(),
    ) -> None:
        self.end = tokenizer.convert_tokens_to_ids(NAME_END)
        self.tags = {tokenizer.convert_tokens_to_ids(tag): form for form, tag in FIELD_TAGS.items()}
        free = words or frozenset(range(len(tokenizer))) - set(tokenizer.all_special_ids)
        self.outside = sorted(free | set(self.tags) | {int(tokenizer.eos_token_id)})
        self.stops = {int(tokenizer.eos_token_id), *tokenizer.encode(".", add_special_tokens=False)}
        self.same_class = {
            tuple(tokenizer.encode(text, add_special_tokens=False)) for text in SAME_CLASS_SEPARATORS
        }
        self.same_form = {
            tuple(tokenizer.encode(text, add_special_tokens=False)) for text in SAME_FORM_SEPARATORS
        }
        texts = tokenizer.convert_ids_to_tokens(self.outside)
        # In byte-level BPE a token that begins a word in mid-sentence starts with a (written) space.
        self.continuations = {
            token
            for token, text in zip(self.outside, texts, strict=True)
            if "," in text or text in ("Ġand", "Ġwith")
        }
        self.word_starts = {
            token
            for token, text in zip(self.outside, texts, strict=True)
            if text[0].isalnum() and text[0] != "Ġ"
        }
        self.letters = {
            token
            for token, text in zip(self.outside, texts, strict=True)
            if text[-1].isalnum() and text != "Ġ"
        }
        self.rows = [
            [
                _ClassTokens(
                    names.kind,
                    {
                        form: (*tokenizer.encode(name, add_special_tokens=False), self.end)
                        for form, name in names.forms.items()
                    },
                )
                for names in row
            ]
            for row in rows
        ]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores [rows, vocabulary] with what may not follow set to minus infinity."""
        beams = scores.shape[0] // len(self.rows)
        held = torch.full_like(scores, float("-inf"))
        for position, ids in enumerate(input_ids.tolist()):
            allowed = self.next_tokens(ids, self.rows[position // beams])
            held[position, allowed] = scores[position, allowed]
        return held

    def next_tokens(self, ids: Sequence[int], classes: Sequence[_ClassTokens]) -> list[int]:
        """Return the tokens that may follow ``ids``."""
        written = read_answer(ids, self.tags, self.end)
        if written.form:
            depth = len(written.prefix)
            follow = {
                name[depth]
                for name in self._next_names(written, written.form, classes)
                if name[:depth] == written.prefix
            }
            return sorted(follow)
        spent = {tag for tag, form in self.tags.items() if not self._next_names(written, form, classes)}
        blocked = spent | self.stops if self._unfinished(written, classes) else spent
        if written.given and (not written.between or written.between[-1] not in self.letters):
            blocked = blocked | self.word_starts
        if written.given and not self._more_to_name(written, classes):
            blocked = blocked | self.continuations
        return [token for token in self.outside if token not in blocked]

    def _next_names(
        self, written: Written, form: str, classes: Sequence[_ClassTokens]
    ) -> set[tuple[int, ...]]:
        """Return the names of a form that may come next: of each kind the strongest not given yet."""
        given = set(written.given)
        if written.given and written.between in self.same_class:
            last_form, last_name = written.given[-1]
            same = [item.forms.get(form) for item in classes if item.forms.get(last_form) == last_name]
            return {name for name in same if name is not None and (form, name) not in given}
        if written.given and written.between in self.same_form and form != self._head_form(written):
            return set()
        first: dict[str, tuple[int, ...]] = {}
        for item in classes:
            name = item.forms.get(form)
            if name is not None and (form, name) not in given:
                first.setdefault(item.kind, name)
        return set(first.values())

    def _head_form(self, written: Written) -> str:
        """Return the form of the last name that stands for itself, not in brackets behind another."""
        for (form, _), separator in zip(reversed(written.given), reversed(written.separators), strict=True):
            if separator not in self.same_class:
                return form
        return ""

    def _more_to_name(self, written: Written, classes: Sequence[_ClassTokens]) -> bool:
        """Tell whether a name in the enumeration's form, or another sound, is left to be given."""
        given = set(written.given)
        forms = {self._head_form(written), "sound"}
        return any(
            (form, item.forms[form]) not in given for item in classes for form in forms & item.forms.keys()
        )

    def _unfinished(self, written: Written, classes: Sequence[_ClassTokens]) -> bool:
        """Tell whether the answer has named two of a kind, but not all of that kind."""
        given = set(written.given)
        for form in {form for form, _ in written.given}:
            for kind in {item.kind for item in classes}:
                names = {item.forms[form] for item in classes if item.kind == kind and form in item.forms}
                named = sum((form, name) in given for name in names)
                if 2 <= named < len(names):
                    return True
        return False
