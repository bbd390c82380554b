"""The mean of several models' weights, where all of them went on from one training.

    python -m NatureLM.training.averaging mean part_5/model part_6/model another_part_6/model

Models that were trained on from the same weights lie in one valley of the loss, so the mean of their weights
is a model too, often a better one than each (Wortsman et al. 2022, "Model soups").
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from NatureLM.errors import CheckpointError
from NatureLM.models.tensor_files import open_safetensors

WEIGHTS = "model.safetensors"


def average(folders: Sequence[Path], output: Path) -> None:
    """Write a model whose weights are the mean of others'; all else is the first one's.

    Parameters
    ----------
    folders : sequence of Path
        Folders of models, each with a ``model.safetensors``; one that is named twice counts twice.
    output : Path
        Folder to write; the numbers are float16, as the bundled model's.

    Raises
    ------
    CheckpointError
        If a model cannot be read, or is of another shape than the first.
    """
    weights = [open_safetensors(folder / WEIGHTS) for folder in folders]
    shapes = [{name: tensor.shape for name, tensor in each.items()} for each in weights]
    for folder, found in zip(folders, shapes, strict=True):
        if found != shapes[0]:
            raise CheckpointError(
                f"{folder / WEIGHTS}: expected weights of the shape of those in {folders[0]}."
            )
    mean = {
        name: torch.stack([each[name].read().double() for each in weights]).mean(0).half()
        for name in weights[0]
    }
    output.mkdir(parents=True, exist_ok=True)
    for file in folders[0].iterdir():
        if file.is_file() and file.name != WEIGHTS:
            shutil.copyfile(file, output / file.name)
    unfinished = output / f"{WEIGHTS}.unfinished"
    save_file(mean, unfinished, metadata={"format": "pt"})
    os.replace(unfinished, output / WEIGHTS)


def main() -> None:
    """Average the models that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, help="folder to write")
    parser.add_argument(
        "models", type=Path, nargs="+", help="folders of models, the same one twice if it is to count twice"
    )
    options = parser.parse_args()
    average(options.models, options.output)


if __name__ == "__main__":
    main()
