"""Answers drawn at random, the same ones whatever else is in the batch."""

from __future__ import annotations

import torch
from transformers import LogitsProcessor
from transformers.generation.logits_process import TemperatureLogitsWarper, TopPLogitsWarper


class SeededSampling(LogitsProcessor):
    """Adds noise to the scores so that the best token is one drawn at random.

    The largest of log-probabilities with Gumbel noise is a draw from them (Gumbel 1954, "the Gumbel-max
    trick"). The noise depends on the seed and the place in the answer alone, not on the row, so an answer is
    the same by itself and in any batch; windows of one run therefore share it, and another draw takes another
    seed.

    Parameters
    ----------
    temperature : float
        Above 0.
    top_p : float
        Share of the probability from which tokens are drawn, the most probable first.
    seed : int
    """

    def __init__(self, temperature: float, top_p: float = 1.0, seed: int = 0) -> None:
        self.temperature = TemperatureLogitsWarper(float(temperature))
        self.top_p = TopPLogitsWarper(top_p) if top_p < 1.0 else None
        self.seed = seed

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores [rows, vocabulary] with noise; what may not follow stays at minus infinity."""
        scores = self.temperature(input_ids, scores.float())
        if self.top_p is not None:
            scores = self.top_p(input_ids, scores)
        generator = torch.Generator().manual_seed((self.seed << 20) + input_ids.shape[1])
        uniform = torch.rand(scores.shape[-1], generator=generator, dtype=torch.float64)
        gumbel = -torch.log(-torch.log(uniform.clamp_(1e-300, 1 - 1e-16)))
        return scores + gumbel.to(scores)
