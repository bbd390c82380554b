"""``naturelm convert``: write a model's files in another form."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

EXAMPLES = """\b
Examples:
  naturelm convert EarthSpeciesProject/NatureLM-audio naturelm-audio
  naturelm convert checkpoint_12.pth mine --llama-path Meta-Llama-3.1-8B-Instruct --dtype bfloat16
  naturelm convert mine mine-for-the-hub --to upstream --without-llama
"""


class Form(str, Enum):
    """The form that files are written in."""

    own = "own"
    upstream = "upstream"


class Dtype(str, Enum):
    """Number formats."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def convert(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A hub id, a folder or a training checkpoint (.pth).")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="The folder to write: a new or an empty one.")
    ],
    to: Annotated[
        Form,
        typer.Option(
            help="own: a folder that needs no other. upstream: the published code's names and layout."
        ),
    ] = Form.own,
    llama_path: Annotated[
        Optional[str],
        typer.Option(
            metavar="NAME",
            help="Folder or hub id of the Llama that the source stands on, if not the one that it names.",
        ),
    ] = None,
    dtype: Annotated[
        Optional[Dtype],
        typer.Option(help="Number format of the language model's weights.  [default: as they are]"),
    ] = None,
    without_llama: Annotated[
        bool,
        typer.Option(
            "--without-llama", help="Leave out Llama's frozen weights, as the published file does (upstream)."
        ),
    ] = False,
) -> int:
    """Write a model's files in another form; values stay as they are.

    Large models are not loaded: their weights go from file to file one by one.
    """
    from NatureLM.errors import ConfigError

    if without_llama and to is Form.own:
        raise ConfigError("--without-llama goes with --to upstream only: our own form needs no other files.")
    import torch

    from NatureLM.models.converting import write_own, write_upstream
    from NatureLM.models.licence_files import notice
    from NatureLM.models.loading import open_model, quiet_transformers

    with quiet_transformers():
        checkpoint = open_model(source, {"llama_path": llama_path, "dtype": "auto"}, fits=False)
        number = getattr(torch, dtype.value) if dtype else None
        if to is Form.own:
            write_own(checkpoint, target, number)
        else:
            write_upstream(checkpoint, target, number, without_llama, llama_path)
    typer.echo(f"Wrote {checkpoint.config.name} to {target}.")
    if text := notice(checkpoint.config):
        typer.echo(f"\n{text}\n(This is also in {target / 'NOTICE'}.)")
    return 0
