"""Strictness: a model's weights all fit, or one error names every one that does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch

from NatureLM.errors import CheckpointError, NatureLMError
from NatureLM.models.configuration import NatureLMConfig
from NatureLM.models.file_faults import one_line
from NatureLM.models.memory import needed_memory
from NatureLM.models.tensor_files import StoredTensor


def expected_tensors(config: NatureLMConfig, file: Path | None = None) -> dict[str, torch.Tensor]:
    """Return the weights, on the meta device, that a model of this configuration is loaded from, by name.

    Parameters
    ----------
    config : NatureLMConfig
    file : Path, optional
        Where it stands, for the message.

    Raises
    ------
    CheckpointError
        If no model can be built so.
    """
    try:
        return dict(_expected(config.to_json_string(use_diff=False)))
    except NatureLMError:
        raise
    except Exception as error:  # of transformers, peft and torch: sizes that do not go together
        where = f"in {file}" if file else f"of {config.name}"
        raise CheckpointError(f"No model can be built from the config {where}: {one_line(error)}.") from error


@lru_cache(maxsize=1)
def _expected(text: str) -> dict[str, torch.Tensor]:
    """Return them for a configuration in JSON; asked for twice in a row, of memory and of the files."""
    from NatureLM.models.naturelm import NatureLM

    with torch.device("meta"):
        model = NatureLM(NatureLMConfig.from_dict(json.loads(text)))
    tied = set(model.all_tied_weights_keys)
    return {name: tensor for name, tensor in model.state_dict().items() if name not in tied}


def memory_of(config: NatureLMConfig, dtype: torch.dtype) -> int:
    """Return the bytes that a model needs when its language model is in ``dtype``."""
    kept = config.float32_parts
    return needed_memory(
        tensor if name.startswith(kept) else tensor.to(dtype)
        for name, tensor in expected_tensors(config).items()
    )


class WeightCheck:
    """Gathers what does not fit.

    Parameters
    ----------
    where : str
        The file or folder, for the message.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.known: set[str] = set()
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.misshapen: list[str] = []
        self.mistyped: list[str] = []
        self.contradicting: list[str] = []

    def resolve(
        self, accepted: Mapping[str, tuple[str, ...]], stored: Mapping[str, StoredTensor]
    ) -> dict[str, StoredTensor]:
        """Return the stored tensors by our names; a shared one may be stored under any of its aliases."""
        found: dict[str, StoredTensor] = {}
        for ours, aliases in accepted.items():
            present = [name for name in aliases if name in stored]
            if not present:
                continue
            first = found[ours] = stored[present[0]]
            self.contradicting += [
                f"{present[0]} and {name}" for name in present[1:] if not _same(first, stored[name])
            ]
        return found

    def compare(
        self,
        expected: Mapping[str, torch.Tensor],
        found: Mapping[str, StoredTensor],
        names: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """Note what is missing, misshapen or no real number, under the names that the file has for it."""
        self.known |= set(expected)
        for ours, tensor in expected.items():
            name = names[ours][0] if names else ours
            if ours not in found:
                self.missing.append(name)
            elif found[ours].shape != tuple(tensor.shape):
                self.misshapen.append(f"{name} {list(found[ours].shape)} instead of {list(tensor.shape)}")
            elif tensor.is_floating_point() and not found[ours].dtype.is_floating_point:
                kinds = (str(dtype).removeprefix("torch.") for dtype in (found[ours].dtype, tensor.dtype))
                self.mistyped.append(f"{name} {' instead of '.join(kinds)}")

    def done(self) -> None:
        """Raise the error, if anything was noted.

        Raises
        ------
        CheckpointError
            With every name.
        """
        problems = [
            f"{kind} keys: {', '.join(names)}"
            for kind, names in (
                ("missing", self.missing),
                ("unexpected", self.unexpected),
                ("misshapen", self.misshapen),
                ("mistyped", self.mistyped),
                ("contradicting", self.contradicting),
            )
            if names
        ]
        if problems:
            raise CheckpointError(
                f"The weights in {self.where} do not fit their config ({'; '.join(problems)})."
            )


def _same(first: StoredTensor, second: StoredTensor) -> bool:
    """Return whether two entries hold one tensor."""
    if (first.shape, first.dtype) != (second.shape, second.dtype):
        return False
    return (bool(first.storage) and first.storage == second.storage) or torch.equal(
        first.read(), second.read()
    )
