"""Trees of labels' tokens: what is shared is held once, every label ends at a node of its own."""

from __future__ import annotations

import time

import pytest
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from NatureLM.errors import ConfigError
from NatureLM.models.label_trie import TokenTrie, label_ids, tidy_labels
from NatureLM.models.species import SpeciesTable


def spelled(trie: TokenTrie, node: int) -> list[int]:
    return [int(trie.tokens[node]) for node in trie.path(node)[1:]]


def test_beginnings_are_held_once_and_nodes_are_depth_first() -> None:
    trie = TokenTrie.of([[5, 6, 7], [5], [4], [5, 6, 8], [5, 9]])
    assert trie.tokens.tolist() == [-1, 4, 5, 6, 7, 8, 9]
    assert trie.parents.tolist() == [-1, 0, 0, 2, 3, 3, 2]
    assert trie.depths.tolist() == [0, 1, 1, 2, 3, 3, 2]
    assert trie.stops.tolist() == [7, 2, 7, 6, 5, 6, 7]
    assert trie.ends.tolist() == [4, 2, 1, 5, 6]
    assert trie.children[2] == {6: 3, 9: 6}


def test_every_label_is_spelled_to_its_end(tokenizer: PreTrainedTokenizerBase, odd_labels: list[str]) -> None:
    ids = label_ids(odd_labels, tokenizer)
    trie = TokenTrie.of(ids)
    assert [spelled(trie, node) for node in trie.ends.tolist()] == ids
    assert [tokenizer.decode(row) for row in ids] == odd_labels
    assert len(set(trie.ends.tolist())) == len(odd_labels)
    assert len(trie) < 1 + sum(map(len, ids)), "beginnings are shared"


def test_the_tree_does_not_depend_on_the_order(
    tokenizer: PreTrainedTokenizerBase, odd_labels: list[str]
) -> None:
    ids = label_ids(odd_labels, tokenizer)
    one, other = TokenTrie.of(ids), TokenTrie.of(ids[::-1])
    assert one.tokens.tolist() == other.tokens.tolist()
    assert one.parents.tolist() == other.parents.tolist()
    assert one.ends.tolist() == other.ends.tolist()[::-1]


@pytest.mark.parametrize("count", [1, 264, 6522])
def test_lists_of_every_length(tokenizer: PreTrainedTokenizerBase, table: SpeciesTable, count: int) -> None:
    labels = [item.common_name for item in table][:count]
    assert len(labels) == count
    start = time.process_time()
    trie = TokenTrie.of(label_ids(tidy_labels(labels), tokenizer))
    assert time.process_time() - start < 2.0
    assert tokenizer.decode(spelled(trie, int(trie.ends[-1]))) == labels[-1]
    assert len(set(trie.ends.tolist())) == count


def test_labels_are_tidied() -> None:
    given = ["  Great   Tit ", "Coal Tit", "Great Tit", "Ru\u0308ppell's Warbler", "R\u00fcppell's Warbler"]
    assert tidy_labels(given) == ["Great Tit", "Coal Tit", "R\u00fcppell's Warbler"]


@pytest.mark.parametrize(
    ("labels", "said"),
    [([], "list of labels is empty"), (["Great Tit", "  "], "Label 2 of the list is empty")],
)
def test_lists_without_a_name_are_refused(labels: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tidy_labels(labels)


def test_labels_that_the_model_cannot_write_are_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ConfigError, match="'Tit<eos>' cannot be written"):
        label_ids(["Great", "Tit<eos>"], tokenizer)
    inner = PreTrainedTokenizerFast.from_pretrained(tokenizer.name_or_path)
    from tokenizers.normalizers import Lowercase

    inner.backend_tokenizer.normalizer = Lowercase()
    with pytest.raises(ConfigError, match="'Great Tit' and 'great tit' are the same"):
        label_ids(["Great Tit", "Coal Tit", "great tit"], inner)
