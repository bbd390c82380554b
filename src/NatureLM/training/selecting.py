"""Gradients are computed where there is something to learn.

Late in training most answers are sure and right, and their gradients next to nothing, though they cost as
much as any. So a batch is read without gradients first, and examples are drawn from it by their loss; each
drawn one counts by one over its chance, so that the gradient is the whole batch's in the mean (importance
sampling: Katharopoulos and Fleuret 2018, "Not All Samples Are Created Equal", eq. 4-6, with the loss for the
gradient's norm).
"""

from __future__ import annotations

import torch

from NatureLM.training.batches import Batch

EVEN_PART = 0.05
"""What is added to each loss, as a part of the mean loss, so that no example's chance is nothing."""


def chances(losses: torch.Tensor, count: float) -> torch.Tensor:
    """Return the chance of each example to be drawn, such that ``count`` are drawn in the mean.

    Parameters
    ----------
    losses : float [examples]
        Not negative.
    count : float
        At most the number of examples.

    Returns
    -------
    float64 [examples]
        In proportion to the losses, but at most 1.
    """
    sizes = losses.double() + EVEN_PART * losses.double().mean() + 1e-12
    sure = torch.zeros_like(sizes, dtype=torch.bool)
    while True:
        left = count - int(sure.sum())
        scaled = torch.where(sure, 1.0, sizes * (left / sizes[~sure].sum().clamp(min=1e-300)))
        over = (scaled > 1) & ~sure
        if not over.any():
            return scaled
        sure |= over


def draw(batch: Batch, losses: torch.Tensor, share: float, generator: torch.Generator) -> Batch:
    """Return the drawn examples of a batch, their weights divided by their chances.

    Parameters
    ----------
    batch : Batch
    losses : float [examples]
        Loss of each example, summed over its answer's tokens with their weights.
    share : float
        Share of the examples to be drawn, in the mean.
    generator : torch.Generator
        On the CPU.
    """
    chance = chances(losses.cpu(), share * len(losses))
    drawn = torch.rand(len(chance), generator=generator, dtype=torch.float64) < chance
    if not drawn.any():
        drawn[chance.argmax()] = True
    drawn = drawn.to(batch.rows.device)
    weights = batch.weights / chance.to(batch.weights)[:, None]
    return Batch(batch.rows[drawn], batch.features[drawn], batch.labels[drawn], weights[drawn])
