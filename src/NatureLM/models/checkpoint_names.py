"""Names of weights: ours, those of the published checkpoints, those of the Llama they stand on.

The published names (recorded in shared/parity, `state_dict_info.json`) are those of the modules that NatureLM
was trained with; ours follow our modules. Each rule is written once, from ours to theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

BEATS = "audio_encoder.beats."
QFORMER = "adapter.qformer."
LANGUAGE_MODEL = "language_model."
EMBEDDINGS = "language_model.model.embed_tokens.weight"
OUTPUT_LAYER = "language_model.lm_head.weight"

UPSTREAM_EMBEDDINGS = "llama_embed_tokens.weight"
"""The published name of the token embeddings, which the language model's own name is an alias of."""

POSITION_IDS = "audio_Qformer.bert.embeddings.position_ids"
"""A constant (0 to 511) among the published weights."""

_ADAPTER = (
    ("adapter.ln_audio.", "ln_audio."),
    ("adapter.query_tokens", "audio_query_tokens"),
    ("adapter.projection.", "audio_llama_proj."),
)
_UNREAD = re.compile(rf"{re.escape(POSITION_IDS)}|llama_model\..*rotary_emb\.inv_freq")
"""Published entries that are constants, and are not read."""

_RELATIVE_BIAS = "beats.encoder.layers.{}.self_attn.relative_attention_bias.weight"
_RELATIVE_BIAS_ANY = re.compile(r"beats\.encoder\.layers\.\d+\.self_attn\.relative_attention_bias\.weight")


def upstream_names(name: str, layers: int, lora: bool = True, tied: bool = False) -> tuple[str, ...]:
    """Return the published names of one of our weights: the one that is written, then its aliases.

    Parameters
    ----------
    name : str
        A key of our state dict.
    layers : int
        Number of BEATs' layers; all share the first one's relative positions.
    lora : bool
        Whether the language model has LoRA layers, which wrap its names.
    tied : bool
        Whether the language model's output layer is its token embeddings.
    """
    if name.startswith(BEATS):
        upstream = beats_name(name.removeprefix(BEATS))
        if _RELATIVE_BIAS_ANY.fullmatch(upstream):
            return tuple(_RELATIVE_BIAS.format(layer) for layer in range(layers))
        return (upstream,)
    if name.startswith(QFORMER):
        return (_qformer_name(name.removeprefix(QFORMER)),)
    for ours, theirs in _ADAPTER:
        if name.startswith(ours):
            return (theirs + name.removeprefix(ours),)
    wrapped = "llama_model." + ("base_model.model." if lora else "")
    upstream = wrapped + name.removeprefix(LANGUAGE_MODEL)
    if name != EMBEDDINGS:
        return (upstream,)
    aliases = (UPSTREAM_EMBEDDINGS, upstream)
    return (*aliases, wrapped + "lm_head.weight") if tied else aliases


def beats_name(name: str) -> str:
    """Return the name in BEATs' own checkpoints, with the prefix ``beats.``, of one of our encoder's."""
    return "beats." + name


def llama_name(name: str) -> str | None:
    """Return the name in Llama's own checkpoint of one of our weights; None for what Llama has not."""
    if not name.startswith(LANGUAGE_MODEL) or ".lora_" in name:
        return None
    return name.removeprefix(LANGUAGE_MODEL).replace(".base_layer.", ".")


def is_frozen(name: str) -> bool:
    """Return whether a weight of ours is frozen Llama's, which a delta checkpoint leaves out."""
    return llama_name(name) is not None and name != EMBEDDINGS


def unread(names: Iterable[str]) -> set[str]:
    """Return which of the published names are constants that are not read."""
    return {name for name in names if _UNREAD.fullmatch(name)}


def _qformer_name(name: str) -> str:
    name = re.sub(r"\b(attention|crossattention)\.attention\.", r"\1.self.", name)
    if name.startswith("layernorm."):
        name = "embeddings.LayerNorm." + name.removeprefix("layernorm.")
    return "audio_Qformer.bert." + name
