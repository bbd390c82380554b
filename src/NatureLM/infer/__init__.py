"""Asking a model about recordings: the Python API and the engine beneath it and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from NatureLM.infer.answers import Answer, Failure, RecordingsError

if TYPE_CHECKING:
    from NatureLM.infer.conversation import Conversation
    from NatureLM.infer.pipeline import Pipeline

__all__ = ["Answer", "Conversation", "Failure", "Pipeline", "RecordingsError"]


def __getattr__(name: str) -> Any:
    """Import the pipeline on first use: it brings NumPy and the audio libraries."""
    if name == "Pipeline":
        from NatureLM.infer.pipeline import Pipeline

        return Pipeline
    if name == "Conversation":
        from NatureLM.infer.conversation import Conversation

        return Conversation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
