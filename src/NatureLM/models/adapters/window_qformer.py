"""The published model's adapter: a small Q-Former sums up each third of a second in a token.

The features are normalised, cut into windows of consecutive patches, and each window is attended to by the
same learned queries: a BLIP-2 Q-Former (Li et al. 2023) over windows, as in SALMONN (Tang et al. 2024,
section 3.1). The tokens do not depend on the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from NatureLM.errors import CheckpointError, RecordingError
from NatureLM.models.adapters.base import Adapter, PromptContext
from NatureLM.models.answering import AnswerSettings, Candidates

PATCHES_PER_SECOND = 1500 / 30
"""Rate at which the published model counts BEATs' patches (there are 49.6 in a second)."""


def patches_of(seconds: float) -> int:
    """Return the number of patches in so many seconds, halves rounded to even as the published model does."""
    return round(1500 * seconds / 30)  # in this order: halves differ in another


class WindowQFormerAdapter(Adapter):
    """Features of a window of sound -> tokens, a few for each short window of patches.

    Parameters
    ----------
    text_size : int
        Width of the language model.
    feature_size : int
        Width of the encoder's features.
    seconds_per_window, stride_seconds : float
        Length of the short windows, and distance of their starts.
    query_tokens : int
        Learned queries: tokens for each short window.
    hidden_size, intermediate_size, num_hidden_layers, num_attention_heads : int
        Shape of the Q-Former; the defaults are those of bert-base, of which the published one has 2 layers.

    Raises
    ------
    CheckpointError
        If a short window or its stride is shorter than a patch.
    """

    cleans_up_spaces = True

    def __init__(
        self,
        text_size: int,
        feature_size: int,
        seconds_per_window: float = 0.333333,
        stride_seconds: float = 0.333333,
        query_tokens: int = 1,
        hidden_size: int = 768,
        intermediate_size: int = 3072,
        num_hidden_layers: int = 2,
        num_attention_heads: int = 12,
    ) -> None:
        super().__init__()
        self.window, self.stride = patches_of(seconds_per_window), patches_of(stride_seconds)
        if min(self.window, self.stride) < 1:
            raise CheckpointError(
                f"The model's config has windows of {seconds_per_window} s every {stride_seconds} s: "
                f"at least {1 / PATCHES_PER_SECOND} s each, a patch, is needed."
            )
        config = Blip2QFormerConfig(
            hidden_size=hidden_size,
            intermediate_size=intermediate_size,
            num_hidden_layers=num_hidden_layers,
            num_attention_heads=num_attention_heads,
            encoder_hidden_size=feature_size,
            cross_attention_frequency=1,
        )
        self.ln_audio = torch.nn.LayerNorm(feature_size)
        self.query_tokens = torch.nn.Parameter(
            torch.randn(1, query_tokens, hidden_size) * config.initializer_range
        )
        self.qformer = Blip2QFormerModel(config)
        self.projection = torch.nn.Linear(hidden_size, text_size)

    def token_count(self, patches: int) -> int:
        """Return the number of tokens that stand for so many patches.

        Patches after the last whole window are dropped.

        Raises
        ------
        RecordingError
            If they do not fill one window.
        """
        if patches < self.window:
            raise RecordingError(
                f"A recording of {patches} patches is too short: the model needs {self.window} "
                f"({self.window / PATCHES_PER_SECOND:g} s)."
            )
        return ((patches - self.window) // self.stride + 1) * self.query_tokens.shape[1]

    def context(
        self,
        features: Sequence[Any],
        texts: Sequence[str],
        settings: AnswerSettings,
        candidates: Sequence[Candidates] = (),
    ) -> PromptContext:
        """Return the places of the recordings' tokens; nothing else changes them.

        Parameters
        ----------
        features : sequence of tensors [patches, feature_size]
            As the encoder returned them.
        texts : sequence of str
        settings : AnswerSettings
        candidates : sequence of Candidates

        Raises
        ------
        RecordingError
            If a recording is too short for one token.
        """
        recordings = list(features)
        return PromptContext(
            [self.token_count(len(recording)) for recording in recordings], content=recordings
        )

    def forward(self, contexts: Sequence[PromptContext], embed_tokens: torch.nn.Embedding) -> torch.Tensor:
        """Return the tokens of all recordings one after another, [sum of lengths, text_size]."""
        recordings: list[torch.Tensor] = [one for context in contexts for one in context.content]
        tokens: dict[int, torch.Tensor] = {}
        for length in dict.fromkeys(map(len, recordings)):
            places = [place for place, one in enumerate(recordings) if len(one) == length]
            together = self.embed(torch.stack([recordings[place] for place in places]))
            tokens |= zip(places, together, strict=True)
        return torch.cat([tokens[place] for place in range(len(recordings))]).to(embed_tokens.weight)

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """Return the tokens of recordings of one length.

        No token is masked: where a recording was padded, the published model gives the language model the
        tokens of its padding, too.

        Parameters
        ----------
        features : [recordings, patches, feature_size]

        Returns
        -------
        [recordings, tokens, text_size]

        Raises
        ------
        RecordingError
            If the patches do not fill one window.
        """
        tokens = self.token_count(features.shape[1])
        normalised = self.ln_audio(features.to(self.ln_audio.weight))
        windows = normalised.unfold(1, self.window, self.stride).transpose(2, 3).flatten(0, 1)
        heard = self.qformer(
            query_embeds=self.query_tokens.expand(len(windows), -1, -1), encoder_hidden_states=windows
        ).last_hidden_state
        return self.projection(heard).view(len(features), tokens, -1)
