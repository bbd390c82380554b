"""Names in answers are held to names that the window's evidence supports.

An answer writes every name between an opening tag that says what kind of name it is and ``</name>``.
Inside, decoding follows a trie of the names of the classes that reach the floor, without those already
given; outside, only the words that the model's config lists as those of its answers can be written. So a
name is never invented, and never repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import ClassEvidence
from NatureLM.models.vocabulary import FIELD_TAGS, NAME_END

NameForms = dict[str, list[str]]
"""Names that an answer may give, by the kind of name (a key of ``FIELD_TAGS``)."""


def window_names(evidence: Iterable[ClassEvidence], table: SpeciesTable) -> NameForms:
    """Return the names of the classes that reach the floor, by the kind of name."""
    forms: dict[str, dict[str, None]] = {form: {} for form in FIELD_TAGS}
    for item in evidence:
        if not item.passes:
            continue
        species = table.species[item.class_index]
        if species.is_animal:
            forms["common"][species.common_name] = None
            forms["scientific"][species.scientific_name] = None
            forms["genus"][species.genus] = None
            forms["family"][species.family] = None
            forms["order"][species.order] = None
            forms["kind"][species.kind] = None
        else:
            forms["sound"][species.common_name] = None
    return {form: list(names) for form, names in forms.items()}


def names_of_answer(token_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[tuple[str, str]]:
    """Return the names in an answer's tokens as (kind of name, name), in their order."""
    forms = {tokenizer.convert_tokens_to_ids(tag): form for form, tag in FIELD_TAGS.items()}
    end = tokenizer.convert_tokens_to_ids(NAME_END)
    names: list[tuple[str, str]] = []
    start: int | None = None
    form = ""
    for position, token in enumerate(token_ids):
        if token in forms:
            start, form = position + 1, forms[token]
        elif token == end and start is not None:
            names.append((form, tokenizer.decode(list(token_ids[start:position]))))
            start = None
    return names


def answer_tokens(answers: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the tokens that stand outside names in the answers given as examples."""
    special = set(tokenizer.all_special_ids)
    ids = {token for text in answers for token in tokenizer.encode(text, add_special_tokens=False)}
    return frozenset(ids - special)


class NameRules(LogitsProcessor):
    """Masks the logits so that every name written is one of its row's, and none comes twice.

    Parameters
    ----------
    rows : list of NameForms
        The names that may be given, one entry per row of the batch (beams of a row share it).
    tokenizer : PreTrainedTokenizerBase
    words : frozenset of int
        The tokens that may stand outside names; empty leaves words free.
    """

    def __init__(
        self,
        rows: list[NameForms],
        tokenizer: PreTrainedTokenizerBase,
        words: frozenset[int] = frozenset(),
    ) -> None:
        self.end = tokenizer.convert_tokens_to_ids(NAME_END)
        self.tags = {tokenizer.convert_tokens_to_ids(tag): form for form, tag in FIELD_TAGS.items()}
        if words:
            self.outside = sorted(words | set(self.tags) | {int(tokenizer.eos_token_id)})
        else:
            self.outside = [token for token in range(len(tokenizer)) if token != self.end]
        self.rows = [
            {
                form: [(*tokenizer.encode(name, add_special_tokens=False), self.end) for name in names]
                for form, names in row.items()
            }
            for row in rows
        ]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores [rows, vocabulary] with what may not follow set to minus infinity."""
        beams = scores.shape[0] // len(self.rows)
        scores = scores.clone()
        for position, ids in enumerate(input_ids.tolist()):
            allowed = self.next_tokens(ids, self.rows[position // beams])
            kept = scores[position, allowed].clone()
            scores[position] = float("-inf")
            scores[position, allowed] = kept
        return scores

    def next_tokens(self, ids: Sequence[int], names: dict[str, list[tuple[int, ...]]]) -> list[int]:
        """Return the tokens that may follow ``ids``."""
        given: set[tuple[str, tuple[int, ...]]] = set()
        start: int | None = None
        form = ""
        for position, token in enumerate(ids):
            if token in self.tags:
                start, form = position + 1, self.tags[token]
            elif token == self.end and start is not None:
                given.add((form, tuple(ids[start : position + 1])))
                start = None
        if start is None:
            spent = {
                tag for tag, kind in self.tags.items() if all((kind, name) in given for name in names[kind])
            }
            return [token for token in self.outside if token not in spent]
        prefix = tuple(ids[start:])
        depth = len(prefix)
        follow = {name[depth] for name in names[form] if (form, name) not in given and name[:depth] == prefix}
        return sorted(follow)
