"""Adapters: from an encoder's features to the tokens that the language model reads."""

from __future__ import annotations

from NatureLM.errors import CheckpointError
from NatureLM.models.adapters.base import Adapter
from NatureLM.models.configuration import NatureLMConfig, options_named


def build_adapter(config: NatureLMConfig) -> Adapter:
    """Return the adapter that a configuration names.

    Raises
    ------
    CheckpointError
        If there is no adapter of that name, or it has no such option.
    """
    options = dict(config.adapter)
    kind = options.pop("type", None)
    if kind == "species_tokens":
        from NatureLM.models.adapters.species_tokens import SpeciesTokensAdapter

        with options_named("adapter", kind):
            return SpeciesTokensAdapter(config.text_config.hidden_size, **options)
    if kind == "window_qformer":
        from NatureLM.models.adapters.window_qformer import WindowQFormerAdapter
        from NatureLM.models.encoders.beats import BeatsConfig

        width = config.audio_encoder.get("encoder_embed_dim", BeatsConfig.encoder_embed_dim)
        with options_named("adapter", kind):
            return WindowQFormerAdapter(config.text_config.hidden_size, width, **options)
    raise CheckpointError(
        f"Unknown adapter {kind!r} in the model's config; available: species_tokens, window_qformer."
    )
