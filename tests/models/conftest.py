"""What tests of the models share: table, tokenizer, logits written by hand, recorded numbers and weights."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import GenerationConfig, LlamaConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from NatureLM.models.adapters.window_qformer import WindowQFormerAdapter
from NatureLM.models.concepts import ConceptFinder
from NatureLM.models.encoders.beats import Beats, BeatsConfig
from NatureLM.models.loading import BUNDLED_FOLDER
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.processing import NatureLMProcessor
from NatureLM.models.species import SpeciesTable
from NatureLM.models.upstream import complete_arguments, to_config

Logits = npt.NDArray[np.float32]
MakeWindow = Callable[..., Logits]
LoadBeats = Callable[..., Beats]
LoadAdapter = Callable[..., WindowQFormerAdapter]

RECORDED_BEATS = {
    "embed_dim": 32,
    "encoder_layers": 2,
    "encoder_embed_dim": 64,
    "encoder_ffn_embed_dim": 128,
    "encoder_attention_heads": 4,
    "conv_pos": 16,
    "conv_pos_groups": 4,
}
"""Where the recorded BEATs is smaller than the published one (../shared/parity, config.json)."""

RECORDED_QFORMER = {"hidden_size": 96, "intermediate_size": 192}
"""Where the recorded Q-Former "small" is smaller than the published one; "tiny" has its shape."""


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return PreTrainedTokenizerFast.from_pretrained(BUNDLED_FOLDER)


@pytest.fixture(scope="session")
def table() -> SpeciesTable:
    return SpeciesTable.load()


@pytest.fixture(scope="session")
def finder(table: SpeciesTable) -> ConceptFinder:
    return ConceptFinder(table)


@pytest.fixture(scope="session")
def make_window(table: SpeciesTable) -> MakeWindow:
    """Logits of four segments: -9 but for the named classes, in the second and third."""

    def make(**peaks: float) -> Logits:
        logits = np.full((4, len(table)), -9.0, dtype=np.float32)
        for name, peak in peaks.items():
            species = table.find(name.replace("_", " "))
            assert species is not None, name
            logits[1:3, species.class_index] = peak
        return logits

    return make


GOLDEN = Path(__file__).parent / "encoders" / "published_golden.npz"
"""Numbers recorded from the published code; made by ``encoders/make_published_golden.py``."""


def recorded_weights(
    names: Sequence[str], shapes: Sequence[Sequence[int]], weight_g: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The random weights that the published code was recorded with, by its names, drawn anew.

    One stream of normal numbers (../shared/parity: seed 20240601, plus one) filled them in the order of the
    state dict; only the length of the positional convolution's weight was set otherwise.
    """
    generator = torch.Generator().manual_seed(20240602)
    weights = {}
    for name, shape in zip(names, shapes, strict=True):
        draws = torch.randn(*shape, generator=generator)
        if name.endswith("bias"):
            scale, centre = 0.1, 0.0
        elif "norm" in name.lower() or name.startswith("ln_"):
            scale, centre = 0.2, 1.0
        elif name.endswith("grep_a"):
            scale, centre = 0.3, 1.0
        elif name == "audio_query_tokens" or "relative_attention_bias" in name:
            scale, centre = 1.0, 0.0
        else:
            scale, centre = (1.0 if "patch" in name else 1.2) / math.prod(shape[1:]) ** 0.5, 0.0
        weights[name] = draws * scale + centre
    return weights | {"beats.encoder.pos_conv.0.weight_g": weight_g}


@pytest.fixture(scope="session")
def golden() -> dict[str, torch.Tensor]:
    """What the published code, at a small size, made of 3 s of sound."""
    with np.load(GOLDEN) as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored if stored[name].dtype.kind != "U"}


