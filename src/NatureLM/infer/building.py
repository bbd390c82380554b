"""From a configuration to an engine ready to run: the model, its settings, its licence."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from NatureLM.calibration import read_calibration
from NatureLM.infer.candidates import candidate_source, read_candidates
from NatureLM.infer.engine import Engine
from NatureLM.infer.notice import show_licence_once
from NatureLM.infer.settings import Configuration, answer_settings

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

logger = logging.getLogger("NatureLM.infer")


def build_engine(configuration: Configuration, model: NatureLM | None = None) -> Engine:
    """Load the configured model, unless one is given, and return the engine that asks it.

    A file's generation settings are left out for a model that the file does not name; where the user
    chose that model, a warning says so (a fallback brings a warning of its own).

    Raises
    ------
    ConfigError
        A setting that the model cannot honour, or a list of candidates that cannot be read.
    ModelUnavailableError, CheckpointError
        The model cannot be had or loaded.
    """
    config = configuration.config
    names = read_candidates(config.candidates)  # before a model is loaded: that takes longer
    chosen = model is not None or config.model != configuration.written_for
    if model is None:
        from NatureLM.models.loading import load_model

        model = load_model(config.model, config.device, config.fallback, config.precision, config.llama_path)
    layers = configuration.generation_layers(model)
    settings = answer_settings(model, *layers)
    if config.precision not in (None, model.precision):
        alpha = 1.0 if settings.merging_alpha is None else settings.merging_alpha
        model.to_precision(config.precision, alpha)
    calibration = None if config.calibration is None else read_calibration(config.calibration)
    engine = Engine(
        model,
        settings,
        window_length_seconds=config.window_length_seconds,
        hop_length_seconds=config.hop_length_seconds or config.window_length_seconds,
        channel=config.channel,
        batch_size=config.batch_size,
        silence_db=config.silence_db,
        time_expansion=config.time_expansion,
        calibration=calibration,
        candidates=candidate_source(config.candidates, names, model),
    )
    if chosen and config.generation not in layers:
        logger.warning(
            "The configuration's generation settings were written for %s and are left out: %s answers with "
            "its own.",
            configuration.written_for,
            model.config.name,
        )
    show_licence_once(model)
    return engine
