"""The filter bank against torchaudio's numbers as the published code recorded them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from NatureLM.errors import RecordingError
from NatureLM.models.encoders.fbank import (
    DEVIATION,
    ENERGY_FLOOR,
    FFT_SAMPLES,
    MEAN,
    MEL_BINS,
    SAMPLE_RATE,
    beats_filter_bank,
    frame_count,
    kaldi_filter_bank,
    mel_filters,
)

FRAMES = slice(0, 298, 12)  # as make_published_golden.py stores them

FLOAT32, FLOAT64 = 1e-5, 1e-6
"""Both are met to the last bit on an Intel processor, where the recordings were made."""

CLIPS = (
    "484366__spacejoe__bird-3",
    "Lazuli_Bunting_yell-YELLLAZB20160625SM303143",
    "nri-GreenTreeFrogEvergladesNP",
    "nri-SensationJazz",
    "nri-StreamMUWO",
    "yell-YELLWolfvCar20160111T22ms2",
)


def assert_close(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


def assert_same_but_for_rounding(wave: torch.Tensor, expected: torch.Tensor, frames: slice) -> None:
    """Compare numbers in float32: the Fourier transform of other processors rounds otherwise.

    Both are then about as far from float64: twice in the mean, and four times at most, how far the recorded
    numbers are.
    """
    found, exact = (beats_filter_bank(given).float()[:, frames] for given in (wave, wave.double()))
    apart, rounding = (found - expected).abs(), (exact - expected).abs()
    if apart.max() > FLOAT32:
        assert apart.mean() <= 2 * rounding.mean()
        assert apart.max() <= 4 * rounding.max()


def test_published_numbers(golden: dict[str, torch.Tensor]) -> None:
    wave = golden["wave"]
    assert_same_but_for_rounding(wave, golden["fbank"], FRAMES)
    in_float64 = beats_filter_bank(wave.double())
    assert in_float64.dtype == torch.float64
    assert_close(in_float64.float()[:, FRAMES], golden["fbank_from_float64_wav"], FLOAT64)


def test_published_numbers_of_whole_recordings(parity: Path) -> None:
    waves = torch.from_numpy(np.load(parity / "inputs.npz")["raw_wav"])
    small = parity / "small"
    expected = load_file(small / "golden_a.safetensors")
    assert_same_but_for_rounding(waves[:2], expected["fbank"], slice(None))
    in_float64 = beats_filter_bank(waves[:2].double()).float()
    assert_close(in_float64, expected["fbank_from_float64_wav"], FLOAT64)
    for row, samples in enumerate((160_000, 120_000, 64_000)):
        waves[row, samples:] = 0.0
    expected = load_file(small / "golden_b.safetensors")
    assert_same_but_for_rounding(waves, expected["fbank"], slice(None))


@pytest.mark.parametrize("clip", CLIPS)
def test_published_numbers_of_clips(parity: Path, clip: str) -> None:
    with np.load(parity / "clips" / f"{clip}.npz") as stored:
        arrays = {name: torch.from_numpy(stored[name])[None] for name in stored}
    assert_close(beats_filter_bank(arrays["wav"].double()).float(), arrays["fbank"], FLOAT64)
    if "fbank_float32_arithmetic" in arrays:
        assert_same_but_for_rounding(arrays["wav"], arrays["fbank_float32_arithmetic"], slice(None))


def test_a_batch_is_its_waveforms(golden: dict[str, torch.Tensor]) -> None:
    waves = golden["wave"].view(3, 16_000)
    together = beats_filter_bank(waves)
    assert together.shape == (3, 98, 128)
    for wave, found in zip(waves, together, strict=True):
        assert_close(found, beats_filter_bank(wave[None])[0], 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silence_lies_on_the_floor(dtype: torch.dtype) -> None:
    silence = torch.zeros(1, SAMPLE_RATE, dtype=dtype)
    floor = (np.log(ENERGY_FLOOR) - MEAN) / (2 * DEVIATION)
    assert_close(beats_filter_bank(silence), torch.full((1, 98, 128), floor, dtype=dtype), 1e-6)
    assert_close(beats_filter_bank(silence + 0.25), beats_filter_bank(silence), 1e-6)


@pytest.mark.parametrize("hertz", [1_000.0, 4_000.0, 7_000.0])
def test_a_tone_is_loudest_in_its_own_bin(hertz: float) -> None:
    seconds = torch.arange(SAMPLE_RATE, dtype=torch.float64) / SAMPLE_RATE
    energies = kaldi_filter_bank(1_000 * torch.sin(2 * np.pi * hertz * seconds)[None])
    mels = 1127.0 * np.log(1.0 + np.array([20.0, 8_000.0, hertz]) / 700.0)
    bin_of_tone = (mels[2] - mels[0]) / (mels[1] - mels[0]) * (MEL_BINS + 1) - 1
    assert ((energies.argmax(dim=-1) - bin_of_tone).abs() <= 1.0).all()


def test_filters_are_triangles() -> None:
    filters = mel_filters()
    frequencies = np.arange(FFT_SAMPLES // 2 + 1) * SAMPLE_RATE / FFT_SAMPLES
    assert filters.shape == (FFT_SAMPLES // 2 + 1, MEL_BINS)
    assert filters.min() == 0.0
    assert 0.9 < filters.max() <= 1.0
    assert not filters[[0, -1]].any()  # neither 0 Hz nor half the sample rate
    used = filters.any(axis=0)
    assert np.flatnonzero(~used).tolist() == [3]  # so narrow that it lies between two frequencies of the FFT
    assert (np.diff(filters.argmax(axis=0)[used]) >= 0).all()
    inner = filters[(frequencies > 60) & (frequencies < 7_700)].sum(axis=1)
    np.testing.assert_allclose(inner, 1.0, atol=1e-4)  # each frequency is shared out between two bins


def test_filters_made_while_inferring_serve_training() -> None:
    mel_filters.cache_clear()
    with torch.inference_mode():
        beats_filter_bank(torch.zeros(1, 1_000))
    wave = torch.randn(1, 1_000, requires_grad=True)
    beats_filter_bank(wave).sum().backward()
    assert wave.grad is not None


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2), (160_000, 998)]
)
def test_frame_count(samples: int, frames: int) -> None:
    assert frame_count(samples) == frames
    if frames:
        assert beats_filter_bank(torch.zeros(1, samples)).shape == (1, frames, 128)


@pytest.mark.parametrize("samples", [0, 399])
def test_too_short(samples: int) -> None:
    with pytest.raises(RecordingError, match=rf"^{samples} samples are too short .* 25 ms has 400\.$"):
        beats_filter_bank(torch.zeros(2, samples))
