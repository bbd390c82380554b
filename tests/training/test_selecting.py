"""Examples are drawn by their loss, and count so that nothing changes in the mean."""

from __future__ import annotations

import pytest
import torch

from NatureLM.training.batches import Batch
from NatureLM.training.selecting import chances, draw


def test_chances_are_in_proportion_to_the_losses() -> None:
    losses = torch.tensor([1.0, 2.0, 4.0, 3.0])
    found = chances(losses, 1.0)
    parts = losses.double() + 0.05 * 2.5
    torch.testing.assert_close(found, parts / parts.sum())
    assert found.sum() == pytest.approx(1.0)


def test_large_losses_are_sure_to_be_drawn_and_the_rest_share_what_is_left() -> None:
    found = chances(torch.tensor([0.0, 100.0, 0.0, 50.0, 0.0, 0.0]), 3.0)
    assert found[[1, 3]].tolist() == [1.0, 1.0]
    torch.testing.assert_close(found[[0, 2, 4, 5]], torch.full((4,), 0.25, dtype=torch.float64))


@pytest.mark.parametrize("count", [1, 4, 8])
def test_equal_losses_have_equal_chances(count: int) -> None:
    for loss in (0.0, 2.0):
        expected = torch.full((8,), count / 8, dtype=torch.float64)
        torch.testing.assert_close(chances(torch.full((8,), loss), count), expected)


def test_weights_of_what_is_drawn_make_up_for_the_rest() -> None:
    losses = torch.linspace(0, 3, 40) ** 3
    batch = Batch(
        rows=torch.arange(40)[:, None, None].expand(40, 2, 6),
        features=torch.zeros(40, 2, 13),
        labels=torch.zeros(40, 2, dtype=torch.int64),
        weights=torch.full((40, 2), 0.5),
    )
    generator = torch.Generator().manual_seed(3)
    totals, sizes = [], []
    for _ in range(2000):
        drawn = draw(batch, losses, 0.25, generator)
        places = drawn.rows[:, 0, 0]
        sizes.append(len(places))
        totals.append(float((losses[places] * drawn.weights[:, 0]).sum()))
        assert (drawn.weights >= 0.5).all()
    assert sum(sizes) / 2000 == pytest.approx(10, rel=0.03)
    assert sum(totals) / 2000 == pytest.approx(float(losses.sum()) / 2, rel=0.02)


def test_something_is_always_drawn() -> None:
    ones = torch.ones(3, 1)
    batch = Batch(torch.zeros(3, 1, 6), torch.zeros(3, 1, 13), ones.long(), ones)
    generator = torch.Generator().manual_seed(0)
    assert min(len(draw(batch, torch.ones(3), 1e-6, generator).labels) for _ in range(50)) == 1
