"""Keys and values of prompts, computed once for all beams; those of answers grow beside them uncopied."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import Cache, DynamicCache, LlamaForCausalLM
from transformers.cache_utils import DynamicLayer

CACHE_ARGUMENT = (
    "cache" if "cache" in inspect.signature(LlamaForCausalLM.forward).parameters else "past_key_values"
)
"""What Llama's keys and values are called; transformers renamed the argument in 5.24."""

ROOM = 32
"""Tokens of an answer by which buffers are enlarged when they are full."""

BYTES_AT_ONCE = 2**21
"""What a CPU's own cache holds: prompts are read together while a layer's widest activations fit in there
(twice as fast as a whole batch at once for a Llama of 135 million parameters)."""


class PromptLayer(DynamicLayer):
    """One layer's keys and values [rows, heads, length, size], in buffers with room to grow."""

    def __init__(self) -> None:
        super().__init__()
        self.key_buffer: torch.Tensor | None = None
        self.value_buffer: torch.Tensor | None = None
        self.shared_length = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values [rows, heads, new, size]; return all."""
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        self.key_buffer = _enlarged(self.key_buffer, key_states, start, end)
        self.value_buffer = _enlarged(self.value_buffer, value_states, start, end)
        self.key_buffer[:, :, start:end] = key_states
        self.value_buffer[:, :, start:end] = value_states
        self.keys, self.values = self.key_buffer[:, :, :end], self.value_buffer[:, :, :end]
        self.is_initialized = True
        return self.keys, self.values

    def share(self) -> None:
        """Take what is held now for the same in all beams of a window: it is never reordered."""
        self.shared_length = self.get_seq_length()

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Give each row the answer of the beam that it goes on from."""
        for buffer in (self.keys, self.values):
            if buffer is not None and self.get_seq_length() > self.shared_length:
                own = buffer[:, :, self.shared_length :]
                own.copy_(own.index_select(0, beam_idx.to(own.device)))


class PromptCache(Cache):
    """A cache of :class:`PromptLayer`."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=PromptLayer)

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Give each row the answer of the beam that it goes on from."""
        # Asking a GPU whether anything changes would take longer than changing it.
        if beam_idx.device.type == "cpu" and torch.equal(beam_idx, torch.arange(len(beam_idx))):
            return
        super().reorder_cache(beam_idx)


def read_prompts(
    language_model: LlamaForCausalLM, embeds: torch.Tensor, mask: torch.Tensor, beams: int = 1
) -> PromptCache:
    """Read all of each prompt but its last token, which generation begins with.

    Parameters
    ----------
    language_model : LlamaForCausalLM
    embeds : [batch, length, hidden]
        Prompts, padded on the left.
    mask : int64 [batch, length]
        0 where there is padding.
    beams : int
        How many rows of the cache each prompt gets, one after another.

    Returns
    -------
    PromptCache
        For ``language_model.generate(inputs_embeds=embeds, **{CACHE_ARGUMENT: ...})``.
    """
    embeds, mask = embeds[:, :-1], mask[:, :-1]
    batch, length = mask.shape
    cache = PromptCache()
    if length == 0:
        return cache
    at_once = batch
    if embeds.device.type == "cpu":
        prompt_bytes = length * language_model.config.intermediate_size * embeds.element_size()
        at_once = max(1, BYTES_AT_ONCE // prompt_bytes)
    parts = []
    for first in range(0, batch, at_once):
        rows = slice(first, first + at_once)
        part = DynamicCache()
        language_model.model(
            inputs_embeds=embeds[rows],
            attention_mask=mask[rows],
            position_ids=(mask[rows].cumsum(-1) - 1).clamp(min=0),
            use_cache=True,
            **{CACHE_ARGUMENT: part},
        )
        parts.append(part)
    for number in range(len(parts[0].layers)):
        layers = [part.layers[number] for part in parts]
        keys = torch.cat([layer.keys for layer in layers]).repeat_interleave(beams, dim=0)
        values = torch.cat([layer.values for layer in layers]).repeat_interleave(beams, dim=0)
        for layer in layers:
            layer.reset()
        cache.update(keys, values, number)
        cache.layers[number].share()
    return cache


def _enlarged(buffer: torch.Tensor | None, states: torch.Tensor, start: int, end: int) -> torch.Tensor:
    """Return a buffer that holds ``end`` places, the first ``start`` of them as before."""
    if buffer is not None and end <= buffer.shape[-2]:
        return buffer
    rows, heads, _, size = states.shape
    enlarged = states.new_empty((rows, heads, end + ROOM, size))
    if buffer is not None:
        enlarged[:, :, :start] = buffer[:, :, :start]
    return enlarged
