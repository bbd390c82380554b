"""Which settings an answer is made with: what was typed, then the file's, then the model's own."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from NatureLM.config import GenerationConfig, InferenceConfig
from NatureLM.models.answering import AnswerSettings

if TYPE_CHECKING:
    from NatureLM.models import NatureLM


def answer_settings(model: NatureLM, *layers: GenerationConfig) -> AnswerSettings:
    """Return the settings for ``model``; the first layer that gives a value wins.

    Parameters
    ----------
    model : NatureLM
        Its generation config holds its own defaults for ``num_beams`` and ``max_new_tokens``.
    *layers : GenerationConfig
        Strongest first: what was typed, then the configuration file's. A model that answers as a
        fallback is not the one that the file's generation settings were written for: leave them out.
    """
    own = getattr(model, "generation_config", None)
    values: dict[str, Any] = {}
    for field in fields(AnswerSettings):
        given = [getattr(layer, field.name, None) for layer in (*layers, own)]
        chosen = next((value for value in given if value is not None), None)
        if chosen is not None:
            values[field.name] = chosen
    return AnswerSettings(**values)


def answered_by_fallback(config: InferenceConfig, model: NatureLM) -> bool:
    """Tell whether ``model`` is the configuration's fallback and not the model that it names."""
    if config.fallback is None or config.fallback == config.model:
        return False
    return bool(model.config.name == _model_name(config.fallback))


def _model_name(name_or_path: str) -> str:
    """Return the name that a model's rows carry: it stands in the configuration in its folder."""
    from NatureLM.models.loading import BUNDLED, BUNDLED_FOLDER

    config = (BUNDLED_FOLDER if name_or_path == BUNDLED else Path(name_or_path)) / "config.json"
    if not config.is_file():
        return name_or_path
    return str(json.loads(config.read_text(encoding="utf-8")).get("name", name_or_path))
