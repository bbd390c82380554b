"""What a training begins with, where that is not nothing: an earlier run, or a model."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from NatureLM.errors import ConfigError
from NatureLM.models.adapters.species_tokens import SpeciesTokensAdapter
from NatureLM.models.naturelm import NatureLM
from NatureLM.training.run_files import damage_told, read_settings, write_checkpoint
from NatureLM.training.settings import BundledTrainingConfig

MODEL_SHAPE = ("vocabulary_size", "hidden_size", "layers", "heads", "feed_forward_size")
"""Settings that a run shares with what it begins from."""


BUNDLED = Path("bundled")
"""Stands for the model that the package brings."""


def begin_from(earlier: Path, settings: BundledTrainingConfig) -> None:
    """Write a checkpoint of step 0 with the weights of an earlier run or of a model, and its tokenizer.

    Nothing is written unless all of it can be read and fits.

    Parameters
    ----------
    earlier : Path
        Folder of a run, whose optimizers and backgrounds are taken over too, or of a model; ``bundled`` is
        the model that the package brings.
    settings : BundledTrainingConfig
        Of the run that begins.

    Raises
    ------
    ConfigError
        If there is neither a run nor a model, or one of another shape, or a run's file is damaged.
    NatureLMError
        If a model's files are damaged or missing.
    OSError
        If it cannot be written.
    """
    if earlier == BUNDLED or (earlier / "model.safetensors").is_file():
        begin_from_model(earlier, settings)
    elif (earlier / "checkpoint.pt").is_file():
        begin_from_run(earlier, settings)
    else:
        raise ConfigError(
            f"begins_from {earlier}: expected the folder of a run, with its checkpoint.pt, or of a model, "
            "with its model.safetensors."
        )


def begin_from_run(earlier: Path, settings: BundledTrainingConfig) -> None:
    """Begin with an earlier run; errors are those of :func:`begin_from`."""
    folder = settings.output_path
    before = read_settings(earlier / "settings.json", "choose another begins_from")
    check_shape(earlier, before, settings)
    for name in ("tokenizer/tokenizer.json", "backgrounds.npy"):
        if not (earlier / name).is_file():
            raise ConfigError(f"begins_from {earlier}: its {name} is missing; choose another run.")
    with damage_told(earlier / "checkpoint.pt", "choose another begins_from"):
        saved = dict(torch.load(earlier / "checkpoint.pt", map_location="cpu", weights_only=True))
    shutil.copytree(earlier / "tokenizer", folder / "tokenizer", dirs_exist_ok=True)
    shutil.copy(earlier / "backgrounds.npy", folder)
    write_checkpoint(folder / "checkpoint.pt", {**saved, "step": 0})


def begin_from_model(earlier: Path, settings: BundledTrainingConfig) -> None:
    """Begin with a model; errors are those of :func:`begin_from`."""
    folder = settings.output_path
    model = NatureLM.from_pretrained(earlier if earlier != BUNDLED else "bundled", dtype=torch.float32)
    if not isinstance(model.adapter, SpeciesTokensAdapter):
        raise ConfigError(f"begins_from {earlier}: expected a model of the bundled one's kind.")
    shape = model.config.text_config
    found = {
        "vocabulary_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "layers": shape.num_hidden_layers,
        "heads": shape.num_attention_heads,
        "feed_forward_size": shape.intermediate_size,
    }
    check_shape(earlier, found, settings)
    model.processor.tokenizer.save_pretrained(folder / "tokenizer")
    begun = {"step": 0, "model": model.state_dict(), "optimizers": []}
    write_checkpoint(folder / "checkpoint.pt", begun)


def check_shape(earlier: Path, found: dict[str, int], settings: BundledTrainingConfig) -> None:
    """Refuse what the settings would not build.

    Raises
    ------
    ConfigError
        Naming the settings that differ.
    """
    now = settings.model_dump(mode="json")
    if other := [name for name in MODEL_SHAPE if found.get(name) != now[name]]:
        raise ConfigError(f"begins_from {earlier} holds a model of another shape ({', '.join(other)}).")
