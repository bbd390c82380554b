"""Products in bfloat16 or in 8-bit integers, for CPUs: faster, but some answers change."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from NatureLM.errors import ConfigError
from NatureLM.models.devices import multiplies_bfloat16
from NatureLM.models.lora import fold_lora

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


class BFloat16Linear(nn.Module):
    """A linear layer whose product is of bfloat16 numbers; what it takes and gives is float32.

    Parameters
    ----------
    linear : torch.nn.Linear
        Its weights are rounded to bfloat16, unless they are already.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = nn.Parameter(linear.weight.data.bfloat16(), requires_grad=False)
        bias = linear.bias
        self.bias = None if bias is None else nn.Parameter(bias.data.bfloat16(), requires_grad=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return float32 [..., out_features] of inputs [..., in_features]."""
        return functional.linear(inputs.bfloat16(), self.weight, self.bias).float()


def round_products(model: nn.Module) -> None:
    """Have a model's linear layers multiply in bfloat16; all else becomes float32.

    LoRA is to be added to the layers for good before (:func:`NatureLM.models.lora.fold_lora`).

    Attention, norms, sums of layers and the filter bank lose nothing, and attention to one token at a time is
    faster in float32 on CPUs. The published code's autocast rounds the same products, and some more.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                setattr(module, name, BFloat16Linear(child))
    for module in model.modules():
        if not isinstance(module, BFloat16Linear):
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if tensor.is_floating_point():
                    tensor.data = tensor.data.float()


def check_bfloat16(device: torch.device) -> None:
    """Refuse products in bfloat16 where they would gain nothing.

    Raises
    ------
    ConfigError
        If the model is not on a CPU, or the processor does not multiply in bfloat16.
    """
    if device.type != "cpu":
        raise ConfigError(
            f"precision=bfloat16 is for CPUs; this model is on {device}, where the language model is in half "
            "precision already. Leave it out."
        )
    if not multiplies_bfloat16():
        raise ConfigError(
            "This processor does not multiply in bfloat16 by itself (AVX512-BF16 or AMX do), so it would be "
            "slower than float32; leave precision=bfloat16 out."
        )


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
    fold_lora(language_model, alpha)
    with warnings.catch_warnings():
        # Deprecated in favour of torchao, whose int8 needs a compiler on the user's machine to be fast.
        warnings.simplefilter("ignore")
        torch.ao.quantization.quantize_dynamic(language_model, {nn.Linear}, dtype=torch.qint8, inplace=True)
