"""From a model's name to a model ready to answer: the bundled one, a folder, or a model of the hub."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from NatureLM.errors import CheckpointError, ConfigError, ModelUnavailableError
from NatureLM.models.file_faults import one_line

if TYPE_CHECKING:
    import torch

    from NatureLM.models.answering import Precision
    from NatureLM.models.checkpoint import Checkpoint
    from NatureLM.models.naturelm import NatureLM

logger = logging.getLogger(__name__)

BUNDLED = "bundled"
BUNDLED_FOLDER = Path(__file__).parent / "bundled"

NEVER_QUANTIZED = ("audio_encoder", "adapter", r".*\.lora_[AB]", "language_model.lm_head")
"""Parts, as regular expressions of transformers' quantizers, that stay as they are: quantization is for the
language model, and LoRA and the output layer are small and sensitive."""

HUB_OPTIONS = ("revision", "token", "cache_dir", "llama_path")
"""Options of ``from_pretrained`` that say where files are."""


def load_model(
    name_or_path: str | os.PathLike[str] = BUNDLED,
    device: str = "auto",
    fallback: str | None = None,
    precision: Precision | None = None,
    llama_path: str | os.PathLike[str] | None = None,
) -> NatureLM:
    """Load a model and put it on a device, ready to answer.

    Parameters
    ----------
    name_or_path : str or path
        ``"bundled"``, a hub id, a folder or a training checkpoint (``.pth``).
    device : {"auto", "cpu", "cuda", "mps"} or another torch device
        ``"auto"`` takes CUDA or Apple's GPU where there is one.
    fallback : str or None
        The model to take, with a warning, if the first cannot be had.
    precision : {"bfloat16", "int8"} or None
        What it is to be given by ``NatureLM.to_precision``; it is loaded such that this takes no more memory.
    llama_path : str or path, optional
        Folder or hub id of the Llama that a published checkpoint stands on, if not the one that it names.

    Returns
    -------
    NatureLM
        In evaluation mode; ``requested_as`` says which of the two names it goes by.

    Raises
    ------
    ModelUnavailableError
        If the model cannot be had or does not fit, and there is no fallback.
    CheckpointError
        If its files do not fit together.
    ConfigError
        If the device does not exist on this machine.
    """
    from NatureLM.models.devices import choose_device
    from NatureLM.models.naturelm import NatureLM

    chosen = choose_device(device)
    # Straight to a GPU: a large model need not fit in the computer's own memory first.
    placement: dict[str, Any] = {} if chosen.type == "cpu" else {"device_map": {"": chosen}}
    if precision == "bfloat16":
        # In float32 the model would take twice the memory that it has in bfloat16 at the end.
        placement["dtype"] = "auto"
    try:
        model = NatureLM.from_pretrained(name_or_path, llama_path=llama_path, **placement)
    except ModelUnavailableError as error:
        if fallback is None:
            raise
        logger.warning("%s The model %r answers instead.", error, fallback)
        model = NatureLM.from_pretrained(fallback, **placement)
    return model.eval().to(chosen)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and load reports off the user's terminal for a while."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def damage_named(name: str) -> Iterator[None]:
    """Turn what transformers and safetensors raise over damaged files into one sentence.

    Raises
    ------
    CheckpointError
        With the model's name and the reason.
    """
    import torch
    from safetensors import SafetensorError

    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"The model in {name} cannot be read: {one_line(error)}.") from error


def open_model(
    name_or_path: str | os.PathLike[str], options: dict[str, Any], fits: bool = True
) -> Checkpoint:
    """Return the checkpoint that a name stands for.

    Parameters
    ----------
    name_or_path : str or path
        ``"bundled"``, a folder, a ``.pth`` file or a hub id.
    options : dict
        Arguments of ``from_pretrained``; those that say where the files are and how they are read are taken
        out, and ``dtype`` is put in.
    fits : bool
        Whether to refuse a model that will not fit in memory.

    Raises
    ------
    ModelUnavailableError
        If the model cannot be had, or does not fit in memory.
    CheckpointError
        If its files do not fit together.
    ConfigError
        If there is no such dtype or device.
    """
    import torch

    from NatureLM.models.checkpoint import open_checkpoint
    from NatureLM.models.devices import language_dtype

    place = {name: options.pop(name) for name in HUB_OPTIONS if name in options}
    asked = options.pop("torch_dtype", None) or options.pop("dtype", None)
    options.pop("dtype", None)
    dtype = getattr(torch, asked, asked) if isinstance(asked, str) else asked
    computes = isinstance(dtype, torch.dtype) and dtype.is_floating_point and dtype.itemsize > 1
    if dtype is not None and dtype != "auto" and not computes:
        name = str(asked).removeprefix("torch.")
        raise ConfigError(
            f"A model cannot be loaded in dtype {name!r}; use 'auto', 'float32', 'bfloat16' or 'float16'."
        )
    if options.get("quantization_config") is not None:
        options["quantization_config"] = only_language_model(options["quantization_config"])
    device, whole = _target(options.get("device_map"))
    checkpoint = open_checkpoint(
        BUNDLED_FOLDER if os.fspath(name_or_path) == BUNDLED else name_or_path,
        dtype=dtype,
        device=device,
        # Parts may go to several devices or to disk, or take less room than their shapes say.
        fits=fits and whole and not options.get("quantization_config"),
        **place,
    )
    stored = checkpoint.dtype if dtype == "auto" else dtype
    options["dtype"] = stored or language_dtype(checkpoint.config, device)
    return checkpoint


def only_language_model(quantization_config: Any) -> Any:
    """Return a quantization config, or a dict of one, that leaves all but the language model as it is."""
    given = copy.deepcopy(quantization_config)
    options = given if isinstance(given, dict) else vars(given)
    method = str(getattr(options.get("quant_method"), "value", options.get("quant_method")))
    # Dicts may leave the method out: these options are those of bitsandbytes.
    is_bitsandbytes = method == "bitsandbytes" or options.get("load_in_4bit") or options.get("load_in_8bit")
    name = "llm_int8_skip_modules" if is_bitsandbytes else "modules_to_not_convert"
    options[name] = [*(options.get(name) or ()), *NEVER_QUANTIZED]
    return given


def _target(device_map: Any) -> tuple[torch.device, bool]:
    """Return the (first) device that a device map names, and whether the whole model goes there.

    Raises
    ------
    ConfigError
        If a device does not exist on this machine.
    """
    import torch

    from NatureLM.models.devices import choose_device

    def device(place: str) -> torch.device:
        if place == "meta":  # weights that are not there, to look at a model's shape
            return torch.device(place)
        return choose_device(f"cuda:{place}" if place.isdigit() else place)

    if device_map is None:
        return torch.device("cpu"), True
    if device_map in ("auto", "balanced", "balanced_low_0", "sequential"):  # transformers' own words
        return choose_device("auto"), False
    if isinstance(device_map, dict):
        named = sorted(set(map(str, device_map.values())) - {"cpu", "disk"})
        places = [device(place) for place in named] or [torch.device("cpu")]
        return places[0], set(device_map) == {""}
    return device(str(device_map)), True


def finish_loading(model: NatureLM, checkpoint: Checkpoint, loading_info: dict[str, Any]) -> NatureLM:
    """Check that a model was loaded whole, and give it tokenizer, names and frozen encoder.

    Raises
    ------
    CheckpointError
        If keys are missing, unexpected or misshapen.
    ModelUnavailableError
        If the encoder's own files cannot be had.
    """
    from NatureLM.models.lora import freeze_all_but_lora
    from NatureLM.models.processing import NatureLMProcessor
    from NatureLM.models.species import SpeciesTable

    problems = [
        f"{kind.replace('_', ' ')}: {', '.join(sorted(map(str, loading_info.get(kind) or ())))}"
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")
        if loading_info.get(kind)
    ]
    if problems:
        raise CheckpointError(
            f"The weights in {checkpoint.name} do not fit their config ({'; '.join(problems)})."
        )
    if model.config.lora:
        freeze_all_but_lora(model.language_model)
    model.config.name_or_path = checkpoint.name
    model.generation_config = model.language_model.generation_config = checkpoint.generation_config
    model.attach_processor(NatureLMProcessor(checkpoint.tokenizer, model.config))
    model.adapter.attach(checkpoint.tokenizer, SpeciesTable.load())
    model.audio_encoder.load_frozen()
    model.audio_encoder.to(model.device)
    return model.eval()
