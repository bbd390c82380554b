"""Models: ``from NatureLM.models import NatureLM``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from NatureLM.models.configuration import NatureLMConfig
    from NatureLM.models.naturelm import NatureLM
    from NatureLM.models.processing import NatureLMProcessor

__all__ = ["NatureLM", "NatureLMConfig", "NatureLMProcessor"]

_HOMES = {"NatureLM": "naturelm", "NatureLMConfig": "configuration", "NatureLMProcessor": "processing"}


def __getattr__(name: str) -> Any:
    """Import a class when it is first asked for: torch and transformers take seconds."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"NatureLM.models.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
