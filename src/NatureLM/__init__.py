"""NatureLM-audio: ask questions about animal sounds in recordings, in plain language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from NatureLM.infer import Pipeline
    from NatureLM.models import NatureLM

__version__ = "0.1.0"
__all__ = ["NatureLM", "Pipeline", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the two main classes on first use: torch and transformers take seconds to import."""
    if name == "NatureLM":
        from NatureLM.models import NatureLM

        return NatureLM
    if name == "Pipeline":
        from NatureLM.infer import Pipeline

        return Pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
