"""A language model reads a tree of continuations of a prompt at once, beginnings that they share once.

Each token attends to the prompt and to the tokens between the root and itself, at the position that it has
in its own continuation: what the model says after it is what it says when that continuation is read alone.
The tree is cut into chunks of consecutive nodes, each with the nodes above its first, so that memory and
the work of attention stay bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import DynamicCache

from NatureLM.errors import ConfigError
from NatureLM.models.label_trie import ROOT, Integers, TokenTrie
from NatureLM.models.prompt_cache import BYTES_AT_ONCE, CACHE_ARGUMENT, read_prompts

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

CHUNK = 96
"""Tokens of a chunk: fewer repeat more of the nodes above, more attend to more that they may not see."""

TOKENS_AT_ONCE = 8192
"""Tokens that a GPU reads together."""


@dataclass(frozen=True)
class ReadNodes:
    """What the language model makes of some nodes of the tree after one of the prompts.

    Attributes
    ----------
    prompt : int
    first, stop : int
        The nodes are ``first`` to before ``stop``.
    states : [nodes, hidden]
        The last layer's output, as the output layer takes it.
    """

    prompt: int
    first: int
    stop: int
    states: torch.Tensor


@dataclass(frozen=True)
class _Chunk:
    """Consecutive nodes, and with them those above the first."""

    first: int
    stop: int
    nodes: Integers


@torch.inference_mode()
def read_tree(
    language_model: LlamaForCausalLM, embeds: torch.Tensor, mask: torch.Tensor, trie: TokenTrie
) -> Iterator[ReadNodes]:
    """Read a tree after each prompt.

    Parameters
    ----------
    language_model : LlamaForCausalLM
    embeds : [batch, length, hidden]
        Prompts, padded on the left.
    mask : int64 [batch, length]
        0 where there is padding.
    trie : TokenTrie
        Its root stands for each prompt's last token.

    Yields
    ------
    ReadNodes
        Each node after each prompt once.

    Raises
    ------
    ConfigError
        If the language model's attention takes no mask of our own.
    """
    attention = language_model.config._attn_implementation
    if attention not in ("sdpa", "eager"):
        raise ConfigError(
            f"Labels cannot be scored with the attention {attention!r}; load the model with "
            "attn_implementation='sdpa'."
        )
    device, dtype = embeds.device, embeds.dtype
    cache = read_prompts(language_model, embeds, mask)
    chunks = _cut(trie)
    ids, depths, visible = (torch.from_numpy(part).to(device) for part in _layout(trie, chunks))
    embed_tokens = language_model.get_input_embeddings()
    heard = mask[:, :-1].bool()
    lengths = mask.sum(-1)
    at_once = max(1, _tokens_at_once(language_model, embeds) // ids.shape[1])
    # Chunks of one size go together, so that little is filled up.
    pairs = [(prompt, number) for number in range(len(chunks)) for prompt in range(len(embeds))]
    for start in range(0, len(pairs), at_once):
        part = pairs[start : start + at_once]
        prompts, numbers = torch.tensor(part, device=device).T
        width = max(len(chunks[number].nodes) for _, number in part)
        inputs = embed_tokens(ids[numbers, :width])
        # Each chunk begins with the root.
        inputs[:, 0] = embeds[prompts, -1]
        before = heard[prompts, None].expand(-1, width, -1)
        shown = torch.cat([before, visible[numbers, :width, :width]], dim=-1)
        hidden = torch.zeros(shown.shape, dtype=dtype, device=device)
        hidden.masked_fill_(~shown, torch.finfo(dtype).min)
        past = DynamicCache()
        for number, layer in enumerate(cache.layers):
            assert layer.keys is not None and layer.values is not None
            its = prompts.to(layer.keys.device)  # another GPU's, where a model is spread over several
            past.update(layer.keys[its], layer.values[its], number)
        states = language_model.model(
            inputs_embeds=inputs,
            attention_mask=hidden[:, None],
            position_ids=lengths[prompts, None] - 1 + depths[numbers, :width],
            use_cache=True,
            **{CACHE_ARGUMENT: past},
        ).last_hidden_state
        for row, (prompt, number) in enumerate(part):
            chunk = chunks[number]
            above = len(chunk.nodes) - (chunk.stop - chunk.first)
            yield ReadNodes(prompt, chunk.first, chunk.stop, states[row, above : len(chunk.nodes)])


def _cut(trie: TokenTrie) -> list[_Chunk]:
    """Cut a tree into chunks of about equal size, the largest first."""
    chunks = []
    first = ROOT
    while first < len(trie):
        above = trie.path(first)[:-1]
        stop = first + max(CHUNK - len(above), CHUNK // 2)
        if stop < len(trie):
            # The next chunk repeats the nodes above its first: the fewer the better.
            stop -= int(trie.depths[stop : stop - CHUNK // 4 : -1].argmin())
        stop = min(stop, len(trie))
        chunks.append(_Chunk(first, stop, np.concatenate([above, np.arange(first, stop)]).astype(np.int64)))
        first = stop
    return sorted(chunks, key=lambda chunk: -len(chunk.nodes))


def _layout(trie: TokenTrie, chunks: list[_Chunk]) -> tuple[Integers, Integers, np.ndarray]:
    """Return the token ids and depths [chunks, widest], and what each may see [chunks, widest, widest]."""
    width = len(chunks[0].nodes)
    ids = np.zeros((len(chunks), width), dtype=np.int64)
    depths = np.zeros_like(ids)
    visible = np.zeros((len(chunks), width, width), dtype=bool)
    for number, chunk in enumerate(chunks):
        nodes, size = chunk.nodes, len(chunk.nodes)
        ids[number, :size] = trie.tokens[nodes].clip(min=0)
        depths[number, :size] = trie.depths[nodes]
        below = (nodes[None] <= nodes[:, None]) & (nodes[:, None] < trie.stops[nodes][None])
        visible[number, :size, :size] = below
    # What fills a chunk up sees itself, for a softmax over nothing has no value.
    visible |= np.eye(width, dtype=bool)
    return ids, depths, visible


def _tokens_at_once(language_model: LlamaForCausalLM, embeds: torch.Tensor) -> int:
    if embeds.device.type != "cpu":
        return TOKENS_AT_ONCE
    return BYTES_AT_ONCE // (language_model.config.intermediate_size * embeds.element_size())
