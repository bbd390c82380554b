"""Which device a model runs on, chosen at run time."""

from __future__ import annotations

import torch

from NatureLM.errors import ConfigError


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
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(device.type, False):
        raise ConfigError(f"The device {name!r} is not available on this machine; use auto or cpu.")
    return device
