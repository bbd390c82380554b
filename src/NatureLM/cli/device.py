"""The option that says where the model runs, as several commands have it."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Optional

import typer


class Device(str, Enum):
    """Where a model can run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


DeviceOption = Annotated[
    Optional[Device], typer.Option(help="Where the model runs; auto takes a GPU where there is one.")
]
