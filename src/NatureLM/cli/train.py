"""``naturelm train``: train a model from a configuration."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Optional

import typer

EXAMPLES = """\b
Example:
  naturelm train --cfg-path configs/train_bundled.yml
"""


def train(
    cfg_path: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="YAML configuration of the training, such as configs/train_bundled.yml.",
        ),
    ],
    overrides: Annotated[
        Optional[list[str]],
        typer.Argument(
            metavar="KEY=VALUE",
            help="Settings of the configuration to change, for example seed=1.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Train the bundled model; a training that was stopped goes on where it was."""
    from NatureLM.config import load_config
    from NatureLM.training.settings import BundledTrainingConfig
    from NatureLM.training.trainer import train as train_bundled

    settings = load_config(BundledTrainingConfig, cfg_path, overrides or ())
    logging.getLogger("NatureLM").setLevel(logging.INFO)
    folder = train_bundled(settings)
    typer.echo(f"The finished model is in {folder}.")
    return 0
