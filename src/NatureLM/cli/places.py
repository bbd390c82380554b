"""Options for a place and a time of year, as several commands have them."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

Latitude = Annotated[
    Optional[float],
    typer.Option(
        "--latitude",
        "--lat",
        metavar="DEGREES",
        min=-90.0,
        max=90.0,
        help="With --longitude: only birds that are expected there are named (bundled model only).",
    ),
]
Longitude = Annotated[
    Optional[float],
    typer.Option("--longitude", "--lon", metavar="DEGREES", min=-180.0, max=180.0, help="East of Greenwich."),
]
Week = Annotated[
    Optional[int],
    typer.Option(
        metavar="1-48",
        min=-1,
        max=48,
        help="Week of the year, four a month; -1 for the whole year.  "
        "[default: each recording's own date; without recordings the whole year]",
    ),
]
Date = Annotated[
    Optional[str], typer.Option(metavar="YYYY-MM-DD", help="A day, in place of --week.", show_default=False)
]
RangeThreshold = Annotated[
    Optional[float],
    typer.Option(
        metavar="0-1",
        min=0.0,
        max=1.0,
        help="Probability from which a bird is expected at the place.  [default: 0.03]",
    ),
]
