"""The files of a training: settings, checkpoint, log; and one sentence for what is wrong with one of them."""

from __future__ import annotations

import errno
import json
import os
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from NatureLM.errors import ConfigError
from NatureLM.models.naturelm import NatureLM
from NatureLM.training.settings import BundledTrainingConfig
from NatureLM.whole_files import write_whole

RUN_IDENTITY = (
    "seed",
    "vocabulary_size",
    "hidden_size",
    "layers",
    "heads",
    "feed_forward_size",
    "background_windows",
    "processes",
    "batch_size",
)
"""Settings that a run cannot change on the way; the others (steps, learning rates, logging) it can."""

BEGIN_ANEW = "remove it, and what it holds begins anew"


def check_same_run(described: Path, settings: BundledTrainingConfig) -> None:
    """Refuse to go on with a run under settings that do not fit it.

    Raises
    ------
    ConfigError
        Naming the settings that differ.
    """
    if not described.exists():
        return
    before, now = read_settings(described), settings.model_dump(mode="json")
    changed = [name for name in RUN_IDENTITY if before.get(name) != now[name]]
    if changed:
        raise ConfigError(
            f"{described.parent} holds a run with other settings ({', '.join(changed)}); "
            "choose another output_path or remove the folder."
        )


def read_settings(described: Path, advice: str = BEGIN_ANEW) -> dict[str, Any]:
    """Return the settings of a run.

    Raises
    ------
    ConfigError
        If the file is damaged.
    """
    with damage_told(described, advice):
        settings = json.loads(described.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError("it does not hold settings")
    return settings


def write_settings(described: Path, settings: BundledTrainingConfig) -> None:
    """Write down a run's settings."""
    content = json.dumps(settings.model_dump(mode="json"), indent=2) + "\n"
    write_whole({described: content.encode()})


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write what resuming needs (``step``, ``model``, ``optimizers``), whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    unfinished = path.with_suffix(".unfinished")
    try:
        torch.save(content, unfinished)
        os.replace(unfinished, path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    except RuntimeError as error:  # torch's own writer raises it over a full disk
        unfinished.unlink(missing_ok=True)
        raise OSError(
            errno.ENOSPC, f"it could not be written whole ({error})".splitlines()[0], path
        ) from error


def save_checkpoint(path: Path, model: NatureLM, optimizers: list[torch.optim.Optimizer], step: int) -> None:
    """Write what resuming needs, whole or not at all."""
    write_checkpoint(
        path,
        {
            "step": step,
            "model": model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        },
    )


def load_checkpoint(path: Path, model: NatureLM, optimizers: list[torch.optim.Optimizer]) -> int:
    """Read a checkpoint, if there is one, and return the step that it was written at."""
    if not path.exists():
        return 0
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(saved["model"])
    if saved["optimizers"]:  # none where a run begins with a model's weights
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
    return int(saved["step"])


@contextmanager
def writing_told(folder: Path) -> Iterator[None]:
    """Say in one sentence that a run's folder cannot be written.

    Raises
    ------
    ConfigError
        In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"output_path {folder} cannot be written ({error.strerror}); choose another or make room."
        ) from error


@contextmanager
def damage_told(file: Path, advice: str = BEGIN_ANEW) -> Iterator[None]:
    """Say in one sentence what is wrong with a run's file.

    Raises
    ------
    ConfigError
        In place of whatever its reading raises.
    """
    try:
        yield
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        RuntimeError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{file} is damaged ({reason}); {advice}.") from error


def write_log(folder: Path, **values: float | int | dict[str, float]) -> None:
    """Append a line to the run's log."""
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")
