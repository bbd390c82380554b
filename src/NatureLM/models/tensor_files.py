"""Tensors in files: listed by name, shape and dtype, read one at a time, written one at a time.

A model of 8 billion parameters must never lie in memory twice, so nothing here reads or writes a file whole.
"""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch.serialization import MAGIC_NUMBER

from NatureLM.errors import CheckpointError
from NatureLM.json_text import parse_json
from NatureLM.models.file_faults import one_line, refuse_stand_in

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""The names of dtypes in safetensors files: https://huggingface.co/docs/safetensors."""

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

ZIP = b"PK\x03\x04"
OLD_MAGIC = MAGIC_NUMBER.to_bytes(10, "little")
"""In the first bytes of what ``torch.save`` wrote before version 1.6."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that is read when it is asked for, every time anew.

    Attributes
    ----------
    shape : tuple of int
    dtype : torch.dtype
    read : callable
        Returns the tensor.
    storage : hashable
        Equal for two names of one and the same stretch of a file.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], torch.Tensor] = field(compare=False)
    storage: tuple[object, ...] = ()

    def __getitem__(self, index: Any) -> torch.Tensor:
        """Return a part of the tensor; transformers' loader asks for ``tensor[...]``."""
        return self.read()[index]

    @property
    def bytes(self) -> int:
        """Size when read."""
        return math.prod(self.shape) * self.dtype.itemsize

    def resized(self, rows: int) -> StoredTensor:
        """Return the same tensor with ``rows`` rows: further ones are zero, surplus ones are cut."""

        def read() -> torch.Tensor:
            whole = torch.zeros((rows, *self.shape[1:]), dtype=self.dtype)
            kept = min(rows, self.shape[0])
            whole[:kept] = self.read()[:kept]
            return whole

        return self if rows == self.shape[0] else StoredTensor((rows, *self.shape[1:]), self.dtype, read)

    def cast(self, dtype: torch.dtype) -> StoredTensor:
        """Return the same tensor in another dtype."""
        return self if dtype == self.dtype else StoredTensor(self.shape, dtype, lambda: self.read().to(dtype))


def stored(tensor: torch.Tensor) -> StoredTensor:
    """Return a tensor in memory (or mapped into it) as one that can be read."""
    return StoredTensor(
        tuple(tensor.shape), tensor.dtype, lambda: tensor, (tensor.data_ptr(), tensor.stride())
    )


