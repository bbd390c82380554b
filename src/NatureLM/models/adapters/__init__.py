"""Adapters: from an encoder's features to the tokens that the language model reads."""

from __future__ import annotations

from NatureLM.errors import ConfigError
from NatureLM.models.adapters.base import Adapter
from NatureLM.models.configuration import NatureLMConfig


def build_adapter(config: NatureLMConfig) -> Adapter:
    """Return the adapter that a configuration names.

    Raises
    ------
    ConfigError
        If there is no adapter of that name.
    """
    kind = config.adapter.get("type")
    if kind == "species_tokens":
        from NatureLM.models.adapters.species_tokens import SpeciesTokensAdapter

        return SpeciesTokensAdapter(config.text_config.hidden_size)
    raise ConfigError(f"Unknown adapter {kind!r} in the model's config; available: species_tokens.")
