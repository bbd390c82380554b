"""Windows through BEATs: padding with zeros that are heard, clipping, batches, training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from NatureLM.errors import CheckpointError, ConfigError, RecordingError
from NatureLM.models.configuration import NatureLMConfig
from NatureLM.models.encoders.beats import Beats
from NatureLM.models.encoders.beats_windows import BeatsWindowEncoder
from NatureLM.models.encoders.fbank import beats_filter_bank
from NatureLM.models.encoders.registry import build_encoder

LoadBeats = Callable[..., Beats]
MakeEncoder = Callable[..., BeatsWindowEncoder]
Arrays = dict[str, torch.Tensor]

TOLERANCE = 1e-4


def assert_close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = TOLERANCE) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


@pytest.fixture
def make_encoder(load_beats: LoadBeats) -> MakeEncoder:
    """An encoder for windows of 3 s of the recorded shape; with the recorded weights, or those given."""

    def make(weights: Arrays | None = None, seconds: float = 3.0) -> BeatsWindowEncoder:
        encoder = BeatsWindowEncoder(16_000, seconds, encoder_layers=1)
        encoder.beats = load_beats(weights)
        return encoder

    return make


@pytest.fixture
def encoder(make_encoder: MakeEncoder) -> BeatsWindowEncoder:
    return make_encoder()


@pytest.fixture
def wave(golden: Arrays) -> np.ndarray:
    return golden["wave"][0].numpy()


@torch.inference_mode()
def test_published_features(golden: Arrays, encoder: BeatsWindowEncoder, wave: np.ndarray) -> None:
    (features,) = encoder.encode([wave])
    assert features.shape == (144, 64)
    assert_close(features[None, ::31], golden["beats_out"])


@pytest.mark.parametrize("kind", ["small", "tiny"])
@torch.inference_mode()
def test_recorded_features(parity: Path, make_encoder: MakeEncoder, kind: str) -> None:
    encoder = make_encoder(load_file(parity / kind / "state_dict.safetensors"), seconds=10.0)
    waves = np.load(parity / "inputs.npz")["raw_wav"]
    expected = load_file(parity / kind / "golden_a.safetensors")["beats_out"]
    assert_close(torch.stack(encoder.encode(list(waves[:2]))), expected)

    padding = torch.arange(160_000) >= torch.tensor([160_000, 120_000, 64_000])[:, None]
    expected = load_file(parity / kind / "golden_b.safetensors")["beats_out"]
    assert_close(encoder(torch.from_numpy(waves).masked_fill(padding, 0.0), padding), expected)


@torch.inference_mode()
def test_zeros_at_the_end_are_heard(encoder: BeatsWindowEncoder, wave: np.ndarray) -> None:
    padded = np.concatenate([wave[:20_000], np.zeros(28_000, np.float32)])
    (short,), (full,) = encoder.encode([wave[:20_000]]), encoder.encode([padded])
    assert torch.equal(short, full)
    (plain,) = encoder(torch.from_numpy(wave[None, :20_000]))
    assert plain.shape == (56, 64)
    assert not torch.allclose(short[:56], plain, atol=1e-2)


@torch.inference_mode()
def test_whole_windows_are_heard_as_they_are(encoder: BeatsWindowEncoder, wave: np.ndarray) -> None:
    """Rows of BEANS-Zero have lengths of their own: three of two lengths, in their order."""
    windows = [wave[:20_000], wave[:30_000], wave[5_000:25_000]]
    found = encoder.encode(windows, whole=True)
    assert [features.shape for features in found] == [(56, 64), (88, 64), (56, 64)]
    for window, features in zip(windows, found, strict=True):
        (alone,) = encoder(torch.from_numpy(window[None]).double().clamp(-1.0, 1.0))
        assert_close(features, alone, 1e-5)
    with pytest.raises(ConfigError, match="is longer than the"):
        encoder.encode([np.zeros(encoder.window_samples + 1, np.float32)], whole=True)


@torch.inference_mode()
def test_filter_bank_is_float64(encoder: BeatsWindowEncoder, wave: np.ndarray) -> None:
    found = encoder.filter_bank(encoder.padded([wave]))
    assert found.dtype == torch.float32
    assert torch.equal(found, beats_filter_bank(torch.from_numpy(wave[None]).double()).float())


@torch.inference_mode()
def test_clipping(encoder: BeatsWindowEncoder, wave: np.ndarray) -> None:
    loud = 3 * wave
    assert np.abs(loud).max() > 1.0
    found, expected = encoder.encode([loud, np.clip(loud, -1.0, 1.0)])
    assert torch.equal(found, expected)
    assert np.abs(loud).max() > 1.0  # the caller's own stays as it is


@torch.inference_mode()
def test_many_windows_keep_their_order(encoder: BeatsWindowEncoder, wave: np.ndarray) -> None:
    windows = [wave[start : start + 16_000 - start // 8] for start in range(0, 30_000, 6_000)]
    found = encoder.encode(windows)
    assert len(found) == 5
    for window, features in zip(windows, found, strict=True):
        assert_close(features, encoder.encode([window])[0], 1e-5)
    assert encoder.encode([]) == []


@torch.inference_mode()
def test_silence_and_nothing(encoder: BeatsWindowEncoder) -> None:
    silent, empty = encoder.encode([np.zeros(48_000, np.float32), np.zeros(0, np.float32)])
    assert torch.equal(silent, empty)
    assert silent.isfinite().all()


def test_longer_windows_are_refused(encoder: BeatsWindowEncoder) -> None:
    with pytest.raises(
        ConfigError, match=r"^A window of 3\.5 s is longer than the 3 s that this model hears"
    ):
        encoder.encode([np.zeros(56_000, np.float32)])


def test_training_reaches_every_weight(encoder: BeatsWindowEncoder, golden: Arrays) -> None:
    padding = torch.arange(48_000) >= torch.tensor([40_000])[:, None]
    encoder(golden["wave"], padding).square().sum().backward()
    unreached = {name for name, weight in encoder.named_parameters() if weight.grad is None}
    assert unreached == {"beats.predictor.weight", "beats.predictor.bias"}


def test_too_short_for_training(encoder: BeatsWindowEncoder) -> None:
    with pytest.raises(RecordingError, match="samples are too short"):
        encoder(torch.zeros(1, 300))
    with pytest.raises(RecordingError, match="frames are too few"):
        encoder(torch.zeros(1, 2_799))
    assert encoder(torch.zeros(1, 2_800)).shape == (1, 8, 64)


def config(**options: Any) -> NatureLMConfig:
    return NatureLMConfig(audio_encoder={"type": "beats", "encoder_layers": 1, "embed_dim": 8, **options})


def test_built_from_a_config() -> None:
    encoder = build_encoder(config(encoder_embed_dim=48, conv_pos=4))
    assert isinstance(encoder, BeatsWindowEncoder)
    assert encoder.window_samples == 160_000
    assert encoder.beats.config.encoder_embed_dim == 48


def test_wrong_configs() -> None:
    with pytest.raises(CheckpointError, match=r"wrong option for the audio encoder 'beats'.*sponge"):
        build_encoder(config(sponge=1))
    with pytest.raises(CheckpointError, match=r"^BEATs hears 16000 Hz, but the model's config says 48000\.$"):
        build_encoder(NatureLMConfig(sample_rate=48_000, audio_encoder={"type": "beats"}))
    with pytest.raises(CheckpointError, match=r"Unknown audio encoder 'bat' .* available: beats, birdnet"):
        build_encoder(NatureLMConfig(audio_encoder={"type": "bat"}))
