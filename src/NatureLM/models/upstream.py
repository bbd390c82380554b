"""The published code's constructor arguments and our configuration, both ways.

The arguments are what ``config.json`` of the published checkpoint holds (recorded in shared/parity,
``hub_config.json``); those that have no counterpart here are kept for the way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import LlamaConfig, PreTrainedTokenizerBase

from NatureLM.errors import CheckpointError
from NatureLM.models.config_values import (
    BEATS_VALUES,
    COUNT,
    FRACTION,
    POSITIVE,
    SETTINGS_OR_NULL,
    SWITCH,
    UPSTREAM_TEMPLATE,
    Expected,
    check_values,
)
from NatureLM.models.configuration import NatureLMConfig
from NatureLM.models.lora import TARGETS
from NatureLM.models.model_files import LLAMA
from NatureLM.models.tensor_files import StoredTensor

PAD_TOKEN = "[PAD]"
"""The token that NatureLM-audio adds to Llama's."""

LICENCE = (
    "CC BY-NC-SA 4.0 (non-commercial use) and, built with Llama, under Meta's Llama 3.1 Community License"
)

PROMPT_TEMPLATE = (
    "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
TURN_END = "<|eot_id|>"
"""What closes a turn in that template."""

BEATS_ARGUMENTS: dict[str, Any] = {
    "activation_dropout": 0.0,
    "activation_fn": "gelu",
    "attention_dropout": 0.0,
    "conv_bias": False,
    "conv_pos": 128,
    "conv_pos_groups": 16,
    "deep_norm": True,
    "dropout": 0.0,
    "dropout_input": 0.0,
    "embed_dim": 512,
    "encoder_attention_heads": 12,
    "encoder_embed_dim": 768,
    "encoder_ffn_embed_dim": 3072,
    "encoder_layerdrop": 0.05,
    "encoder_layers": 12,
    "finetuned_model": True,
    "gru_rel_pos": True,
    "input_patch_size": 16,
    "layer_norm_first": False,
    "layer_wise_gradient_decay_ratio": 0.6,
    "max_distance": 800,
    "num_buckets": 320,
    "predictor_class": 527,
    "predictor_dropout": 0.0,
    "relative_position_embedding": True,
}
"""BEATs as published (published-model facts)."""

ARGUMENTS: dict[str, Any] = {
    "audio_encoding_cache_size": 100,
    "audio_llama_proj_model": None,
    "beats_cfg": BEATS_ARGUMENTS,
    "beats_path": None,
    "device": "cuda",
    "downsample_factor": 8,
    "end_sym": "<|end_of_text|>",
    "flash_attn": "eager",
    "freeze_audio_QFormer": False,
    "freeze_audio_llama_proj": False,
    "freeze_beats": False,
    "llama_path": LLAMA,
    "lora": True,
    "lora_alpha": 32,
    "lora_dropout": 0.1,
    "lora_rank": 32,
    "max_pooling": False,
    "max_txt_len": 160,
    "num_audio_query_token": 1,
    "prompt_template": PROMPT_TEMPLATE,
    "second_per_window": 0.333333,
    "second_stride": 0.333333,
    "use_audio_Qformer": True,
    "window_level_Qformer": True,
}
"""The published model's arguments; a checkpoint's own go over them."""

FIXED = {
    "audio_llama_proj_model": None,
    "max_pooling": False,
    "use_audio_Qformer": True,
    "window_level_Qformer": True,
}
"""Arguments of which only one value was published a model with, and only that one is built here."""

ARGUMENT_VALUES: dict[str, Expected] = {
    "beats_cfg": SETTINGS_OR_NULL,
    "lora": SWITCH,
    "lora_alpha": POSITIVE,
    "lora_dropout": FRACTION,
    "lora_rank": COUNT,
    "num_audio_query_token": COUNT,
    "prompt_template": UPSTREAM_TEMPLATE,
    "second_per_window": POSITIVE,
    "second_stride": POSITIVE,
}
"""What the arguments that are read may be; the path of Llama, which may be given anew, is looked at later."""

QFORMER_SIZES = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 2}
"""BERT-base's, with two layers; the arguments do not say, so a checkpoint's own weights do."""


def is_upstream(config: Mapping[str, Any]) -> bool:
    """Return whether a ``config.json`` holds the published code's arguments."""
    return "llama_path" in config and config.get("model_type") is None


