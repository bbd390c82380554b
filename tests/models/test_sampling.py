"""Answers drawn at random come with the probabilities asked for, and again with the same seed."""

from __future__ import annotations

import pytest
import torch

from NatureLM.models.sampling import SeededSampling

SCORES = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))


def drawn(temperature: float, top_p: float, scores: torch.Tensor = SCORES, count: int = 4000) -> torch.Tensor:
    """Shares of the tokens over many seeds."""
    ids = torch.zeros(1, 3, dtype=torch.long)
    picks = [
        int(SeededSampling(temperature, top_p, seed)(ids, scores[None]).argmax()) for seed in range(count)
    ]
    return torch.bincount(torch.tensor(picks), minlength=len(scores)) / count


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_tokens_come_as_often_as_their_probability_says(temperature: float) -> None:
    expected = torch.softmax(SCORES / temperature, 0)
    torch.testing.assert_close(drawn(temperature, 1.0), expected, atol=0.025, rtol=0)


def test_top_p_leaves_the_most_probable() -> None:
    shares = drawn(1.0, 0.7)
    torch.testing.assert_close(shares, torch.tensor([0.625, 0.375, 0.0, 0.0]), atol=0.025, rtol=0)


def test_what_may_not_follow_is_never_drawn() -> None:
    scores = torch.tensor([0.0, float("-inf"), 0.0, float("-inf")])
    shares = drawn(1.0, 1.0, scores, 400)
    assert shares[1] == shares[3] == 0.0
    assert shares[0] == pytest.approx(0.5, abs=0.08)


def test_draws_depend_on_seed_and_place_but_not_on_the_row() -> None:
    scores = torch.randn(3, 500, generator=torch.Generator().manual_seed(1))
    ids = torch.zeros(3, 5, dtype=torch.long)
    together = SeededSampling(1.0, 0.9, 7)(ids, scores)
    for row in range(3):
        alone = SeededSampling(1.0, 0.9, 7)(ids[:1], scores[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, atol=0, rtol=0)
    assert not torch.equal(together, SeededSampling(1.0, 0.9, 8)(ids, scores))
    assert not torch.equal(together, SeededSampling(1.0, 0.9, 7)(ids[:, :4], scores))