def open_safetensors(file: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a safetensors file by name.

    Bytes are read, not mapped: mapped pages of a file would count as memory beside the model's own.

    Raises
    ------
    CheckpointError
        If the file is damaged.
    """
    try:
        handle = safe_open(file, framework="pt", backend="pread")
        tensors: dict[str, StoredTensor] = {}
        for name in handle.keys():  # noqa: SIM118  (not a mapping)
            part = handle.get_slice(name)
            dtype = DTYPES.get(part.get_dtype())
            if dtype is None:
                raise CheckpointError(
                    f"The file {file} holds {name} as {part.get_dtype()}, which is not read."
                )
            read = partial(_read_tensor, handle, file, name)
            tensors[name] = StoredTensor(tuple(part.get_shape()), dtype, read, (str(file), name))
    except (OSError, SafetensorError, ValueError) as error:
        refuse_stand_in(file)
        raise _unreadable(file, error) from error
    return tensors


def _read_tensor(handle: Any, file: Path, name: str) -> torch.Tensor:
    """Return a tensor of an open file, which may have been damaged, or its disk lost, since it was opened.

    Raises
    ------
    CheckpointError
        If it cannot be read.
    """
    try:
        tensor: torch.Tensor = handle.get_tensor(name)
    except (OSError, SafetensorError) as error:
        raise _unreadable(file, error) from error
    return tensor


def open_weights(folder: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a folder's ``model.safetensors``, or of the shards that its index lists.

    Raises
    ------
    CheckpointError
        If files are missing or damaged, or do not hold what the index says.
    """
    if (folder / WEIGHTS).is_file():
        return open_safetensors(folder / WEIGHTS)
    index = folder / INDEX
    if not index.is_file():
        raise CheckpointError(f"The model folder {folder} lacks {WEIGHTS}.")
    try:
        places: dict[str, str] = parse_json(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(places.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        refuse_stand_in(index)
        raise _unreadable(index, error) from error
    strangers = [name for name in names if Path(name).name != name]
    if strangers:
        raise CheckpointError(f"The file {index} points out of its folder: {', '.join(strangers)}.")
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise CheckpointError(f"The model folder {folder} lacks {', '.join(absent)}, which {INDEX} lists.")
    tensors: dict[str, StoredTensor] = {}
    for name in names:
        tensors |= open_safetensors(folder / name)
    lost = sorted(set(places) - set(tensors))
    if lost:
        raise CheckpointError(f"The files of {folder} lack tensors that {INDEX} lists: {', '.join(lost)}.")
    return tensors


def open_pickle(file: Path) -> dict[str, Any]:
    """Return what ``torch.save`` wrote, if it is a mapping of tensors and plain values.

    Tensors stay in the file until they are read (it is mapped), where the file's format allows it. Nothing
    in the file can run code: only ``weights_only=True`` is ever used.

    Raises
    ------
    CheckpointError
        If the file is damaged or holds other Python objects.
    """
    try:
        try:
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap can only be used" not in str(error):
                raise
            content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise _unreadable(file, error) from error
    except Exception as error:  # torch's reader raises what the damage happens to bring about
        refuse_stand_in(file)
        if not _looks_saved(file):
            raise CheckpointError(
                f"The file {file} is not what torch.save writes, or is damaged; download it or save it again."
            ) from error
        if isinstance(error, pickle.UnpicklingError):
            raise CheckpointError(
                f"The file {file} holds Python objects beside tensors (or is damaged), and such files can "
                'run code when read; save it again with torch.save({"model": model.state_dict()}, ...).'
            ) from error
        raise _unreadable(file, error) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"The file {file} holds a {type(content).__name__}, not a checkpoint.")
    return content


def tensors_of(mapping: Mapping[str, Any], where: str) -> dict[str, StoredTensor]:
    """Return the tensors of a state dict.

    Raises
    ------
    CheckpointError
        If it holds anything else.
    """
    others = sorted(str(name) for name, value in mapping.items() if not isinstance(value, torch.Tensor))
    if others:
        raise CheckpointError(f"{where} holds what is not a tensor: {', '.join(others)}.")
    return {str(name): stored(value) for name, value in mapping.items()}


def write_safetensors(
    file: Path, tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, holding one tensor in memory at a time.

    The layout (a JSON header of 8-byte aligned length, then the tensors without gaps, wide dtypes first) is
    that of https://huggingface.co/docs/safetensors.
    """
    codes = {dtype: code for code, dtype in DTYPES.items()}
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    end = 0
    for name in order:
        tensor = tensors[name]
        start, end = end, end + tensor.bytes
        header[name] = {
            "dtype": codes[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            flat = tensors[name].read().detach().cpu().contiguous().reshape(-1)
            out.write(flat.view(torch.uint8).numpy().data)


def write_sharded(folder: Path, tensors: Mapping[str, StoredTensor], shard_bytes: int) -> list[Path]:
    """Write ``model.safetensors``, or shards of at most ``shard_bytes`` and their index; return the files.

    A tensor larger than that has a shard of its own.
    """
    shards: list[dict[str, StoredTensor]] = [{}]
    size = 0
    for name in sorted(tensors):
        if shards[-1] and size + tensors[name].bytes > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensors[name]
        size += tensors[name].bytes
    if len(shards) == 1:
        write_safetensors(folder / WEIGHTS, shards[0])
        return [folder / WEIGHTS]
    files = [
        folder / f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        for number in range(1, len(shards) + 1)
    ]
    places: dict[str, str] = {}
    for file, shard in zip(files, shards, strict=True):
        write_safetensors(file, shard)
        places |= dict.fromkeys(shard, file.name)
    total = {"total_size": sum(tensor.bytes for tensor in tensors.values())}
    text = json.dumps({"metadata": total, "weight_map": dict(sorted(places.items()))}, indent=2)
    (folder / INDEX).write_text(text + "\n", encoding="utf-8")
    return files


def _unreadable(file: Path, error: BaseException) -> CheckpointError:
    """Return the sentence about a file that cannot be read."""
    return CheckpointError(f"The file {file} cannot be read: {one_line(error)}.")


def _looks_saved(file: Path) -> bool:
    """Return whether a file begins as ``torch.save`` begins one: a zip archive, or its old magic number."""
    with file.open("rb") as content:
        head = content.read(64)
    return head.startswith(ZIP) or OLD_MAGIC in head