def complete_arguments(given: Mapping[str, Any], file: Path | None = None) -> dict[str, Any]:
    """Return a checkpoint's arguments, with the published ones where it leaves some out.

    Parameters
    ----------
    given : mapping
    file : Path, optional
        Where they stand, for the messages.

    Raises
    ------
    CheckpointError
        If some are unknown, have values that mean nothing, or ask for what is not built here.
    """
    where = "The checkpoint's config" if file is None else f"The config in {file}"
    arguments = {**ARGUMENTS, **given}
    unknown = sorted(map(str, set(arguments) - set(ARGUMENTS)))
    if unknown:
        raise CheckpointError(f"{where} has unknown arguments: {', '.join(unknown)}.")
    for name, value in FIXED.items():
        if arguments[name] != value:
            raise CheckpointError(
                f"{where} sets {name} to {arguments[name]!r}; only {value!r} can be loaded."
            )
    check_values(arguments, ARGUMENT_VALUES, where)
    arguments["beats_cfg"] = {**BEATS_ARGUMENTS, **(arguments["beats_cfg"] or {})}
    check_values(arguments["beats_cfg"], BEATS_VALUES, f"{where}, in beats_cfg,")
    return arguments


def qformer_sizes(stored: Mapping[str, StoredTensor]) -> dict[str, int]:
    """Return the sizes of the Q-Former that published weights hold (the published ones where absent)."""
    sizes = dict(QFORMER_SIZES)
    layer = "audio_Qformer.bert.encoder.layer."
    tokens = stored.get("audio_query_tokens")
    if tokens is not None and len(tokens.shape) == 3:
        sizes["hidden_size"] = tokens.shape[-1]
    inner = stored.get(f"{layer}0.intermediate_query.dense.weight")
    if inner is not None and len(inner.shape) == 2:
        sizes["intermediate_size"] = inner.shape[0]
    numbers = {int(name.removeprefix(layer).partition(".")[0]) for name in stored if name.startswith(layer)}
    if numbers:
        sizes["num_hidden_layers"] = max(numbers) + 1
    return sizes


def to_config(
    arguments: Mapping[str, Any],
    text_config: LlamaConfig,
    tokenizer: PreTrainedTokenizerBase,
    qformer: Mapping[str, int] = QFORMER_SIZES,
    name: str = "NatureLM-audio",
) -> NatureLMConfig:
    """Return our configuration of a model that the published code made with ``arguments``.

    Parameters
    ----------
    arguments : mapping
        As :func:`complete_arguments` returns them.
    text_config : LlamaConfig
        Llama's own.
    tokenizer : PreTrainedTokenizerBase
        Llama's, with ``[PAD]`` added; the model has one embedding for each of its tokens.
    qformer : mapping
        As :func:`qformer_sizes` returns it.
    name : str
        The model's name in results.
    """
    text = LlamaConfig.from_dict(
        {
            **text_config.to_dict(),
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
            "dtype": None,
        }
    )
    template = str(arguments["prompt_template"]).replace("{}", "{query}")
    lora = {
        "rank": arguments["lora_rank"],
        "alpha": arguments["lora_alpha"],
        "dropout": arguments["lora_dropout"],
        "target_modules": list(TARGETS),
    }
    return NatureLMConfig(
        name=name,
        sample_rate=16_000,
        max_window_seconds=10.0,
        audio_encoder={"type": "beats", **arguments["beats_cfg"]},
        adapter={
            "type": "window_qformer",
            "query_tokens": arguments["num_audio_query_token"],
            "seconds_per_window": arguments["second_per_window"],
            "stride_seconds": arguments["second_stride"],
            **qformer,
        },
        text_config=text,
        prompt_template=f"{tokenizer.bos_token or ''}{template}",
        answer_end=TURN_END,
        lora=lora if arguments["lora"] else None,
        licence=LICENCE,
        upstream={key: value for key, value in arguments.items() if key not in _CARRIED},
    )


_CARRIED = {
    "beats_cfg",
    "lora",
    "lora_alpha",
    "lora_dropout",
    "lora_rank",
    "num_audio_query_token",
    "prompt_template",
    "second_per_window",
    "second_stride",
}
"""Arguments that our configuration holds under names of its own."""


def to_arguments(config: NatureLMConfig, bos_token: str | None = None) -> dict[str, Any]:
    """Return the published code's arguments for one of our configurations.

    Raises
    ------
    CheckpointError
        If the model has no counterpart in the published code.
    """
    if config.upstream is None:
        raise CheckpointError(
            f"The model {config.name} has no counterpart in the published code; only models made from its "
            "checkpoints can be written in its form."
        )
    lora = config.lora or {"rank": ARGUMENTS["lora_rank"], "alpha": ARGUMENTS["lora_alpha"], "dropout": 0.1}
    adapter = config.adapter
    return {
        **config.upstream,
        "beats_cfg": {key: value for key, value in config.audio_encoder.items() if key != "type"},
        "lora": config.lora is not None,
        "lora_alpha": lora["alpha"],
        "lora_dropout": lora["dropout"],
        "lora_rank": lora["rank"],
        "num_audio_query_token": adapter["query_tokens"],
        "prompt_template": config.prompt_template.removeprefix(bos_token or "").replace("{query}", "{}"),
        "second_per_window": adapter["seconds_per_window"],
        "second_stride": adapter["stride_seconds"],
    }
