"""BEATs alone: Microsoft's checkpoint (``.pt``), or NatureLM's as published for avex (safetensors)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from NatureLM.errors import CheckpointError
from NatureLM.models import checkpoint_names as names
from NatureLM.models.tensor_files import StoredTensor, open_pickle, open_safetensors, tensors_of
from NatureLM.models.weight_check import WeightCheck

LANDMARK = "patch_embedding.weight"
"""A weight that only BEATs has: what stands before it is the prefix of all."""


@dataclass(frozen=True)
class BeatsWeights:
    """BEATs in a file.

    Attributes
    ----------
    options : dict or None
        Its sizes and switches, where the file holds them (``cfg``).
    tensors : dict
        Weights by BEATs' own names, with the prefix ``beats.``.
    """

    options: dict[str, Any] | None
    tensors: dict[str, StoredTensor]


def read_beats(file: Path) -> BeatsWeights:
    """Return the BEATs that a file holds: by itself, or within a larger model's weights.

    Raises
    ------
    CheckpointError
        If the file is damaged or holds no BEATs.
    """
    options: dict[str, Any] | None = None
    if file.suffix == ".safetensors":
        tensors = open_safetensors(file)
    else:
        content = open_pickle(file)
        options = content.get("cfg")
        inner = content.get("model", content)
        if not isinstance(inner, dict):
            raise CheckpointError(f"The file {file} holds no BEATs: its 'model' is no mapping of tensors.")
        tensors = tensors_of(inner, f"The file {file}")
    prefixes = [name.removesuffix(LANDMARK) for name in tensors if name.endswith(LANDMARK)]
    if len(prefixes) != 1:
        raise CheckpointError(f"The file {file} holds no BEATs (nothing in it is named {LANDMARK}).")
    found = {
        "beats." + name.removeprefix(prefixes[0]): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefixes[0])
    }
    return BeatsWeights(options, found)


def load_beats(encoder: torch.nn.Module, file: Path, classifier: bool = False) -> None:
    """Put the weights of a file into an encoder.

    Parameters
    ----------
    encoder : BeatsEncoder
    file : Path
        What :func:`read_beats` reads.
    classifier : bool
        Whether the file must also hold the classifier on top, which NatureLM does not use (and which
        self-supervised checkpoints lack).

    Raises
    ------
    CheckpointError
        If a weight is missing, unexpected or misshapen; the encoder is then as it was.
    """
    weights = read_beats(file).tensors
    own = encoder.state_dict()
    layers = sum(name.endswith("self_attn.k_proj.weight") for name in own)
    accepted = {name: names.upstream_names(names.BEATS + name, layers) for name in own}
    check = WeightCheck(str(file))
    found = check.resolve(accepted, weights)
    lenient = set() if classifier else {name for name in own if "predictor" in name and name not in found}
    check.compare({name: own[name] for name in own if name not in lenient}, found, accepted)
    claimed = {theirs for aliases in accepted.values() for theirs in aliases}
    surplus = set(weights) - claimed
    if not classifier:
        surplus = {name for name in surplus if not name.startswith("beats.predictor.")}
    check.unexpected += sorted(surplus)
    check.done()
    encoder.load_state_dict({name: tensor.read() for name, tensor in found.items()}, strict=False)
