"""Which settings an answer is made with: what was typed, then the file's, then the model's own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from NatureLM.config import GenerationConfig, InferenceConfig, fill_section, read_yaml, typed_values
from NatureLM.models.answering import AnswerSettings

if TYPE_CHECKING:
    from NatureLM.models import NatureLM


MODEL_DEFAULTS = ("num_beams", "max_new_tokens")
"""What a model's generation config sets where the user does not; a Llama's own also asks for sampling."""


@dataclass(frozen=True)
class Configuration:
    """What a run is configured with, and where its generation settings come from.

    Attributes
    ----------
    config : InferenceConfig
        The file's values with the typed ones over them.
    typed : GenerationConfig
        The generation settings that the user typed: they hold for any model.
    written_for : str or None
        The model that the file names: its generation settings hold for this one only. None where the
        file names none (or there is no file): they hold for any model.
    """

    config: InferenceConfig = field(default_factory=InferenceConfig)
    typed: GenerationConfig = field(default_factory=GenerationConfig)
    written_for: str | None = None

    def generation_layers(self, model: NatureLM) -> list[GenerationConfig]:
        """Return the generation settings that hold for ``model``, strongest first."""
        requested_as = getattr(model, "requested_as", None)
        if self.written_for in (None, requested_as):
            return [self.typed, self.config.generation]
        return [self.typed]


def read_configuration(
    path: str | os.PathLike[str] | None = None,
    overrides: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> Configuration:
    """Read what a run is configured with; parameters and errors are those of `load_config`."""
    file = {} if path is None else read_yaml(Path(path))
    typed = typed_values(overrides, options)
    config = fill_section(InferenceConfig, file, typed, None if path is None else Path(path))
    return Configuration(
        config, GenerationConfig.model_validate(typed.get("generation", {})), file.get("model")
    )


def requested(model: NatureLM | str | os.PathLike[str]) -> str:
    """Return the name that a model goes by in a configuration."""
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model)
    return getattr(model, "requested_as", None) or model.config.name


def answer_settings(model: NatureLM, *layers: GenerationConfig) -> AnswerSettings:
    """Return the settings for ``model``; the first layer that gives a value wins.

    Parameters
    ----------
    model : NatureLM
        Its generation config holds its own defaults for ``num_beams`` and ``max_new_tokens``.
    *layers : GenerationConfig
        Strongest first, as :meth:`Configuration.generation_layers` returns them.
    """
    config = getattr(model, "generation_config", None)
    own = {name: getattr(config, name, None) for name in MODEL_DEFAULTS}
    values: dict[str, Any] = {}
    for setting in fields(AnswerSettings):
        given = [*(getattr(layer, setting.name, None) for layer in layers), own.get(setting.name)]
        chosen = next((value for value in given if value is not None), None)
        if chosen is not None:
            values[setting.name] = chosen
    return AnswerSettings(**values)
