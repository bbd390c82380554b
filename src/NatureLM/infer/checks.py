"""What a model is asked for that it cannot honour is refused before the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from NatureLM.errors import ConfigError
from NatureLM.models.answering import AnswerSettings

if TYPE_CHECKING:
    from NatureLM.models import NatureLM


def check_window(model: NatureLM, window_length_seconds: float, hop_length_seconds: float) -> None:
    """Refuse a window that the model cannot hear whole, and lengths that are not above zero.

    Raises
    ------
    ConfigError
        With the model's limit.
    """
    longest = model.config.max_window_seconds
    if not 0 < window_length_seconds <= longest:
        raise ConfigError(
            f"--window-length-seconds {window_length_seconds:g}: the model {model.config.name} hears windows "
            f"of more than 0 and at most {longest:g} seconds; choose a length within that."
        )
    if not 0 < hop_length_seconds < float("inf"):
        raise ConfigError(
            f"--hop-length-seconds {hop_length_seconds:g}: expected more than 0 seconds, for example 10."
        )


def check_settings(model: NatureLM, settings: AnswerSettings) -> None:
    """Refuse settings that the model cannot honour.

    Raises
    ------
    ConfigError
        A merging alpha for a model without LoRA, sampling with beams, or what its adapter refuses.
    """
    model.adapter.check(settings)
    if settings.temperature > 0 and settings.num_beams > 1:
        raise ConfigError(
            f"generation.temperature={settings.temperature:g} draws answers at random, which takes "
            f"generation.num_beams=1, not {settings.num_beams}; change one of them."
        )
    if settings.merging_alpha is not None and not model.config.lora:
        raise ConfigError(
            f"--merging-alpha: the model {model.config.name} has no LoRA whose weight could be changed; "
            "leave the option out, or choose a model that has one."
        )
