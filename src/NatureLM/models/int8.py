"""The language model in 8-bit integers, for CPUs: faster, but some of its answers change."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

from NatureLM.errors import ConfigError
from NatureLM.models.lora import ADAPTER, lora_layers, set_lora_strength

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


def quantize_to_int8(language_model: LlamaForCausalLM, alpha: float = 1.0) -> None:
    """Turn a language model's linear layers into 8-bit ones, LoRA added to them for good.

    Weights are scaled per output, activations per call (torch's dynamic quantization). On a Llama of 135
    million parameters logits change by some 8 percent (``benchmarks/published_shape.py`` prints how many
    tokens agree), so this is for those who ask for it.

    Parameters
    ----------
    language_model : LlamaForCausalLM
        In float32 on the CPU.
    alpha : float
        Strength of LoRA, where it has any; it cannot be changed later.

    Raises
    ------
    ConfigError
        If the model is elsewhere or in another number format, or this torch cannot do it.
    """
    weight = language_model.lm_head.weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        raise ConfigError(
            f"int8 is for a language model in float32 on the CPU; this one is in {weight.dtype} on "
            f"{weight.device}. Set device=cpu, or leave int8 out."
        )
    if "x86" not in torch.backends.quantized.supported_engines or not hasattr(
        torch.ao.quantization, "quantize_dynamic"
    ):
        raise ConfigError("This build of torch cannot compute in int8; leave int8 out.")
    if lora_layers(language_model):
        set_lora_strength(language_model, alpha, merge=True)
        for module in list(language_model.modules()):
            for name, child in list(module.named_children()):
                if ADAPTER in getattr(child, "lora_A", ()):
                    setattr(module, name, child.base_layer)
    with warnings.catch_warnings():
        # Deprecated in favour of torchao, whose int8 needs a compiler on the user's machine to be fast.
        warnings.simplefilter("ignore")
        torch.ao.quantization.quantize_dynamic(
            language_model, {torch.nn.Linear}, dtype=torch.qint8, inplace=True
        )
