"""Short fingerprints of a model, a request and a set of recordings, to tell whether two runs are the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from NatureLM import __version__
from NatureLM.calibration import read_calibration
from NatureLM.infer.candidates import read_candidates

if TYPE_CHECKING:
    import torch

    from NatureLM.infer.settings import Configuration
    from NatureLM.models import NatureLM

SAMPLED_VALUES = 256
"""Values taken of each tensor, evenly spaced: training changes all of a tensor, so a few tell."""


def model_fingerprint(model: NatureLM) -> str:
    """Return 16 hexadecimal digits over the model's configuration and weights.

    They are the same on any device, but not in any number format, whose answers differ: the published model
    is in another one on each kind of device, unless told otherwise.
    """
    import torch

    digest = hashlib.sha256()
    config = model.config.to_dict()
    for fleeting in ("_name_or_path", "transformers_version", "torch_dtype", "dtype"):
        config.pop(fleeting, None)
    digest.update(repr(sorted(config.items())).encode())
    if model.precision is not None:
        digest.update(f"{model.precision} {model.fixed_alpha}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        if not isinstance(tensor, torch.Tensor):
            continue  # packed integers, which the layers' float neighbours stand for
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        if tensor.numel():
            last = tensor.numel() - 1
            places = torch.linspace(0, last, SAMPLED_VALUES, dtype=torch.float64, device="cpu").long()
            with _there(model, name, tensor) as whole:
                flat = whole.detach().reshape(-1)
                sampled = flat[places.to(flat.device)].cpu()  # first: Apple's GPU has no float64
            digest.update(sampled.double().numpy().tobytes())
    return digest.hexdigest()[:16]


@contextmanager
def _there(model: NatureLM, name: str, tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Have a tensor's values at hand, also where a device map has left them on disk."""
    if tensor.device.type != "meta":
        yield tensor
        return
    from accelerate.utils import align_module_device

    of_module, _, own = name.rpartition(".")
    module = model.get_submodule(of_module)
    with align_module_device(module, "cpu"):
        yield getattr(module, own)


def request_fingerprint(configuration: Configuration, queries: Iterable[str]) -> str | None:
    """Return 16 hexadecimal digits over all that settles the answers of a run, without loading its model.

    None where another model than the bundled one may answer: others are too large to be read whole.

    Raises
    ------
    ConfigError
        If the list of candidates or known names, or the calibration, cannot be read.
    """
    config = configuration.config
    names = read_candidates(config.candidates)  # before torch is imported: that takes longer
    from NatureLM.models.loading import BUNDLED, BUNDLED_FOLDER

    if config.model != BUNDLED or config.fallback not in (None, BUNDLED):
        return None
    digest = hashlib.sha256(repr((__version__, configuration, tuple(queries))).encode())
    digest.update(repr(names).encode())
    if config.calibration is not None:
        digest.update(read_calibration(config.calibration).fingerprint.encode())
    for file in sorted(path for path in BUNDLED_FOLDER.iterdir() if path.is_file()):
        digest.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def recordings_fingerprint(paths: Iterable[Path]) -> str:
    """Return 16 hexadecimal digits over the files' paths, sizes and times of change."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = path.stat()
            known = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:
            known = "missing"
        digest.update(os.fsencode(path) + f" {known}\n".encode())
    return digest.hexdigest()[:16]
