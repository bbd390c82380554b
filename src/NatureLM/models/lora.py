"""LoRA on the language model, kept as an adapter of peft's so that its strength can still be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from NatureLM.errors import CheckpointError, ModelUnavailableError

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


def freeze_all_but_lora(language_model: LlamaForCausalLM) -> None:
    """Let only the LoRA layers of a language model be trained."""
    for name, parameter in language_model.named_parameters():
        parameter.requires_grad = "lora_" in name and parameter.is_floating_point()


def set_lora_strength(language_model: LlamaForCausalLM, alpha: float) -> None:
    """Scale what LoRA adds, anew from its original scaling each time.

    Parameters
    ----------
    language_model : LlamaForCausalLM
        With the layers that :func:`add_lora` put in.
    alpha : float
        0 leaves the language model as it was before tuning, 1 is the tuned one (model merging,
        arXiv 2511.05171).
    """
    from peft.tuners.lora import LoraLayer

    for layer in language_model.modules():
        if isinstance(layer, LoraLayer):
            layer.scaling[ADAPTER] = alpha * layer.lora_alpha[ADAPTER] / layer.r[ADAPTER]
