"""The published checkpoint itself is not at hand: its names, shapes and number formats are pinned here.

The figures are those of the published file (design/published-model.md): 112,774,271 values in float32 and
552,603,648 in bfloat16.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from NatureLM.errors import CheckpointError
from NatureLM.models import checkpoint_names as names
from NatureLM.models.checkpoint import open_checkpoint
from NatureLM.models.configuration import NatureLMConfig
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.tensor_files import StoredTensor
from NatureLM.models.upstream import ARGUMENTS, complete_arguments, to_config
from NatureLM.models.weight_check import expected_tensors

LLAMA = {
    "model_type": "llama",
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500_000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "bos_token_id": 128_000,
    "eos_token_id": [128_001, 128_008, 128_009],
    "tie_word_embeddings": False,
}
"""Llama 3.1 8B Instruct: https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct, config.json."""

CODES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64"}


class WideTokenizer:
    """Stands for Llama's: as many tokens, none of them spelled out."""

    pad_token_id = 128_256
    bos_token = "<|begin_of_text|>"

    def add_special_tokens(self, tokens: dict[str, str]) -> None:
        assert tokens == {"pad_token": "[PAD]"}

    def __len__(self) -> int:
        return 128_257


@pytest.fixture(scope="module")
def config() -> NatureLMConfig:
    text = LlamaConfig.from_dict(LLAMA)
    tokenizer: Any = WideTokenizer()
    return to_config(complete_arguments({}), text, tokenizer)


@pytest.fixture(scope="module")
def expected(config: NatureLMConfig) -> dict[str, torch.Tensor]:
    return expected_tensors(config)


def delta_of(expected: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The published file's tensors by the published names, on the meta device."""
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in expected.items():
        if names.is_frozen(name):
            continue
        dtype = torch.bfloat16 if name.startswith("language_model.") else torch.float32
        tensors[names.upstream_names(name, 12)[0]] = tensor.to(dtype)
    return tensors


def test_names_shapes_and_numbers_are_the_published_ones(expected: dict[str, torch.Tensor]) -> None:
    delta = delta_of(expected)
    counts = dict.fromkeys((torch.float32, torch.bfloat16), 0)
    for tensor in delta.values():
        counts[tensor.dtype] += tensor.numel()
    assert counts == {torch.float32: 112_774_271, torch.bfloat16: 552_603_648}
    assert sum(counts.values()) == 665_377_919
    shapes = {name: tuple(tensor.shape) for name, tensor in delta.items()}
    layer = "llama_model.base_model.model.model.layers.{}.self_attn.{}_proj.lora_{}.default.weight"
    for name, shape in {
        "llama_embed_tokens.weight": (128_257, 4096),
        layer.format(31, "k", "B"): (1024, 32),
        layer.format(0, "o", "A"): (32, 4096),
        "beats.patch_embedding.weight": (512, 1, 16, 16),
        "beats.post_extract_proj.weight": (768, 512),
        "beats.encoder.pos_conv.0.weight_g": (1, 1, 128),
        "beats.encoder.pos_conv.0.weight_v": (768, 48, 128),
        "beats.encoder.layers.0.self_attn.relative_attention_bias.weight": (320, 12),
        "beats.encoder.layers.11.self_attn.grep_a": (1, 12, 1, 1),
        "beats.encoder.layers.11.self_attn.grep_linear.weight": (8, 64),
        "beats.encoder.layers.11.fc1.weight": (3072, 768),
        "beats.predictor.weight": (527, 768),
        "ln_audio.weight": (768,),
        "audio_query_tokens": (1, 1, 768),
        "audio_Qformer.bert.embeddings.LayerNorm.weight": (768,),
        "audio_Qformer.bert.encoder.layer.1.attention.self.query.weight": (768, 768),
        "audio_Qformer.bert.encoder.layer.1.crossattention.self.key.weight": (768, 768),
        "audio_Qformer.bert.encoder.layer.1.output_query.dense.weight": (768, 3072),
        "audio_llama_proj.weight": (4096, 768),
    }.items():
        assert shapes[name] == shape, name


def test_names_are_those_that_were_recorded(parity: Path) -> None:
    """The recorded small model differs in sizes only; with its numbers of layers the names are its own."""
    info = json.loads((parity / "small" / "state_dict_info.json").read_text())
    recorded = {item["key"] for item in info["state_dict"]}
    given = json.loads((parity / "small" / "hub_config.json").read_text())
    text = LlamaConfig.from_pretrained(parity / "llama_tiny")
    tokenizer: Any = WideTokenizer()
    ours = expected_tensors(to_config(complete_arguments(given), text, tokenizer))
    accepted = {theirs for name in ours for theirs in names.upstream_names(name, 2)}
    assert accepted == recorded - {names.POSITION_IDS}


def sparse(file: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write a safetensors file of which only the header takes room on the disk."""
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].element_size()):
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        out.truncate(8 + len(text) + end)


@pytest.mark.skipif(os.name == "nt", reason="Windows would fill 18 GB of disk")
def test_a_delta_of_the_published_shape_goes_through_the_loader(
    expected: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, llama = tmp_path / "hub", tmp_path / "llama"
    folder.mkdir()
    llama.mkdir()
    delta = {**delta_of(expected), names.POSITION_IDS: torch.empty(1, 512, dtype=torch.int64, device="meta")}
    sparse(folder / "model.safetensors", delta)
    base = {
        theirs: tensor.to(torch.bfloat16)
        for name, tensor in expected.items()
        if (theirs := names.llama_name(name)) is not None
    }
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        base[name] = torch.empty(128_256, 4096, dtype=torch.bfloat16, device="meta")
    assert sum(tensor.numel() for tensor in base.values()) == 8_030_261_248  # Llama 3.1 8B
    sparse(llama / "model.safetensors", base)
    (folder / "config.json").write_text(json.dumps({**ARGUMENTS, "llama_path": str(llama)}))
    (llama / "config.json").write_text(json.dumps(LLAMA))
    monkeypatch.setattr("NatureLM.models.checkpoint.read_tokenizer", lambda folder: WideTokenizer())

    checkpoint = open_checkpoint(folder, fits=False)
    assert checkpoint.dtype == torch.bfloat16
    assert checkpoint.tensors[names.OUTPUT_LAYER].shape == (128_257, 4096)
    assert checkpoint.generation_config.eos_token_id == [128_001, 128_008, 128_009]
    assert checkpoint.generation_config.suppress_tokens == [128_256]

    def unread(tensor: StoredTensor) -> StoredTensor:
        empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        return StoredTensor(tensor.shape, tensor.dtype, lambda: empty)

    model, info = super(NatureLM, NatureLM).from_pretrained(
        None,
        config=checkpoint.config,
        state_dict={name: unread(tensor) for name, tensor in checkpoint.tensors.items()},
        dtype=torch.bfloat16,
        device_map={"": "meta"},
        output_loading_info=True,
    )
    assert not any(info.values())
    dtypes = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    assert all(
        dtype == (torch.bfloat16 if name.startswith("language_model.") else torch.float32)
        for name, dtype in dtypes.items()
    )

    wrong = {**delta, "audio_llama_proj.weight": torch.empty(4096, 769, device="meta")}
    del wrong["ln_audio.weight"]
    sparse(folder / "model.safetensors", wrong)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(folder, fits=False)
    assert "missing keys: ln_audio.weight;" in str(caught.value)
    assert "misshapen keys: audio_llama_proj.weight [4096, 769] instead of [4096, 768]" in str(caught.value)
