"""Writing a model in another form, tensor by tensor: ours, or the published code's."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from NatureLM.errors import ConfigError, NatureLMError
from NatureLM.models import checkpoint_names as names
from NatureLM.models.checkpoint import Checkpoint
from NatureLM.models.licence_files import NOTICE, write_notice
from NatureLM.models.processing import NatureLMProcessor
from NatureLM.models.tensor_files import (
    WEIGHTS,
    StoredTensor,
    stored,
    write_safetensors,
    write_sharded,
)
from NatureLM.models.upstream import to_arguments

SHARD_BYTES = 5_000_000_000
"""Largest file of weights in our own form, as the hub likes them."""

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")

POSITION_IDS = 512
"""Length of the constant that the published Q-Former carries (BERT's max_position_embeddings)."""


def write_own(
    checkpoint: Checkpoint, target: Path, dtype: torch.dtype | None = None, shard_bytes: int = SHARD_BYTES
) -> None:
    """Write a folder that ``NatureLM.from_pretrained`` reads and that needs no other.

    Parameters
    ----------
    checkpoint : Checkpoint
    target : Path
        A folder that does not exist yet, or is empty.
    dtype : torch.dtype, optional
        Number format for the language model; the stored one unless given.
    shard_bytes : int
        Largest file.

    Raises
    ------
    ConfigError
        If the target is taken.
    NatureLMError
        If the disk is too small.
    """
    tensors = _cast(checkpoint, dtype)
    with _written_whole(target, tensors) as folder:
        config = checkpoint.config
        config.architectures = ["NatureLM"]
        config.dtype = tensors[names.EMBEDDINGS].dtype
        config.save_pretrained(folder)
        NatureLMProcessor(checkpoint.tokenizer, config).save_pretrained(folder)
        checkpoint.generation_config.save_pretrained(folder)
        _write_licences(checkpoint, folder)
        write_sharded(folder, tensors, shard_bytes)


def write_upstream(
    checkpoint: Checkpoint,
    target: Path,
    dtype: torch.dtype | None = None,
    delta: bool = False,
    llama_path: str | None = None,
) -> None:
    """Write the hub's layout of the published code: ``config.json`` and ``model.safetensors``.

    Parameters
    ----------
    checkpoint : Checkpoint
    target : Path
        A folder that does not exist yet, or is empty.
    dtype : torch.dtype, optional
        Number format for the language model; the stored one unless given.
    delta : bool
        Whether to leave out Llama's frozen weights, as the published file does.
    llama_path : str, optional
        Folder or hub id of that Llama, if not the one that the model names.

    Raises
    ------
    CheckpointError
        If the model has no counterpart in the published code.
    ConfigError
        If the target is taken, or Llama is left out and nobody says where it is.
    NatureLMError
        If the disk is too small.
    """
    config = checkpoint.config
    arguments = to_arguments(config, checkpoint.tokenizer.bos_token)
    if llama_path is not None:
        arguments["llama_path"] = llama_path
    if delta:
        arguments["llama_path"] = _found_llama(checkpoint, arguments["llama_path"])
    layers, tied = arguments["beats_cfg"]["encoder_layers"], config.text_config.tie_word_embeddings
    tensors: dict[str, StoredTensor] = {}
    aliases: dict[str, str] = {}
    for ours, tensor in _cast(checkpoint, dtype).items():
        if delta and names.is_frozen(ours):
            continue
        first, *others = names.upstream_names(ours, layers, bool(config.lora), tied)
        tensors[first] = tensor
        aliases |= dict.fromkeys(others, first)
    tensors[names.POSITION_IDS] = stored(torch.arange(POSITION_IDS)[None])
    with _written_whole(target, tensors) as folder:
        text = json.dumps(arguments, indent=2, sort_keys=True)
        (folder / "config.json").write_text(text, encoding="utf-8")
        _write_licences(checkpoint, folder)
        write_safetensors(folder / WEIGHTS, tensors, aliases)


def _found_llama(checkpoint: Checkpoint, path: str) -> str:
    """Return a Llama's path such that it is found from any folder; a hub id stays.

    Raises
    ------
    ConfigError
        If it is neither a folder nor like a hub id.
    """
    for folder in (Path(path), Path(checkpoint.name) / path, Path(checkpoint.name).parent / path):
        if folder.is_dir():
            return str(folder.resolve())
    if not HUB_ID.fullmatch(path):
        raise ConfigError(
            f"--without-llama: {checkpoint.name} names {path!r} as its Llama, which is no folder; say by "
            "--llama-path where it is."
        )
    return path


def _cast(checkpoint: Checkpoint, dtype: torch.dtype | None) -> dict[str, StoredTensor]:
    """Return a checkpoint's tensors with the language model's in a number format."""
    if dtype is None:
        return checkpoint.tensors
    kept = checkpoint.config.float32_parts
    return {
        name: tensor if name.startswith(kept) or not tensor.dtype.is_floating_point else tensor.cast(dtype)
        for name, tensor in checkpoint.tensors.items()
    }


def _write_licences(checkpoint: Checkpoint, folder: Path) -> None:
    for file in checkpoint.licences:
        if file.name != NOTICE:
            shutil.copyfile(file, folder / file.name)
    write_notice(folder, checkpoint.config)


@contextmanager
def _written_whole(target: Path, tensors: dict[str, StoredTensor]) -> Iterator[Path]:
    """Give a new folder to write in; what it holds takes its place in the target when all is written.

    An empty target stays the folder that it is, for it may be where the user stands, or another disk.
    """
    try:
        empty = target.is_dir() and not any(target.iterdir())
        if not empty and os.path.lexists(target):
            raise ConfigError(f"{target} exists already; name a folder that does not.")
        place = target if empty else target.parent
        place.mkdir(parents=True, exist_ok=True)
        _check_room(target, place, tensors)
        folder = place / f".{target.name}.{uuid.uuid4().hex[:8]}.partial"
        folder.mkdir()
    except OSError as error:
        file = next((above for above in target.parents if above.is_file()), None)
        reason = f"{file} is a file" if file else (error.strerror or str(error))
        raise ConfigError(f"The folder {target} cannot be written: {reason}; name another folder.") from error
    try:
        yield folder
        if empty:
            _move_up(folder)
        else:
            os.replace(folder, target)
    except OSError as error:
        raise NatureLMError(
            f"{target} could not be written ({error.strerror or error}), and nothing of it was left; "
            "make room, or name a folder on another disk."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_room(target: Path, place: Path, tensors: dict[str, StoredTensor]) -> None:
    """Refuse to write what the disk has no room for."""
    size = sum(tensor.bytes for tensor in tensors.values())
    free = shutil.disk_usage(place).free
    if size > free:
        raise NatureLMError(
            f"{target} will be {size / 1e9:.1f} GB but only {free / 1e9:.1f} GB are free there; "
            "name a folder on another disk."
        )


def _move_up(folder: Path) -> None:
    """Move files into the folder's parent: all or none, and last the config, which makes a model of them."""
    moved: list[Path] = []
    try:
        for file in sorted(folder.iterdir(), key=lambda file: file.name == "config.json"):
            moved.append(folder.parent / file.name)
            os.replace(file, moved[-1])
    except BaseException:
        for file in moved:
            file.unlink(missing_ok=True)
        raise
