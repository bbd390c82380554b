"""BEATs by itself: Microsoft's layout (`cfg`, `model`), a safetensors file with any prefix."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from NatureLM.errors import CheckpointError
from NatureLM.models.encoders.beats import Beats, BeatsConfig
from NatureLM.models.encoders.beats_checkpoint import load_beats, read_beats

CONFIG = BeatsConfig(
    embed_dim=8,
    encoder_layers=2,
    encoder_embed_dim=16,
    encoder_ffn_embed_dim=8,
    encoder_attention_heads=2,
    conv_pos=4,
    conv_pos_groups=2,
    num_buckets=8,
    max_distance=16,
    predictor_class=3,
)
FIRST, SECOND = (f"encoder.layers.{layer}.self_attn.relative_attention_bias.weight" for layer in (0, 1))


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    """As a checkpoint holds them: the shared relative positions once in each layer."""
    torch.manual_seed(0)
    weights = {name: torch.randn_like(tensor) for name, tensor in Beats(CONFIG).state_dict().items()}
    return {**weights, SECOND: weights[FIRST]}


@pytest.mark.parametrize("prefix", ["", "backbone.", "model.beats."])
def test_weights_arrive_from_either_layout(
    weights: dict[str, torch.Tensor], prefix: str, tmp_path: Path
) -> None:
    cfg = {"encoder_layers": 2, "embed_dim": 8, "mask_prob": 0.8}
    torch.save({"cfg": cfg, "model": {prefix + k: v for k, v in weights.items()}}, tmp_path / "beats.pt")
    stored = {prefix + name: tensor.clone() for name, tensor in weights.items()}
    stored["head.weight"] = torch.zeros(2)
    if prefix:
        save_file(stored, tmp_path / "beats.safetensors")
    assert read_beats(tmp_path / "beats.pt").options == cfg
    for file in tmp_path.iterdir():
        encoder = Beats(CONFIG)
        load_beats(encoder, file)
        for name, tensor in encoder.state_dict().items():
            assert torch.equal(tensor, weights[name]), name


def test_what_does_not_fit_is_named_and_nothing_is_loaded(
    weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    weights["layer_norm.weight"] = torch.zeros(9)
    weights["layer_norm.colour"] = weights.pop("layer_norm.bias")
    torch.save({"model": weights}, tmp_path / "beats.pt")
    encoder = Beats(CONFIG)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_beats(encoder, tmp_path / "beats.pt")
    assert "missing keys: beats.layer_norm.bias; unexpected keys: beats.layer_norm.colour; " in str(
        caught.value
    )
    assert "beats.layer_norm.weight [9] instead of [8]" in str(caught.value)
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_the_classifier_may_be_absent_unless_asked_for(
    weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    heard = {name: tensor for name, tensor in weights.items() if not name.startswith("predictor.")}
    torch.save({"model": heard}, tmp_path / "beats.pt")
    load_beats(Beats(CONFIG), tmp_path / "beats.pt")
    with pytest.raises(
        CheckpointError, match=r"missing keys: beats\.predictor\.weight, beats\.predictor\.bias"
    ):
        load_beats(Beats(CONFIG), tmp_path / "beats.pt", classifier=True)
    torch.save({"model": {"other": torch.zeros(1)}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="holds no BEATs"):
        read_beats(tmp_path / "other.pt")
