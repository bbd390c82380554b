"""Whether a model fits, known before anything large is downloaded or allocated."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil
import torch

from NatureLM.errors import ModelUnavailableError

CPU = torch.device("cpu")

HEADROOM = 1.1
"""What is needed beside the weights: activations, caches, the tensor being read (measured: see
benchmarks/loading_memory.py)."""

HALVE = (
    "; dtype=torch.bfloat16 in Python takes half the space, and so does precision=bfloat16 on the command "
    "line where the processor multiplies in it"
)

GROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Where Linux says what the container that a process runs in may use and uses (control groups, version 2 and
1), and which entry of its ``memory.stat`` counts cached files, which give way."""


def available_memory(device: torch.device = CPU) -> int:
    """Return the bytes that can still be allocated on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    for folder, limit, used, cached in GROUPS:
        try:
            lines = (Path(folder) / "memory.stat").read_text().splitlines()
            gives_way = int(dict(line.split() for line in lines).get(cached, 0))
            taken = int((Path(folder) / used).read_text()) - gives_way
            room = int((Path(folder) / limit).read_text()) - taken
        except (OSError, ValueError):  # no such group, or "max"
            continue
        free = min(free, max(room, 0))
    return free


def needed_memory(parameters: Iterable[torch.Tensor]) -> int:
    """Return the bytes that a model needs, given its tensors (on the meta device)."""
    return int(HEADROOM * sum(tensor.numel() * tensor.element_size() for tensor in parameters))


def check_memory(name: str, needed: int, device: torch.device = CPU, halved: bool = False) -> None:
    """Refuse a model that does not fit.

    Parameters
    ----------
    name : str
    needed : int
        Bytes.
    device : torch.device
    halved : bool
        Whether its language model is in half precision already.

    Raises
    ------
    ModelUnavailableError
        With what it needs, what there is, and the remedy.
    """
    free = available_memory(device)
    if needed <= free:
        return
    place = "this GPU" if device.type == "cuda" else "this machine"
    raise ModelUnavailableError(
        f"The model {name!r} needs {_gigabytes(needed)} of memory but {place} has {_gigabytes(free)} free; "
        f"close other programs, or take a machine or GPU with more{'' if halved else HALVE}."
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
