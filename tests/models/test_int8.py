"""The language model in 8-bit integers: close to itself, and never without being asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from NatureLM.config import InferenceConfig
from NatureLM.errors import ConfigError
from NatureLM.infer.building import build_engine
from NatureLM.infer.fingerprint import model_fingerprint
from NatureLM.infer.settings import Configuration
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.lora import lora_layers, set_lora_strength
from NatureLM.models.naturelm import NatureLM


@pytest.fixture
def model(made: Any) -> NatureLM:
    return NatureLM.from_pretrained(made.folder)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_layers_stay_near_themselves_with_lora(model: NatureLM, alpha: float) -> None:
    lm = model.language_model
    inputs = torch.randn(2, 9, lm.config.hidden_size, generator=torch.Generator().manual_seed(0))
    set_lora_strength(lm, alpha)

    def outputs() -> list[torch.Tensor]:
        layer = lm.model.layers[1]
        return [part(inputs) for part in (layer.self_attn.q_proj, layer.mlp.up_proj, lm.lm_head)]

    with torch.inference_mode():
        exact = outputs()
        model.to_int8(alpha)
        near = outputs()
    assert not lora_layers(lm)
    assert not any(isinstance(module, torch.nn.Linear) for module in lm.modules())
    for one, other in zip(near, exact, strict=True):
        assert 0.0 < (one - other).norm() / other.norm() < 0.03


def test_a_configuration_asks_for_it(made: Any) -> None:
    config = InferenceConfig.model_validate({"model": str(made.folder), "int8": True})
    config.generation.merging_alpha = 0.5
    engine = build_engine(Configuration(config, written_for=config.model))
    assert engine.model.int8_alpha == 0.5
    wave = np.sin(np.arange(16_000) * 0.3).astype(np.float32)
    (features,) = engine.model.encode_audio([wave])
    settings = AnswerSettings(max_new_tokens=4, merging_alpha=0.5)
    (answer,) = engine.model.answer([features], ["a b"], settings)
    assert np.isfinite(answer.mean_logprob)
    with pytest.raises(ConfigError, match=r"stays at 0\.5; 1 needs"):
        engine.model.answer([features], ["a b"], AnswerSettings(max_new_tokens=4))


def test_runs_in_int8_are_told_apart(made: Any) -> None:
    prints = set()
    for alpha in (None, 1.0, 0.5):
        model = NatureLM.from_pretrained(made.folder)
        prints.add(model_fingerprint(model if alpha is None else model.to_int8(alpha)))
    assert len(prints) == 3


def test_what_cannot_be_is_refused(model: NatureLM, made: Any, tmp_path: Path) -> None:
    half = NatureLM.from_pretrained(made.folder, dtype="bfloat16")
    with pytest.raises(ConfigError, match=r"float32 on the CPU; this one is in torch\.bfloat16"):
        half.to_int8()
    with pytest.raises(ConfigError, match="cannot be saved"):
        model.to_int8().save_pretrained(tmp_path)
