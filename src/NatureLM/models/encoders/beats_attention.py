"""Self-attention of BEATs: relative positions in logarithmic buckets, gated by what each query holds.

The gated relative position bias is that of WavLM (Chen et al. 2021, section 3.2), the buckets are those of
T5 (Raffel et al. 2020). The bias of a distance is learned once, in the first layer; every layer gates it
anew.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import scaled_dot_product_attention

GATE_INPUTS = 8
"""Outputs of the gates' linear map: two gates of four numbers each, which are added (WavLM)."""


@lru_cache(maxsize=32)
def distance_buckets(length: int, buckets: int, max_distance: int) -> npt.NDArray[np.int64]:
    """Return the bucket of every distance between two of ``length`` positions.

    Parameters
    ----------
    length : int
        Number of positions.
    buckets : int
        Half of them for keys after the query, half for the others; of each half, the first half holds one
        distance each, the second ever wider ranges.
    max_distance : int
        From here on all distances share the last bucket.

    Returns
    -------
    int64 [2 * length - 1]
        Entry ``d + length - 1`` is the bucket of distance ``d`` = place of the key - place of the query.
    """
    distance = np.arange(1 - length, length)
    half = buckets // 2
    single = half // 2
    away = np.abs(distance)
    scale = np.log(np.maximum(away, 1) / single) / np.log(max_distance / single)
    wide = np.minimum(single + (scale * (half - single)).astype(np.int64), half - 1)
    return np.where(distance > 0, half, 0) + np.where(away < single, away, wide)


class RelativePositionBias(torch.nn.Embedding):
    """Bias of the attention logits by distance, one weight a bucket and head.

    Parameters
    ----------
    buckets, max_distance : int
        As :func:`distance_buckets` takes them.
    heads : int
    """

    def __init__(self, buckets: int, max_distance: int, heads: int) -> None:
        super().__init__(buckets, heads)
        self.max_distance = max_distance

    def between(self, length: int) -> torch.Tensor:
        """Return the bias [heads, queries, keys] between ``length`` positions."""
        buckets = distance_buckets(length, self.num_embeddings, self.max_distance)
        by_distance = self(torch.from_numpy(buckets).to(self.weight.device)).t()
        # Row r of the view starts at distance r + 1 - length, as query length - 1 - r does: hence the flip.
        return by_distance.contiguous().unfold(1, length, 1).flip(1)


class GatedAttention(torch.nn.Module):
    """Multi-head self-attention with a gated relative position bias.

    Parameters
    ----------
    width : int
        Size of the features; a multiple of ``heads``.
    heads : int
    dropout : float
        Of the attention weights, in training.
    position_bias : RelativePositionBias, optional
        The first layer's; the others have none of their own.
    """

    relative_attention_bias: RelativePositionBias

    def __init__(
        self,
        width: int,
        heads: int,
        dropout: float = 0.0,
        position_bias: RelativePositionBias | None = None,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.grep_a = torch.nn.Parameter(torch.ones(1, heads, 1, 1))
        if position_bias is not None:
            self.relative_attention_bias = position_bias
        self.k_proj = torch.nn.Linear(width, width)
        self.v_proj = torch.nn.Linear(width, width)
        self.q_proj = torch.nn.Linear(width, width)
        self.out_proj = torch.nn.Linear(width, width)
        self.grep_linear = torch.nn.Linear(width // heads, GATE_INPUTS)

    def forward(
        self, features: torch.Tensor, position_bias: torch.Tensor, padding: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return what each position gathers, [batch, length, width].

        Parameters
        ----------
        features : [batch, length, width]
        position_bias : [heads, length, length]
            As :meth:`RelativePositionBias.between` returns it.
        padding : bool [batch, length], optional
            True where there is no sound to attend to.
        """
        batch, length, width = features.shape
        by_head = (batch, length, self.heads, width // self.heads)
        query = self.q_proj(features).view(by_head)
        key = self.k_proj(features).view(by_head)
        value = self.v_proj(features).view(by_head)
        # BEATs divides queries by 32 and multiplies logits by 32 after taking off their maximum: the softmax
        # is that of plain scaled attention, and the gates see the plain queries.
        bias = self._gate(query) * position_bias
        if padding is not None:
            bias = bias.masked_fill_(padding[:, None, None, :], float("-inf"))
        gathered = scaled_dot_product_attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            attn_mask=bias,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out_proj(gathered.transpose(1, 2).reshape(batch, length, width))

    def _gate(self, query: torch.Tensor) -> torch.Tensor:
        """Return the factor of each query's bias, [batch, heads, length, 1]."""
        halves = self.grep_linear(query).unflatten(-1, (2, GATE_INPUTS // 2)).sum(-1)
        update, reset = torch.sigmoid(halves).transpose(1, 2).split(1, dim=-1)
        return update * (reset * self.grep_a - 1.0) + 2.0
