"""Models by name: the bundled one, folders good and bad, the hub."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from NatureLM.errors import CheckpointError, ConfigError, ModelUnavailableError
from NatureLM.infer.fingerprint import model_fingerprint
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.loading import BUNDLED_FOLDER, load_model
from NatureLM.models.naturelm import NatureLM

FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The bundled model in a folder of its own."""
    for name in FILES:
        shutil.copy(BUNDLED_FOLDER / name, tmp_path / name)
    return tmp_path


def test_bundled_model_is_small_and_knows_its_limits() -> None:
    assert (BUNDLED_FOLDER / "model.safetensors").stat().st_size <= 40e6
    model = NatureLM.from_pretrained("bundled")
    assert not model.training
    assert model.config.name == "naturelm-lite"
    assert model.config.sample_rate == 48_000
    assert model.config.max_window_seconds == 30.0
    assert model.config.licence == "CC BY-NC-SA 4.0"
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_a_folder_gives_the_same_weights_as_its_file(copy: Path) -> None:
    model = load_model(copy, device="cpu")
    stored = load_file(copy / "model.safetensors")
    name = "adapter.state_embedding.weight"
    assert torch.equal(model.state_dict()[name], stored[name].float())


def test_save_and_load_again(tmp_path: Path) -> None:
    model = NatureLM.from_pretrained("bundled")
    model.save_pretrained(tmp_path)
    again = NatureLM.from_pretrained(tmp_path)
    assert not any("frozen" in name for name in load_file(tmp_path / "model.safetensors"))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_half_precision_is_kept_where_it_is_asked_for() -> None:
    assert (
        NatureLM.from_pretrained("bundled", dtype=torch.float16).adapter.state_embedding.weight.dtype
        == torch.float16
    )


def test_the_name_that_answers_is_kept() -> None:
    assert load_model("bundled", device="cpu").requested_as == "bundled"


def test_unknown_parts_and_options_are_named(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    for part, value, message in (
        ("adapter", {"type": "sponge"}, "Unknown adapter 'sponge'"),
        ("audio_encoder", {"type": "birdnet", "colour": 1}, "wrong option for the audio encoder 'birdnet'"),
        ("sample_rate", 16_000, "BirdNET hears 48000 Hz"),
    ):
        (copy / "config.json").write_text(json.dumps({**config, part: value}))
        with pytest.raises(CheckpointError, match=message):
            NatureLM.from_pretrained(copy)


def test_missing_and_unexpected_weights_are_named(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    weights["adapter.extra.weight"] = weights.pop("adapter.state_embedding.weight")
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError) as caught:
        NatureLM.from_pretrained(copy)
    assert "missing keys: adapter.state_embedding.weight" in str(caught.value)
    assert "unexpected keys: adapter.extra.weight" in str(caught.value)


def test_a_damaged_file_is_a_checkpoint_error(copy: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match=r"model.safetensors|cannot be read"):
        NatureLM.from_pretrained(copy)


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lacks config.json"):
        NatureLM.from_pretrained(tmp_path)


def test_an_unknown_name_is_unavailable() -> None:
    with pytest.raises(ModelUnavailableError, match="There is no model folder 'nowhere'"):
        NatureLM.from_pretrained("nowhere")


def test_offline_hub_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelUnavailableError, match="hf auth login"):
        NatureLM.from_pretrained("EarthSpeciesProject/NatureLM-audio")


def test_fallback_answers_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = load_model("EarthSpeciesProject/NatureLM-audio", device="cpu", fallback="bundled")
    assert model.config.name == "naturelm-lite"
    assert len(caplog.messages) == 1
    assert "'bundled' answers instead" in caplog.messages[0]


def test_unknown_device_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="use auto, cpu, cuda or mps"):
        load_model("bundled", device="gpu9")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_absent_device_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="not available on this machine"):
        load_model("bundled", device="cuda")


@pytest.mark.parametrize("device_map", ["gpu", {"": "gpu"}, {"adapter": "cpu", "language_model": "gpu"}])
def test_an_unknown_device_in_a_map_is_a_config_error(device_map: Any) -> None:
    with pytest.raises(ConfigError, match=r"Unknown device 'gpu'; use auto, cpu, cuda or mps\."):
        NatureLM.from_pretrained("bundled", device_map=device_map)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("device_map", ["cuda", 0, {"": 0}])
def test_an_absent_device_in_a_map_is_a_config_error(device_map: Any) -> None:
    with pytest.raises(ConfigError, match="not available on this machine"):
        NatureLM.from_pretrained("bundled", device_map=device_map)


