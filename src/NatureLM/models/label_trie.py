"""Labels as a tree of token ids: beginnings that labels share are held, read and scored once."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from NatureLM.errors import ConfigError

Integers = npt.NDArray[np.int64]

ROOT = 0
"""The node before the first token: what the tree is a continuation of."""


@dataclass(frozen=True, eq=False)
class TokenTrie:
    """Sequences of token ids, each beginning that several share held once.

    Nodes are in depth-first order, so those below a node follow it without a gap. The tree of given
    sequences is the same in whatever order they come.

    Attributes
    ----------
    tokens : int64 [nodes]
        Each node's token; -1 for the root, node 0.
    parents : int64 [nodes]
        The node before each; -1 for the root.
    depths : int64 [nodes]
        Tokens from the root.
    stops : int64 [nodes]
        The first node after those below each.
    ends : int64 [sequences]
        The node at which each sequence ends, in the order given.
    """

    tokens: Integers
    parents: Integers
    depths: Integers
    stops: Integers
    ends: Integers

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]]) -> TokenTrie:
        """Build the tree of sequences of token ids."""
        tokens, parents, depths = [-1], [-1], [0]
        ends = np.zeros(len(sequences), dtype=np.int64)
        path = [ROOT]
        last: Sequence[int] = ()
        for place in sorted(range(len(sequences)), key=lambda place: tuple(sequences[place])):
            ids = sequences[place]
            shared = 0
            while shared < min(len(ids), len(last)) and ids[shared] == last[shared]:
                shared += 1
            del path[shared + 1 :]
            for token in ids[shared:]:
                parents.append(path[-1])
                path.append(len(tokens))
                tokens.append(int(token))
                depths.append(len(path) - 1)
            ends[place] = path[-1]
            last = ids
        stops = np.arange(1, len(tokens) + 1)
        for node in range(len(tokens) - 1, ROOT, -1):
            stops[parents[node]] = max(stops[parents[node]], stops[node])
        return cls(np.array(tokens), np.array(parents), np.array(depths), stops, ends)

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def children(self) -> list[dict[int, int]]:
        """For each node, the node that each token leads to."""
        found: list[dict[int, int]] = [{} for _ in range(len(self))]
        pairs = zip(self.parents.tolist(), self.tokens.tolist(), strict=True)
        for node, (parent, token) in enumerate(pairs):
            if node != ROOT:
                found[parent][token] = node
        return found

    def path(self, node: int) -> list[int]:
        """Return the nodes from the root to one, both included."""
        nodes = [node]
        while nodes[-1] != ROOT:
            nodes.append(int(self.parents[nodes[-1]]))
        return nodes[::-1]


def tidy_labels(labels: Iterable[str]) -> list[str]:
    """Return labels as a model writes them, those that come twice once, in their order.

    White space around and within a label counts as one space; accents are put together with their letters
    (Unicode's form NFC).

    Raises
    ------
    ConfigError
        If there is no label, or one is empty.
    """
    tidy = [unicodedata.normalize("NFC", " ".join(label.split())) for label in labels]
    if not tidy:
        raise ConfigError("The list of labels is empty; it must hold at least one name.")
    if "" in tidy:
        raise ConfigError(f"Label {tidy.index('') + 1} of the list is empty; write a name or leave it out.")
    return list(dict.fromkeys(tidy))


def label_ids(
    labels: Sequence[str], tokenizer: PreTrainedTokenizerBase, before: str = "", after: str = ""
) -> list[list[int]]:
    """Return the token ids of labels as an answer holds them.

    Parameters
    ----------
    labels : sequence of str
        As :func:`tidy_labels` returns them.
    tokenizer : PreTrainedTokenizerBase
    before, after : str
        What stands around each label and is tokenized with it.

    Raises
    ------
    ConfigError
        If a label cannot be written with the tokenizer's tokens, or two would be the same.
    """
    texts = [f"{before}{label}{after}" for label in labels]
    rows: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    # A token for what is unknown is no text, and others are marks of the prompt's own.
    special = set(tokenizer.all_special_ids)
    seen: dict[tuple[int, ...], str] = {}
    for label, ids in zip(labels, rows, strict=True):
        if not ids or not special.isdisjoint(ids):
            raise ConfigError(
                f"The label {label!r} cannot be written in the model's tokens; change it or leave it out."
            )
        other = seen.setdefault(tuple(ids), label)
        if other != label:
            raise ConfigError(
                f"The labels {other!r} and {label!r} are the same in the model's tokens; keep one of them."
            )
    return rows
