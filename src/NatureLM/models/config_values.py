"""What the values in a model's config may be, said once and checked before anything is built of them."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from NatureLM.errors import CheckpointError
from NatureLM.models.encoders.beats import BeatsConfig

LARGEST = 1_000_000
"""No size or length in a model's config is larger."""

LONGEST_SHOWN = 60


@dataclass(frozen=True)
class Expected:
    """What a value may be.

    Attributes
    ----------
    words : str
        As the message has it.
    fits : callable
        Whether a value is so.
    """

    words: str
    fits: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= LARGEST


COUNT = Expected(f"a whole number from 1 to {LARGEST:,}", lambda value: _is_whole(value, 1))
COUNT_OR_NULL = Expected(f"{COUNT.words}, or null", lambda value: value is None or COUNT.fits(value))
TOKENS = Expected(
    "the number of a token, a list of such, or null",
    lambda value: (
        value is None or all(_is_whole(token, 0) for token in (value if isinstance(value, list) else [value]))
    ),
)
POSITIVE = Expected(
    f"a number above 0 and up to {LARGEST:,}", lambda value: _is_number(value) and 0 < value <= LARGEST
)
FRACTION = Expected("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
SWITCH = Expected("true or false", lambda value: isinstance(value, bool))
TEXT = Expected("text", lambda value: isinstance(value, str))
TEMPLATE = Expected(
    "text that holds {query} once, where the query goes",
    lambda value: isinstance(value, str) and value.count("{query}") == 1,
)
UPSTREAM_TEMPLATE = Expected(
    "text that holds {} once, where the query goes",
    lambda value: isinstance(value, str) and value.count("{}") == 1 and "{query}" not in value,
)
TEXTS = Expected(
    "a list of texts",
    lambda value: isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value),
)
SETTINGS = Expected("settings in braces", lambda value: isinstance(value, dict))
SETTINGS_OR_NULL = Expected(
    "settings in braces, or null", lambda value: value is None or isinstance(value, dict)
)
PLACE = Expected("a folder or a hub id", lambda value: isinstance(value, (str, os.PathLike)) and value != "")

BEATS_VALUES: dict[str, Expected] = {
    item.name: {"int": COUNT, "float": FRACTION, "bool": SWITCH, "str": TEXT}[str(item.type)]
    for item in fields(BeatsConfig)
}

LLAMA_VALUES: dict[str, Expected] = {
    **dict.fromkeys(("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"), COUNT),
    **dict.fromkeys(("vocab_size", "max_position_embeddings"), COUNT),
    **dict.fromkeys(("num_key_value_heads", "head_dim"), COUNT_OR_NULL),
}

GENERATION_VALUES: dict[str, Expected] = {
    "num_beams": COUNT_OR_NULL,
    "max_new_tokens": COUNT_OR_NULL,
    "bos_token_id": TOKENS,
    "eos_token_id": TOKENS,
    "pad_token_id": TOKENS,
}

OWN_VALUES: dict[str, Expected] = {
    "name": TEXT,
    "sample_rate": COUNT,
    "max_window_seconds": POSITIVE,
    "audio_encoder": SETTINGS,
    "adapter": SETTINGS,
    "text_config": SETTINGS,
    "prompt_template": TEMPLATE,
    "answer_end": TEXT,
    "lowercase_query": SWITCH,
    "lora": SETTINGS_OR_NULL,
    "licence": TEXT,
    "upstream": SETTINGS_OR_NULL,
}

PART_VALUES: dict[str, dict[str, Expected]] = {
    "audio_encoder": {**BEATS_VALUES, "segment_hop_seconds": POSITIVE},
    "adapter": {
        "answers": TEXTS,
        "decline_floor": FRACTION,
        "seconds_per_window": POSITIVE,
        "stride_seconds": POSITIVE,
        "query_tokens": COUNT,
        "hidden_size": COUNT,
        "intermediate_size": COUNT,
        "num_hidden_layers": COUNT,
        "num_attention_heads": COUNT,
    },
    "text_config": LLAMA_VALUES,
    "lora": {"rank": COUNT, "alpha": POSITIVE, "dropout": FRACTION, "target_modules": TEXTS},
}
"""Options of the parts; no two kinds of a part mean different things by one name."""


def check_values(values: Mapping[str, Any], expected: Mapping[str, Expected], where: str) -> None:
    """Refuse values that mean nothing.

    Parameters
    ----------
    values : mapping
        Those that are absent from it, and those that nothing is expected of, are passed over.
    expected : mapping
    where : str
        What holds them, as the message begins.

    Raises
    ------
    CheckpointError
        With the first one's name, its value as JSON has it, and what was expected.
    """
    for name, kind in expected.items():
        if name in values and not kind.fits(values[name]):
            shown = json.dumps(values[name], default=repr, ensure_ascii=False)
            raise CheckpointError(
                f"{where} sets {name} to {textwrap.shorten(shown, LONGEST_SHOWN, placeholder=' ...')}; "
                f"expected {kind.words}."
            )


def check_own_values(config: Mapping[str, Any], file: Path) -> None:
    """Refuse values that mean nothing in a ``config.json`` of our own form.

    Raises
    ------
    CheckpointError
        With the first one's name, its value and what was expected.
    """
    where = f"The config in {file}"
    check_values(config, OWN_VALUES, where)
    for part, expected in PART_VALUES.items():
        check_values(config.get(part) or {}, expected, f"{where}, in {part},")
