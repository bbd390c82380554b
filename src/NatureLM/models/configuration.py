"""What a NatureLM is made of: audio encoder, adapter, language model and prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from transformers import LlamaConfig, PretrainedConfig

from NatureLM.errors import CheckpointError


class NatureLMConfig(PretrainedConfig):
    """Configuration of a :class:`~NatureLM.models.naturelm.NatureLM`.

    Parameters
    ----------
    name : str
        The model's name, as the rows of results carry it.
    sample_rate : int
        Rate in Hz at which the model hears; recordings are resampled once, straight to it.
    max_window_seconds : float
        Longest window that the model hears; longer ones are refused, never cut.
    audio_encoder : dict
        ``{"type": ..., **options}``; the types are listed in ``NatureLM.models.encoders.registry``.
    adapter : dict
        ``{"type": ..., **options}``; the types are listed in ``NatureLM.models.adapters``.
    text_config : dict or LlamaConfig
        The language model.
    prompt_template : str
        The prompt around a query; ``{query}`` is the query with its ``<AudioHere>``.
    answer_end : str
        What closes an answer when a conversation goes on.
    lowercase_query : bool
        Whether the language model reads queries in lower case.
    lora : dict or None
        Rank, alpha and target modules, where the language model is tuned by LoRA.
    licence : str
        Licence of the weights, shown to the user at first use.
    upstream : dict or None
        For a model made from a published checkpoint: the published code's arguments that have no counterpart
        here, kept for the way back.
    """

    model_type = "naturelm"
    sub_configs: ClassVar[dict[str, Any]] = {"text_config": LlamaConfig}

    def __init__(
        self,
        name: str = "naturelm",
        sample_rate: int = 16_000,
        max_window_seconds: float = 10.0,
        audio_encoder: dict[str, Any] | None = None,
        adapter: dict[str, Any] | None = None,
        text_config: dict[str, Any] | LlamaConfig | None = None,
        prompt_template: str = "{query}",
        answer_end: str = "",
        lowercase_query: bool = False,
        lora: dict[str, Any] | None = None,
        licence: str = "",
        upstream: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.name = name
        self.sample_rate = sample_rate
        self.max_window_seconds = max_window_seconds
        self.audio_encoder = audio_encoder or {}
        self.adapter = adapter or {}
        self.text_config = (
            text_config if isinstance(text_config, LlamaConfig) else LlamaConfig(**(text_config or {}))
        )
        self.prompt_template = prompt_template
        self.answer_end = answer_end
        self.lowercase_query = lowercase_query
        self.lora = lora
        self.licence = licence
        self.upstream = upstream
        super().__init__(**kwargs)

    @property
    def float32_parts(self) -> tuple[str, ...]:
        """The parts of the model that stay in float32 when it is loaded in half precision.

        NatureLM-audio's front end was trained in float32 (its checkpoint holds it so); the language model
        was not.
        """
        return ("audio_encoder", "adapter") if self.audio_encoder.get("type") == "beats" else ()


@contextmanager
def options_named(part: str, kind: str) -> Iterator[None]:
    """Turn the error over an unknown option of a model's part into one sentence.

    Raises
    ------
    CheckpointError
        If what is built within it does not take one of the options.
    """
    try:
        yield
    except TypeError as error:
        raise CheckpointError(
            f"The model's config has a wrong option for the {part} {kind!r}: {error}"
        ) from error
