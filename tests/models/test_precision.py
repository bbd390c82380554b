"""Products in bfloat16 and 8-bit integers: close to float32, and never without being asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from NatureLM.config import InferenceConfig
from NatureLM.errors import ConfigError
from NatureLM.infer.building import build_engine
from NatureLM.infer.fingerprint import model_fingerprint
from NatureLM.infer.settings import Configuration
from NatureLM.models import precision
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.lora import lora_layers, set_lora_strength
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.precision import BFloat16Linear, check_bfloat16

ASSETS = Path(__file__).parents[2] / "assets"


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the processor for one that multiplies in bfloat16: others get the same numbers, more slowly."""
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: True)


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
        model.to_precision("int8", alpha)
        near = outputs()
    assert not lora_layers(lm)
    assert not any(isinstance(module, torch.nn.Linear) for module in lm.modules())
    for one, other in zip(near, exact, strict=True):
        assert 0.0 < (one - other).norm() / other.norm() < 0.03


def test_a_configuration_asks_for_it(made: Any) -> None:
    config = InferenceConfig.model_validate({"model": str(made.folder), "precision": "int8"})
    config.generation.merging_alpha = 0.5
    engine = build_engine(Configuration(config, written_for=config.model))
    assert (engine.model.precision, engine.model.fixed_alpha) == ("int8", 0.5)
    wave = np.sin(np.arange(16_000) * 0.3).astype(np.float32)
    (features,) = engine.model.encode_audio([wave])
    settings = AnswerSettings(max_new_tokens=4, merging_alpha=0.5)
    (answer,) = engine.model.answer([features], ["a b"], settings)
    assert np.isfinite(answer.mean_logprob)
    with pytest.raises(ConfigError, match=r"stays at 0\.5; 1 needs"):
        engine.model.answer([features], ["a b"], AnswerSettings(max_new_tokens=4))


@pytest.mark.usefixtures("native")
def test_runs_of_other_precisions_are_told_apart(made: Any) -> None:
    prints = {model_fingerprint(NatureLM.from_pretrained(made.folder))}
    for kind in ("int8", "bfloat16"):
        for alpha in (1.0, 0.5):
            model = NatureLM.from_pretrained(made.folder)
            prints.add(model_fingerprint(model.to_precision(kind, alpha)))
    assert len(prints) == 5


def test_what_cannot_be_is_refused(model: NatureLM, made: Any, tmp_path: Path) -> None:
    half = NatureLM.from_pretrained(made.folder, dtype="bfloat16")
    with pytest.raises(ConfigError, match=r"float32 on the CPU; this one is in torch\.bfloat16"):
        half.to_precision("int8")
    with pytest.raises(ConfigError, match="A model in int8 cannot be saved"):
        model.to_precision("int8").save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="in int8 already; load it again for bfloat16"):
        model.to_precision("bfloat16")


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
def test_a_model_with_layers_on_disk_is_refused_as_it_is(made: Any, tmp_path: Path, kind: Any) -> None:
    parts = ("audio_encoder", "adapter", "language_model.lm_head")
    inner = ("embed_tokens", "layers.0", "norm", "rotary_emb")
    here = dict.fromkeys([*parts, *(f"language_model.model.{part}" for part in inner)], "cpu")
    model = NatureLM.from_pretrained(
        made.folder, device_map={**here, "language_model.model.layers.1": "disk"}, offload_folder=tmp_path
    ).eval()
    tuned = len(lora_layers(model.language_model))
    with pytest.raises(ConfigError, match=f"precision={kind} is for models that are in memory whole"):
        model.to_precision(kind)
    assert len(lora_layers(model.language_model)) == tuned > 0
    assert model.precision is None


@pytest.mark.parametrize("kind", ["BFLOAT16", "float32", None])
def test_an_unknown_precision_is_refused(model: NatureLM, kind: Any) -> None:
    with pytest.raises(ConfigError, match=f"precision {kind!r}: expected bfloat16 or int8"):
        model.to_precision(kind)
    assert isinstance(model.language_model.lm_head, torch.nn.Linear)


@pytest.mark.parametrize("alpha", [-1.0, 2.0, float("nan")])
def test_a_merging_alpha_that_merges_nothing_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigError, match="expected a number from 0 to 1"):
        AnswerSettings(merging_alpha=alpha)


def test_bfloat16_is_refused_where_it_gains_nothing(model: NatureLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: False)
    with pytest.raises(ConfigError, match="does not multiply in bfloat16 by itself"):
        model.to_precision("bfloat16")
    assert model.precision is None
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: True)
    with pytest.raises(ConfigError, match="is for CPUs; this model is on meta"):
        check_bfloat16(torch.device("meta"))


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_products_in_bfloat16_stay_near(made: Any, alpha: float, dtype: str) -> None:
    wave = np.sin(np.arange(32_000) * 0.3).astype(np.float32)
    settings = AnswerSettings(max_new_tokens=6, merging_alpha=alpha, num_beams=2)
    heard, said, layers = [], [], []
    for rounded in (False, True):
        model = NatureLM.from_pretrained(made.folder, dtype=dtype if rounded else "float32").eval()
        if rounded:
            model.to_precision("bfloat16", alpha)
        (features,) = model.encode_audio([wave])
        heard.append(features.float())
        (answer,) = model.answer([features], ["a b"], settings)
        said.append(answer.mean_logprob)
        lm = model.language_model
        inputs = torch.randn(2, 9, lm.config.hidden_size, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            layers.append(lm.model.layers[1].self_attn.q_proj(inputs))
    assert not lora_layers(lm)
    linear = [module for module in model.modules() if isinstance(module, BFloat16Linear)]
    assert not any(type(module) is torch.nn.Linear for module in model.modules())
    kept = {id(parameter) for module in linear for parameter in module.parameters()}
    assert all(parameter.dtype == torch.bfloat16 for module in linear for parameter in module.parameters())
    assert all(p.dtype == torch.float32 for p in model.parameters() if id(p) not in kept)
    for exact, near in (heard, layers):
        assert near.dtype == torch.float32
        assert 0.0 < (near - exact).norm() / exact.norm() < 0.03
    assert said[1] == pytest.approx(said[0], abs=0.1)


def test_a_layer_multiplies_rounded_numbers() -> None:
    linear = torch.nn.Linear(64, 32)
    inputs = torch.randn(3, 5, 64)
    rounded = [t.detach().bfloat16().double() for t in (inputs, linear.weight, linear.bias)]
    exact = rounded[0] @ rounded[1].T + rounded[2]
    with torch.inference_mode():
        found = BFloat16Linear(linear)(inputs)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=2**-8, atol=2**-8)


@pytest.mark.usefixtures("native")
def test_the_bundled_model_answers_in_bfloat16() -> None:
    config = InferenceConfig.model_validate({"precision": "bfloat16"})
    engine = build_engine(Configuration(config, written_for=config.model))
    wave, rate = soundfile.read(ASSETS / "great_tit.ogg", dtype="float32")
    (features,) = engine.model.encode_audio([wave[: 10 * rate]])
    (answer,) = engine.model.answer([features], ["What species is this?"])
    assert answer.text == "Great Tit"
