"""The audio encoders by the names that a model's config gives them."""

from __future__ import annotations

from NatureLM.errors import CheckpointError
from NatureLM.models.configuration import NatureLMConfig, options_named
from NatureLM.models.encoders.base import AudioEncoder


def build_encoder(config: NatureLMConfig) -> AudioEncoder:
    """Return the audio encoder that a configuration names.

    Raises
    ------
    CheckpointError
        If there is no encoder of that name, or it has no such option.
    """
    options = dict(config.audio_encoder)
    kind = options.pop("type", None)
    if kind == "birdnet":
        from NatureLM.models.encoders.birdnet_windows import BirdNetWindowEncoder

        with options_named("audio encoder", kind):
            return BirdNetWindowEncoder(config.sample_rate, **options)
    if kind == "beats":
        from NatureLM.models.encoders.beats_windows import BeatsWindowEncoder

        with options_named("audio encoder", kind):
            return BeatsWindowEncoder(config.sample_rate, config.max_window_seconds, **options)
    raise CheckpointError(f"Unknown audio encoder {kind!r} in the model's config; available: beats, birdnet.")
