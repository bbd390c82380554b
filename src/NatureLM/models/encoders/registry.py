"""The audio encoders by the names that a model's config gives them."""

from __future__ import annotations

from NatureLM.errors import ConfigError
from NatureLM.models.configuration import NatureLMConfig
from NatureLM.models.encoders.base import AudioEncoder


def build_encoder(config: NatureLMConfig) -> AudioEncoder:
    """Return the audio encoder that a configuration names.

    Raises
    ------
    ConfigError
        If there is no encoder of that name.
    """
    options = dict(config.audio_encoder)
    kind = options.pop("type", None)
    if kind == "birdnet":
        from NatureLM.models.encoders.birdnet_windows import BirdNetWindowEncoder

        return BirdNetWindowEncoder(config.sample_rate, **options)
    raise ConfigError(f"Unknown audio encoder {kind!r} in the model's config; available: birdnet.")
