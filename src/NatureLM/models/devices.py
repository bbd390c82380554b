"""Which device a model runs on, and in which number format, chosen at run time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from NatureLM.errors import ConfigError

if TYPE_CHECKING:
    from NatureLM.models.configuration import NatureLMConfig


@contextmanager
def exact_convolutions(device: torch.device) -> Iterator[None]:
    """Within it NVIDIA's GPUs convolve float32 numbers as such, not rounded to 10 bits (TF32).

    torch lets cuDNN round unless told otherwise (its notes on CUDA, "TensorFloat-32"), but not products of
    matrices. The rounding of scores is small, but it moves those at the floor of evidence.
    """
    if device.type != "cuda":
        yield
        return
    # torch 2.9 and newer refuse the older name once the newer one has been used.
    newer = getattr(torch.backends.cudnn, "conv", None)
    settings: Any = newer or torch.backends.cudnn
    name, exact = ("fp32_precision", "ieee") if newer else ("allow_tf32", False)
    before = getattr(settings, name)
    setattr(settings, name, exact)
    try:
        yield
    finally:
        setattr(settings, name, before)


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of a name; ``"auto"`` takes CUDA, else Apple's GPU, else the CPU.

    Raises
    ------
    ConfigError
        If there is no such device on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"Unknown device {name!r}; use auto, cpu, cuda or mps.") from error
    present = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }.get(device.type, 0)
    if present and (device.index or 0) >= present:
        raise ConfigError(
            f"The device {name!r} is not available: this machine has {present} of its kind, counted from 0."
        )
    if not present:
        raise ConfigError(f"The device {name!r} is not available on this machine; use auto or cpu.")
    return device


def multiplies_bfloat16() -> bool:
    """Return whether this computer's processor has instructions for products of bfloat16 numbers."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(has for name, has in capabilities.items() if "bf16" in name)


def language_dtype(config: NatureLMConfig, device: torch.device) -> torch.dtype:
    """Return the number format of a model's language model where the user asks for none.

    NatureLM-audio's Llama was published in bfloat16 and runs so on CUDA. Few CPUs compute in half precision
    natively; on the others it is slower than float32 (13 against 18 tokens a second, measured on a Llama
    of 135 million parameters). Apple's GPUs have float16. The bundled model is small and stays as trained.
    """
    halves = {"cuda": torch.bfloat16, "mps": torch.float16} if config.float32_parts else {}
    return halves.get(device.type, torch.float32)
