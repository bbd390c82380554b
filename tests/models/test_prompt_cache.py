"""Prompts read once for all beams: the same answers and scores as transformers' own way."""

from __future__ import annotations

import pytest
import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from NatureLM.models import prompt_cache
from NatureLM.models.chosen_scores import ChosenScores
from NatureLM.models.prompt_cache import CACHE_ARGUMENT, PromptCache, PromptLayer, read_prompts

END = 5


@pytest.fixture(scope="module")
def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval()
    for weight in model.parameters():
        weight.data.mul_(3.0)  # sharper choices, as a trained model has them
    model.generation_config = GenerationConfig(eos_token_id=END, pad_token_id=0)
    return model


@pytest.fixture(scope="module")
def prompts(llama: LlamaForCausalLM) -> tuple[torch.Tensor, torch.Tensor]:
    """Five prompts of 3 to 11 tokens, padded on the left."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([11, 3, 7, 11, 5])
    embeds = torch.randn(5, 11, 32, generator=generator)
    mask = (torch.arange(11)[None] >= 11 - lengths[:, None]).long()
    return embeds * mask[..., None], mask


@torch.inference_mode()
def plainly(
    llama: LlamaForCausalLM, embeds: torch.Tensor, mask: torch.Tensor, beams: int
) -> tuple[torch.Tensor, torch.Tensor]:
    output = llama.generate(
        inputs_embeds=embeds,
        attention_mask=mask,
        max_new_tokens=70,
        num_beams=beams,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    indices = output.beam_indices if beams > 1 else None
    scores = llama.compute_transition_scores(output.sequences, output.logits, indices, normalize_logits=True)
    return output.sequences, scores


@torch.inference_mode()
def cached(
    llama: LlamaForCausalLM, embeds: torch.Tensor, mask: torch.Tensor, beams: int
) -> tuple[torch.Tensor, torch.Tensor]:
    scores = ChosenScores(1 if beams == 1 else 2 * beams, normalised=beams > 1, ruled=False)
    output = llama.generate(
        inputs_embeds=embeds,
        attention_mask=mask,
        **{CACHE_ARGUMENT: read_prompts(llama, embeds, mask, beams)},
        max_new_tokens=70,
        num_beams=beams,
        do_sample=False,
        logits_processor=[scores.before, scores.after],
        return_dict_in_generate=True,
    )
    return output.sequences, scores.of(output.sequences, output.beam_indices if beams > 1 else None)


@pytest.mark.parametrize("beams", [1, 2, 4])
@pytest.mark.parametrize("bytes_at_once", [1, 6000, 2**21])
def test_answers_and_scores_are_those_of_generate_alone(
    llama: LlamaForCausalLM,
    prompts: tuple[torch.Tensor, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
    beams: int,
    bytes_at_once: int,
) -> None:
    monkeypatch.setattr(prompt_cache, "BYTES_AT_ONCE", bytes_at_once)
    expected, expected_scores = plainly(llama, *prompts, beams)
    sequences, scores = cached(llama, *prompts, beams)
    assert torch.equal(sequences, expected)
    assert sequences.shape[1] > prompt_cache.ROOM, "long enough for the buffers to grow twice"
    for row, ids in enumerate(sequences.tolist()):
        length = ids.index(END) + 1 if END in ids else len(ids)
        assert torch.allclose(scores[row, :length], expected_scores[row, :length], atol=1e-4)


def test_one_token_prompts_leave_nothing_to_read_ahead(llama: LlamaForCausalLM) -> None:
    embeds = torch.randn(2, 1, 32, generator=torch.Generator().manual_seed(2))
    mask = torch.ones(2, 1, dtype=torch.long)
    assert read_prompts(llama, embeds, mask).get_seq_length() == 0
    assert torch.equal(cached(llama, embeds, mask, 2)[0], plainly(llama, embeds, mask, 2)[0])


def test_only_answers_are_reordered() -> None:
    layer = PromptLayer()
    layer.update(torch.zeros(2, 1, 3, 4), torch.zeros(2, 1, 3, 4))
    layer.share()
    own = torch.tensor([1.0, 2.0])[:, None, None, None].expand(2, 1, 1, 4)
    layer.update(own, -own)
    prompt = layer.keys[:, :, :3]
    prompt[1] = 7.0  # a mark that must stay in its row
    cache = PromptCache()
    cache.layers = [layer]
    cache.reorder_cache(torch.tensor([1, 1]))
    assert layer.keys[:, 0, 3, 0].tolist() == [2.0, 2.0]
    assert layer.values[:, 0, 3, 0].tolist() == [-2.0, -2.0]
    assert layer.keys[:, 0, 0, 0].tolist() == [0.0, 7.0]


def test_buffers_grow_by_blocks_and_keep_what_they_hold() -> None:
    layer = PromptLayer()
    states = torch.arange(100.0)[None, None, :, None].expand(1, 1, 100, 2)
    buffers = set()
    for place in range(100):
        one = states[:, :, place : place + 1]
        keys, _ = layer.update(one, one)
        assert layer.key_buffer is not None
        buffers.add(layer.key_buffer.shape[-2])
    assert torch.equal(keys, states)
    assert sorted(buffers) == [33, 66, 99, 132]
