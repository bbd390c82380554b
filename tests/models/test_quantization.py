"""Quantized language models through transformers: nothing but the language model is touched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import BitsAndBytesConfig, TorchAoConfig

from NatureLM.models import NatureLM
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.loading import NEVER_QUANTIZED, only_language_model
from NatureLM.models.lora import lora_layers, room_to_merge

QUERY = "a b c"


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=["mine"]), "llm_int8_skip_modules"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "llm_int8_skip_modules"),
        ({"load_in_4bit": True}, "llm_int8_skip_modules"),
        ({"quant_method": "torchao", "modules_to_not_convert": ["mine"]}, "modules_to_not_convert"),
    ],
)
def test_what_is_never_quantized_is_added_to_a_copy(config: Any, name: str) -> None:
    given = only_language_model(config)
    skipped = given[name] if isinstance(given, dict) else getattr(given, name)
    assert tuple(skipped[-len(NEVER_QUANTIZED) :]) == NEVER_QUANTIZED
    before = config.get(name) if isinstance(config, dict) else getattr(config, name)
    assert before in (None, ["mine"]), "the caller's own config stays as it was"


def test_torchao_quantizes_the_language_model_alone(made: Any) -> None:
    torchao = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
    quantization = TorchAoConfig(torchao.Int8WeightOnlyConfig())
    model = NatureLM.from_pretrained(made.folder, llama_path=made.llama, quantization_config=quantization)
    whole = NatureLM.from_pretrained(made.folder, llama_path=made.llama)
    quantized = {
        name for name, weight in model.named_parameters() if type(weight.data).__name__ == "Int8Tensor"
    }
    linear = {
        f"{name}.weight"
        for name, module in whole.language_model.model.named_modules(prefix="language_model.model")
        if isinstance(module, torch.nn.Linear) and "lora_" not in name
    }
    assert quantized == linear and len(linear) == 14
    waveform = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    settings = AnswerSettings(max_new_tokens=4, merging_alpha=0.5)
    for plain, coarse in zip(whole.encode_audio([waveform]), model.encode_audio([waveform]), strict=True):
        assert torch.equal(plain, coarse)
    answer = model.answer(model.encode_audio([waveform]), [QUERY], settings)[0]
    assert 0 < answer.confidence <= 1 and len(answer.text.split()) > 0
    assert not room_to_merge(model.language_model)
    assert not any(layer.merged for layer in lora_layers(model.language_model))
    assert {layer.scaling["default"] for layer in lora_layers(model.language_model)} == {0.5 * 4 / 2}
