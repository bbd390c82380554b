"""BEATs against what the published code recorded, stage by stage, and against plain definitions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from NatureLM.errors import CheckpointError, RecordingError
from NatureLM.models.encoders.beats import Beats, BeatsConfig, padded_patches, scale_gradient
from NatureLM.models.encoders.beats_attention import GatedAttention, RelativePositionBias, distance_buckets
from NatureLM.models.encoders.fbank import beats_filter_bank

LoadBeats = Callable[..., Beats]
Arrays = dict[str, torch.Tensor]

TOLERANCE = 1e-4
PATCHES = slice(0, 128, 9)  # as make_published_golden.py stores them
VALID_SAMPLES = (160_000, 120_000, 64_000)  # of scenario b


def assert_close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


def stages(beats: Beats, filter_bank: torch.Tensor) -> Arrays:
    """What each stage makes of a filter bank, by the names of the recording."""
    found: Arrays = {}
    layers = {
        "beats_patch_layernorm": beats.layer_norm,
        "beats_post_extract_proj": beats.post_extract_proj,
        "beats_pos_conv": beats.encoder.pos_conv,
        "beats_encoder_layer_norm": beats.encoder.layer_norm,
        "beats_layer0": beats.encoder.layers[0],
    }

    def record(name: str) -> Callable[..., None]:
        def hook(module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
            found[name] = output.transpose(1, 2) if name == "beats_pos_conv" else output

        return hook

    handles = [layer.register_forward_hook(record(name)) for name, layer in layers.items()]
    with torch.no_grad():
        found["beats_out"] = beats(filter_bank)
        found["beats_predictor_probs"] = beats.classify(found["beats_out"])
    for handle in handles:
        handle.remove()
    return found


@pytest.fixture
def beats(load_beats: LoadBeats) -> Beats:
    return load_beats()


@pytest.fixture(scope="module")
def filter_bank(golden: Arrays) -> torch.Tensor:
    return beats_filter_bank(golden["wave"])


@pytest.fixture(scope="module", params=["small", "tiny"])
def recorded(request: pytest.FixtureRequest, parity: Path, load_beats: LoadBeats) -> tuple[Path, Beats]:
    folder = parity / request.param
    return folder, load_beats(load_file(folder / "state_dict.safetensors"))


def test_published_stages(golden: Arrays, beats: Beats, filter_bank: torch.Tensor) -> None:
    found = stages(beats, filter_bank)
    for name in ("beats_patch_layernorm", "beats_post_extract_proj", "beats_pos_conv"):
        assert_close(found[name][:, PATCHES], golden[name])
    assert_close(found["beats_out"][:, ::31], golden["beats_out"])


def test_padding_classes_and_gradients(golden: Arrays, beats: Beats, filter_bank: torch.Tensor) -> None:
    padding = golden["own_padding"]
    features = beats(filter_bank, padding)
    assert_close(features[:, PATCHES], golden["own_features"])
    assert_close(beats.classify(features, padding), golden["own_probabilities"])
    (features.square().sum() / features.numel()).backward()
    layers = beats.encoder.layers
    assert_close(beats.post_extract_proj.bias.grad, golden["own_gradient_proj"])
    assert_close(torch.cat([layer.self_attn.grep_a.grad for layer in layers]), golden["own_gradient_gates"])
    bias = layers[0].self_attn.relative_attention_bias.weight
    assert_close(bias.grad[::8], golden["own_gradient_bias"])


def test_published_padding_mask(golden: Arrays) -> None:
    padding = torch.arange(160_000) >= torch.tensor(VALID_SAMPLES)[:, None]
    assert torch.equal(padded_patches(padding, 998, 496), golden["beats_padding_mask"])


def test_recorded_stages(parity: Path, recorded: tuple[Path, Beats]) -> None:
    folder, beats = recorded
    expected = load_file(folder / "golden_a.safetensors")
    # Of the recorded filter bank: ours rounds otherwise on some processors, which test_fbank.py measures.
    found = stages(beats, load_file(parity / "small" / "golden_a.safetensors")["fbank"])
    checked = [name for name in found if name in expected]
    assert {"beats_out", "beats_predictor_probs"} <= set(checked)
    for name in checked:
        assert_close(found[name], expected[name])


@torch.no_grad()
def test_recorded_padding(parity: Path, recorded: tuple[Path, Beats]) -> None:
    folder, beats = recorded
    waves = torch.from_numpy(np.load(parity / "inputs.npz")["raw_wav"])
    padding = torch.arange(160_000) >= torch.tensor(VALID_SAMPLES)[:, None]
    filter_bank = beats_filter_bank(waves.masked_fill(padding, 0.0))
    expected = load_file(folder / "golden_b.safetensors")
    patches = padded_patches(padding, filter_bank.shape[1], beats.patch_count(filter_bank.shape[1]))
    assert torch.equal(patches, expected["beats_padding_mask"].bool())
    features = beats(filter_bank, patches)
    assert_close(features, expected["beats_out"])
    assert_close(beats.classify(features, patches), expected["beats_predictor_probs"])


@pytest.mark.parametrize("samples", [16_000, 48_000, 80_000, 99_999, 160_000, 240_000])
@torch.no_grad()
def test_recorded_lengths(parity: Path, load_beats: LoadBeats, samples: int) -> None:
    beats = load_beats(load_file(parity / "small" / "state_dict.safetensors"))
    wave = torch.from_numpy(np.load(parity / "inputs.npz")["raw_wav"][:2].reshape(1, -1)[:, :samples])
    expected = load_file(parity / "small" / "golden_lengths.safetensors")[f"beats_out_{samples}"]
    assert_close(beats(beats_filter_bank(wave))[:, ::31], expected)


def test_names_are_those_of_the_checkpoints(golden_weights: Arrays, beats: Beats) -> None:
    published = {name.removeprefix("beats.") for name in golden_weights if name.startswith("beats.")}
    assert set(beats.state_dict()) == published


@pytest.mark.parametrize("kind", ["small", "tiny"])
def test_config_of_recorded_checkpoints(parity: Path, kind: str) -> None:
    cfg = json.loads((parity / kind / "config.json").read_text())["model_kwargs"]["beats_cfg"]
    config = BeatsConfig.from_checkpoint(cfg)
    assert {name: getattr(config, name) for name in cfg} == cfg


def test_config_passes_over_pretraining() -> None:
    config = BeatsConfig.from_checkpoint({"encoder_layers": 3, "mask_prob": 0.75, "finetuned_model": False})
    assert (config.encoder_layers, config.finetuned_model) == (3, False)
    assert config.residual_scale == 6**0.25
    assert BeatsConfig(deep_norm=False).residual_scale == 1.0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"activation_fn": "relu"}, "BEATs with activation_fn='relu' is not supported, only 'gelu'."),
        ({"layer_norm_first": True}, "BEATs with layer_norm_first=True is not supported"),
        ({"gru_rel_pos": False}, "BEATs with gru_rel_pos=False is not supported"),
        ({"encoder_attention_heads": 7}, "BEATs' width 768 is no multiple of its 7 heads."),
    ],
)
def test_unsupported_kinds(option: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message.replace("(", r"\(")):
        BeatsConfig(**option)


def test_published_size() -> None:
    """90 M parameters, as the paper has it, and 0.4 M of the classifying head."""
    with torch.device("meta"):
        beats = Beats(BeatsConfig())
    counts = {name: weight.numel() for name, weight in beats.named_parameters()}
    head = counts.pop("predictor.weight") + counts.pop("predictor.bias")
    assert (sum(counts.values()), head) == (90_311_792, 405_263)


def test_buckets() -> None:
    buckets = distance_buckets(1_000, 320, 800)
    of = {distance: int(buckets[distance + 999]) for distance in range(-999, 1_000)}
    assert [of[0], of[-1], of[-79], of[-80]] == [0, 1, 79, 80]
    assert [of[1], of[79], of[80]] == [161, 239, 240]
    assert {of[-800], of[-999]} == {159}
    assert {of[800], of[999]} == {319}
    before = [of[-distance] for distance in range(1_000)]
    assert before == sorted(before)
    assert [of[distance] for distance in range(1, 1_000)] == [160 + place for place in before[1:]]


@pytest.mark.parametrize("length", [1, 2, 7])
def test_bias_between_positions(length: int) -> None:
    bias = RelativePositionBias(8, 6, heads=3)
    found = bias.between(length)
    buckets = distance_buckets(length, 8, 6)
    for query in range(length):
        for key in range(length):
            expected = bias.weight[buckets[key - query + length - 1]]
            assert torch.equal(found[:, query, key], expected)


def test_buckets_are_found_once_for_all_layers_and_calls(beats: Beats) -> None:
    distance_buckets.cache_clear()
    with torch.inference_mode():
        for _ in range(3):
            beats(torch.zeros(2, 48, 128))
    information = distance_buckets.cache_info()
    assert (information.misses, information.hits) == (1, 2)


def test_attention_is_that_of_beats() -> None:
    """Against the published way: queries / 32, the maximum taken off, times 32, gates from plain queries."""
    torch.manual_seed(0)
    attention = GatedAttention(32, heads=2).double()
    torch.nn.init.normal_(attention.grep_a)
    features, bias = torch.randn(3, 9, 32).double(), torch.randn(2, 9, 9).double()
    padding = torch.zeros(3, 9, dtype=torch.bool)
    padding[1, 5:] = True

    def heads(linear: torch.nn.Linear) -> torch.Tensor:
        return linear(features).view(3, 9, 2, 16).transpose(1, 2)

    query, key, value = heads(attention.q_proj), heads(attention.k_proj), heads(attention.v_proj)
    logits = (query / 4 / 32) @ key.transpose(-1, -2)
    logits = (logits - logits.amax(dim=-1, keepdim=True)) * 32
    gates = attention.grep_linear(query).view(3, 2, 9, 2, 4).sum(-1).sigmoid()
    gate = gates[..., :1] * (gates[..., 1:] * attention.grep_a - 1) + 2
    logits = (logits + gate * bias).masked_fill(padding[:, None, None], float("-inf"))
    gathered = (logits.softmax(dim=-1) @ value).transpose(1, 2).reshape(3, 9, 32)
    assert_close(attention(features, bias, padding), attention.out_proj(gathered), 1e-12)


@torch.no_grad()
def test_a_batch_is_its_recordings(beats: Beats, filter_bank: torch.Tensor) -> None:
    parts = filter_bank[:, :296].view(2, 148, 128)
    together = beats(parts)
    for part, found in zip(parts, together, strict=True):
        assert_close(beats(part[None])[0], found, 1e-5)


@torch.no_grad()
def test_padding_is_not_heard(beats: Beats, filter_bank: torch.Tensor) -> None:
    padding = torch.zeros(1, 144, dtype=torch.bool)
    padding[:, 80:] = True
    other = filter_bank.clone()
    other[:, 160:] = torch.randn_like(other[:, 160:])
    assert torch.equal(beats(filter_bank, padding)[:, :80], beats(other, padding)[:, :80])
    assert not torch.equal(beats(filter_bank)[:, :80], beats(other)[:, :80])


@torch.no_grad()
def test_frames_that_fill_no_patch_are_dropped(beats: Beats, filter_bank: torch.Tensor) -> None:
    assert beats(filter_bank).shape == (1, 144, 64)
    assert torch.equal(beats(filter_bank), beats(filter_bank[:, :288]))
    assert (beats.patch_count(298), beats.patch_count(998)) == (144, 496)


def test_too_short(beats: Beats) -> None:
    with pytest.raises(RecordingError, match=r"^15 frames are too few to be heard: BEATs needs 16"):
        beats(torch.zeros(1, 15, 128))
    assert beats(torch.zeros(1, 16, 128)).shape == (1, 8, 64)


def test_training_leaves_out_layers(load_beats: LoadBeats, filter_bank: torch.Tensor) -> None:
    none = load_beats(encoder_layerdrop=0.0).train()
    found = stages(none, filter_bank)
    assert_close(found["beats_out"], stages(none.eval(), filter_bank)["beats_out"], 1e-5)
    every = load_beats(encoder_layerdrop=1.0).train()
    assert_close(every(filter_bank), found["beats_encoder_layer_norm"], 1e-5)
    assert_close(every.eval()(filter_bank), found["beats_out"], 1e-5)


def test_dropout_only_in_training(load_beats: LoadBeats, filter_bank: torch.Tensor) -> None:
    plain = load_beats()(filter_bank)
    for name in ("dropout", "attention_dropout", "activation_dropout", "dropout_input"):
        beats = load_beats(encoder_layerdrop=0.0, **{name: 0.5})
        assert torch.equal(beats(filter_bank), plain)
        assert not torch.allclose(beats.train()(filter_bank), plain, atol=0.1)


def test_gradients_fade_from_layer_to_layer(load_beats: LoadBeats, filter_bank: torch.Tensor) -> None:
    gradients = {}
    for ratio in (1.0, 0.5):
        beats = load_beats(layer_wise_gradient_decay_ratio=ratio)
        beats(filter_bank).sum().backward()
        gradients[ratio] = {name: weight.grad for name, weight in beats.named_parameters()}
    for name, times in {
        "encoder.layers.1.fc1.weight": 0,
        "encoder.layers.0.fc1.weight": 1,
        "encoder.layer_norm.weight": 2,
        "patch_embedding.weight": 2,
    }.items():
        torch.testing.assert_close(gradients[0.5][name], gradients[1.0][name] * 0.5**times)


def test_gradient_alone_is_scaled() -> None:
    features = torch.randn(3, requires_grad=True)
    assert torch.equal(scale_gradient(features, 0.3), features)
    scale_gradient(features, 0.3).sum().backward()
    assert_close(features.grad, torch.full((3,), 0.3), 1e-7)


def test_without_classes(golden_weights: Arrays) -> None:
    beats = Beats(BeatsConfig(encoder_layers=1, finetuned_model=False, embed_dim=768))
    assert not any("predictor" in name or "post_extract" in name for name in beats.state_dict())
    with pytest.raises(CheckpointError, match="was not fine-tuned"):
        beats.classify(torch.zeros(1, 8, 768))