@pytest.fixture(scope="session")
def golden_weights(golden: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights with which that was recorded, by the published names."""
    with np.load(GOLDEN) as stored:
        names = [str(name) for name in stored["names"]]
        shapes = [[int(size) for size in str(shape).split()] for shape in stored["shapes"]]
    weights = recorded_weights(names, shapes, golden["weight_g"])
    sums = torch.tensor([weight.double().sum() for weight in weights.values()])
    torch.testing.assert_close(sums, golden["sums"], atol=1e-3, rtol=0, msg="torch draws other numbers here")
    return weights


def beats_part(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """BEATs' part of published weights, by the names of our module."""
    alias = re.compile(r"layers\.[1-9]\d*\.self_attn\.relative_attention_bias")
    named = {
        name.removeprefix("beats."): weight for name, weight in weights.items() if name.startswith("beats.")
    }
    return {name: weight for name, weight in named.items() if not alias.search(name)}


def adapter_part(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The adapter's part of published weights, by the names of our module."""
    prefixes = {
        "ln_audio.": "ln_audio.",
        "audio_query_tokens": "query_tokens",
        "audio_Qformer.bert.": "qformer.",
        "audio_llama_proj.": "projection.",
    }
    found = {}
    for theirs, ours in prefixes.items():
        for name, weight in weights.items():
            if name.startswith(theirs) and not name.endswith("position_ids"):
                inner = name.removeprefix(theirs).replace("embeddings.LayerNorm", "layernorm")
                found[ours + inner.replace("attention.self.", "attention.attention.")] = weight.float()
    return found


@pytest.fixture(scope="session")
def load_beats(golden_weights: dict[str, torch.Tensor]) -> LoadBeats:
    """Build a BEATs of the recorded shape; with the recorded weights, or those given."""

    def load(weights: dict[str, torch.Tensor] | None = None, **options: Any) -> Beats:
        beats = Beats(BeatsConfig(**(RECORDED_BEATS | options)))
        beats.load_state_dict(beats_part(weights or golden_weights))
        return beats.eval()

    return load


@pytest.fixture(scope="session")
def load_adapter(golden_weights: dict[str, torch.Tensor]) -> LoadAdapter:
    """Build an adapter of the recorded shape; with the recorded weights, or those given."""

    def load(weights: dict[str, torch.Tensor] | None = None, **options: Any) -> WindowQFormerAdapter:
        adapter = WindowQFormerAdapter(64, 64, **(RECORDED_QFORMER | options))
        adapter.load_state_dict(adapter_part(weights or golden_weights))
        return adapter.eval()

    return load


@pytest.fixture(scope="session")
def odd_labels() -> list[str]:
    """Names with commas, apostrophes, accents and brackets, some of which others begin with."""
    return [
        "Great Tit",
        "Great",
        "Great Tit, northern form",
        "northern form",
        "Swainson's Thrush",
        "Swainson's Thrush (song)",
        "Rüppell's Warbler",
        "Zopilote rey (cóndor)",
        "Tit",
        "None",
    ]


@pytest.fixture(scope="session")
def spelling_model(tokenizer: PreTrainedTokenizerBase) -> NatureLM:
    """A model of the published kind and random weights that spells names in tokens of letters."""
    beats = {
        "embed_dim": 16,
        "encoder_layers": 1,
        "encoder_embed_dim": 32,
        "encoder_ffn_embed_dim": 32,
        "encoder_attention_heads": 2,
        "conv_pos": 8,
        "conv_pos_groups": 2,
    }
    arguments = complete_arguments({"beats_cfg": beats, "lora_rank": 2})
    text = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=None,
    )
    qformer = {"hidden_size": 48, "intermediate_size": 48, "num_hidden_layers": 1}
    config = to_config(arguments, text, tokenizer, qformer)
    torch.manual_seed(3)
    model = NatureLM(config).eval()
    with torch.no_grad():
        for name, weight in model.language_model.named_parameters():
            # Sharper choices, as a trained model has them.
            weight.copy_(torch.randn_like(weight) * (0.3 if weight.ndim == 2 else 0.1) + (weight.ndim == 1))
            assert weight.ndim < 3, name
    ends = tokenizer.convert_tokens_to_ids(["<eos>", "<|assistant|>"])
    model.language_model.generation_config = GenerationConfig(
        eos_token_id=ends, pad_token_id=tokenizer.pad_token_id, suppress_tokens=[tokenizer.pad_token_id]
    )
    model.attach_processor(NatureLMProcessor(tokenizer, config))
    model.adapter.attach(tokenizer, SpeciesTable.load())
    return model
