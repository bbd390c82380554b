"""Log-probabilities of the tokens that answers are made of, kept while they are chosen."""

from __future__ import annotations

from collections.abc import Callable

import torch
from transformers import LogitsProcessor


class ChosenScores:
    """Keeps what the model itself, before any rule, gives to the tokens that may be chosen at each step.

    ``generate`` can return whole logits instead: for 300 tokens of a vocabulary of 128,256, two beams and a
    batch of 16 these are 5 GB. Here a step costs a few numbers a row.

    Parameters
    ----------
    candidates : int
        How many of a row's best tokens can be chosen: one in greedy decoding; in beam search
        ``max(2, 1 + ends) * beams``, where ``ends`` counts the tokens that end an answer (transformers'
        ``beams_to_keep``).
    normalised : bool
        Whether scores come as log-probabilities (beam search) or as logits (greedy decoding).
    ruled : bool
        Whether there are rules, which may write into their scores.

    Attributes
    ----------
    before, after : LogitsProcessor
        To be the first and the last of ``generate``'s processors.
    """

    def __init__(self, candidates: int, *, normalised: bool, ruled: bool) -> None:
        self.candidates = candidates
        self.normalised = normalised
        self.ruled = ruled
        self.tokens: list[torch.Tensor] = []
        self.logprobs: list[torch.Tensor] = []
        self.unruled: torch.Tensor | None = None
        self.before = _Tap(self._keep_unruled)
        self.after = _Tap(self._keep_candidates)

    def _keep_unruled(self, scores: torch.Tensor) -> None:
        self.unruled = scores.clone() if self.ruled else scores

    def _keep_candidates(self, scores: torch.Tensor) -> None:
        assert self.unruled is not None, "before and after belong to one generate call"
        tokens = scores.topk(min(self.candidates, scores.shape[-1])).indices
        self.tokens.append(tokens)
        logprobs = self.unruled.gather(1, tokens)
        self.logprobs.append(logprobs if self.normalised else logprobs - self.unruled.logsumexp(-1, True))
        self.unruled = None

    def of(self, sequences: torch.Tensor, beam_indices: torch.Tensor | None = None) -> torch.Tensor:
        """Return the log-probabilities of chosen tokens.

        Parameters
        ----------
        sequences : int64 [batch, length]
            What was generated.
        beam_indices : int [batch, length], optional
            The row that each token was chosen in, -1 after an answer's end; row by row without beams.

        Returns
        -------
        float32 [batch, length]
            0 after an answer's end in beam search.
        """
        batch, length = sequences.shape
        if beam_indices is None:
            beam_indices = torch.arange(batch, device=sequences.device)[:, None].expand(batch, length)
        steps = torch.arange(length, device=sequences.device)
        rows = beam_indices[:, :length].clamp(min=0).long()
        tokens = torch.stack(self.tokens[:length])[steps, rows]
        logprobs = torch.stack(self.logprobs[:length])[steps, rows]
        # Of tokens that come last alike another may have been kept than was chosen: the last one's stands.
        found = tokens == sequences[..., None]
        place = torch.where(found.any(-1), found.int().argmax(-1), tokens.shape[-1] - 1)
        chosen = logprobs.gather(-1, place[..., None])[..., 0]
        return chosen.masked_fill(beam_indices[:, :length] < 0, 0.0)


class _Tap(LogitsProcessor):
    """Shows scores to a function, and leaves them as they are."""

    def __init__(self, show: Callable[[torch.Tensor], None]) -> None:
        self.show = show

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores [rows, vocabulary] unchanged."""
        self.show(scores)
        return scores