@pytest.mark.parametrize("dtype", ["int8", torch.int64, "bf16", "float8_e5m2", "nn"])
def test_a_dtype_that_no_model_computes_in_is_a_config_error(dtype: Any) -> None:
    with pytest.raises(ConfigError, match="use 'auto', 'float32', 'bfloat16' or 'float16'"):
        NatureLM.from_pretrained("bundled", dtype=dtype)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("prompt_template", None, "sets prompt_template to null; expected text that holds {query} once"),
        ("prompt_template", "nothing", 'sets prompt_template to "nothing"; expected text that holds {query}'),
        ("answer_end", 5, "sets answer_end to 5; expected text."),
        ("sample_rate", "48000", 'sets sample_rate to "48000"; expected a whole number from 1 to 1,000,000.'),
        ("max_window_seconds", -1, "sets max_window_seconds to -1; expected a number above 0"),
        ("audio_encoder", "birdnet", 'sets audio_encoder to "birdnet"; expected settings in braces.'),
        ("lora", {"rank": 0}, "in lora, sets rank to 0; expected a whole number from 1 to 1,000,000."),
        ("adapter", {"answers": [1]}, "in adapter, sets answers to [1]; expected a list of texts."),
        ("adapter", {"decline_floor": 1.5}, "in adapter, sets decline_floor to 1.5; expected a number"),
        ("lowercase_query", "no", 'sets lowercase_query to "no"; expected true or false.'),
        ("text_config", {"hidden_size": "x"}, 'in text_config, sets hidden_size to "x"; expected a whole'),
        ("text_config", {"rms_norm_eps": "x"}, "Field 'rms_norm_eps' expected float"),
        ("text_config", {"hidden_act": "sponge"}, "No model can be built from the config in "),
    ],
)
def test_values_that_mean_nothing_are_named(copy: Path, part: str, value: Any, message: str) -> None:
    config = json.loads((copy / "config.json").read_text())
    given = {**config[part], **value} if part == "text_config" else value
    (copy / "config.json").write_text(json.dumps({**config, part: given}))
    with pytest.raises(CheckpointError) as caught:
        NatureLM.from_pretrained(copy)
    assert message in str(caught.value)
    assert str(copy) in str(caught.value)


def test_a_tokenizer_that_is_missing_or_a_pointer_is_said(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"lacks tokenizer\.json\.$"):
        NatureLM.from_pretrained(copy)
    (copy / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is a Git LFS pointer"):
        NatureLM.from_pretrained(copy)


def test_a_model_in_the_hubs_cache_loads_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repository = tmp_path / "models--someone--lite"
    snapshot = repository / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    snapshot.mkdir(parents=True)
    for name in FILES:
        shutil.copy(BUNDLED_FOLDER / name, snapshot / name)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(snapshot.name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert NatureLM.from_pretrained("someone/lite").config.name == "naturelm-lite"


def said(model: NatureLM, alpha: float | None = None) -> tuple[str, float]:
    wave = np.sin(np.arange(32_000) * 0.3).astype(np.float32)
    (features,) = model.encode_audio([wave])
    (answer,) = model.answer(
        [features], ["a b"], AnswerSettings(max_new_tokens=6, num_beams=2, merging_alpha=alpha)
    )
    return answer.text, answer.mean_logprob


@pytest.mark.parametrize("device_map", ["auto", "sequential", "cpu"])
def test_device_maps_change_no_answer(made: Any, device_map: str) -> None:
    placed = NatureLM.from_pretrained(made.folder, device_map=device_map).eval()
    assert said(placed) == said(NatureLM.from_pretrained(made.folder).eval())


def test_layers_may_stay_on_disk(made: Any, tmp_path: Path) -> None:
    parts = ("audio_encoder", "adapter", "language_model.lm_head")
    inner = ("embed_tokens", "layers.0", "norm", "rotary_emb")
    here = dict.fromkeys([*parts, *(f"language_model.model.{part}" for part in inner)], "cpu")
    placed = NatureLM.from_pretrained(
        made.folder, device_map={**here, "language_model.model.layers.1": "disk"}, offload_folder=tmp_path
    ).eval()
    assert placed.language_model.model.layers[1].mlp.up_proj.weight.device.type == "meta"
    whole = NatureLM.from_pretrained(made.folder).eval()
    text, score = said(whole)
    assert said(placed) == (text, pytest.approx(score, abs=1e-5))
    assert model_fingerprint(placed) == model_fingerprint(whole)
    assert placed.language_model.model.layers[1].mlp.up_proj.weight.device.type == "meta"


def test_a_model_that_was_cast_takes_another_merging_alpha(made: Any) -> None:
    model, cast = (NatureLM.from_pretrained(made.folder).eval() for _ in range(2))
    said(model, 1.0)
    model.language_model.to(torch.bfloat16)
    text, score = said(model, 0.5)
    assert {weight.dtype for weight in model.language_model.parameters()} == {torch.bfloat16}
    cast.language_model.to(torch.bfloat16)
    assert (text, score) == said(cast, 0.5)
