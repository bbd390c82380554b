"""LoRA on the language model, kept as an adapter of peft's so that its strength can still be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from NatureLM.errors import CheckpointError, ModelUnavailableError
from NatureLM.models.memory import available_memory

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

ADAPTER = "default"
"""peft's name of the adapter; it is part of the weights' names."""

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
"""The layers that NatureLM-audio's LoRA acts on (published-model facts: q, k, v, o)."""

SETTINGS = {"rank", "alpha", "dropout", "target_modules"}


def add_lora(language_model: LlamaForCausalLM, settings: dict[str, Any]) -> None:
    """Put LoRA layers into a language model and freeze the rest of it.

    Parameters
    ----------
    language_model : LlamaForCausalLM
    settings : dict
        ``rank``, ``alpha``, ``dropout`` and ``target_modules``, as a model's config holds them.

    Raises
    ------
    CheckpointError
        If the settings are incomplete or unknown.
    ModelUnavailableError
        If peft is not installed.
    """
    if set(settings) != SETTINGS:
        raise CheckpointError(
            f"The model's config has wrong LoRA settings ({', '.join(sorted(settings)) or 'none'}); "
            f"expected {', '.join(sorted(SETTINGS))}."
        )
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ModelUnavailableError(
            "This model's language model is tuned by LoRA, which needs peft; run `pip install peft`."
        ) from error
    config = LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        lora_dropout=settings["dropout"],
        target_modules=list(settings["target_modules"]),
        bias="none",
        task_type="CAUSAL_LM",
    )
    language_model.add_adapter(config, adapter_name=ADAPTER)
    freeze_all_but_lora(language_model)
    # Weights go out and come in without LoRA, also where answers were given with it added to them.
    language_model.register_state_dict_pre_hook(_unmerge_first)
    language_model.register_load_state_dict_pre_hook(_unmerge_first)


def freeze_all_but_lora(language_model: LlamaForCausalLM) -> None:
    """Let only the LoRA layers of a language model be trained."""
    for name, parameter in language_model.named_parameters():
        parameter.requires_grad = "lora_" in name and parameter.is_floating_point()


def set_lora_strength(language_model: LlamaForCausalLM, alpha: float, merge: bool = False) -> None:
    """Scale what LoRA adds, anew from its original scaling each time.

    Parameters
    ----------
    language_model : LlamaForCausalLM
        With the layers that :func:`add_lora` put in.
    alpha : float
        0 leaves the language model as it was before tuning, 1 is the tuned one (model merging,
        arXiv 2511.05171).
    merge : bool
        Whether to add the scaled LoRA to the weights, which answers faster. The weights as they were are kept
        for the way back, so it takes the room of the tuned layers once more. Weights that are quantised or
        in half precision are left alone: they could not hold the sum exactly; so are those that are on disk.
    """
    for layer in lora_layers(language_model):
        scaling = alpha * layer.lora_alpha[ADAPTER] / layer.r[ADAPTER]
        if layer.merged and merge and layer.scaling[ADAPTER] == scaling:
            continue
        _unmerge(layer)
        layer.scaling[ADAPTER] = scaling
        if merge and _holds_sums(layer.base_layer.weight):
            _merge(layer)


def unmerge_lora(language_model: LlamaForCausalLM) -> None:
    """Put the weights back to exactly what they were before LoRA was added to them."""
    for layer in lora_layers(language_model):
        _unmerge(layer)


def _unmerge_first(language_model: LlamaForCausalLM, *_: Any) -> None:
    unmerge_lora(language_model)


def fold_lora(language_model: LlamaForCausalLM, alpha: float) -> None:
    """Add scaled LoRA to the weights for good: what is left are plain layers.

    Sums are of float32 numbers, rounded to what the weights are in.
    """
    for module in list(language_model.modules()):
        for name, layer in list(module.named_children()):
            if ADAPTER not in getattr(layer, "lora_A", ()):
                continue
            _unmerge(layer)
            layer.scaling[ADAPTER] = alpha * layer.lora_alpha[ADAPTER] / layer.r[ADAPTER]
            linear = layer.base_layer
            linear.weight.data = _sum(layer, linear.weight.data.float()).to(linear.weight.dtype)
            setattr(module, name, linear)


def room_to_merge(language_model: LlamaForCausalLM) -> bool:
    """Return whether the tuned layers' weights can take LoRA in, and fit into memory twice more."""
    layers = lora_layers(language_model)
    if all(layer.merged for layer in layers):
        return True
    weights = [layer.base_layer.weight for layer in layers]
    if not all(map(_holds_sums, weights)):
        return False
    size = sum(weight.numel() * weight.element_size() for weight in weights)
    return 2 * size < available_memory(weights[0].device)


def lora_layers(language_model: LlamaForCausalLM) -> list[Any]:
    """Return the layers that :func:`add_lora` put in, peft's ``LoraLayer``."""
    from peft.tuners.lora import LoraLayer

    return [layer for layer in language_model.modules() if isinstance(layer, LoraLayer)]


def _holds_sums(weight: torch.Tensor) -> bool:
    """Return whether a weight is plain float32 and there; quantizers' own tensors may say that they are, too.

    What a device map leaves on disk, or in the computer's memory for a GPU, is there only to multiply.
    """
    plain = weight.dtype == torch.float32 and type(weight.data) is torch.Tensor
    return plain and weight.device.type != "meta"


def _merge(layer: Any) -> None:
    """Add LoRA to a layer's weight, and keep what the weight was."""
    weight = layer.base_layer.weight
    layer.unmerged_weight = weight.data
    weight.data = _sum(layer, weight.data)
    # peft passes a merged layer's input through its weight alone.
    layer.merged_adapters.append(ADAPTER)


def _sum(layer: Any, weight: torch.Tensor) -> torch.Tensor:
    """Return a layer's float32 weight with its scaled LoRA added."""
    change = layer.lora_B[ADAPTER].weight.float() @ layer.lora_A[ADAPTER].weight.float()
    return torch.add(weight, change.detach(), alpha=layer.scaling[ADAPTER])


def _unmerge(layer: Any) -> None:
    if layer.merged:
        weight = layer.base_layer.weight
        weight.data = layer.unmerged_weight.to(weight)  # the model may have been moved, or cast
        del layer.unmerged_weight
        layer.merged_adapters.clear()
