"""``naturelm species``: which birds to expect at a place in a week."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import typer

from NatureLM.cli import places

EXAMPLES = """\b
Examples:
  naturelm species --latitude 42.5 --longitude -76.5 --week 20
  naturelm species --latitude 42.5 --longitude -76.5 --date 2024-05-17 --format list > species.txt
"""


class Format(str, Enum):
    """How the list is printed."""

    table = "table"
    csv = "csv"
    json = "json"
    list = "list"


def species(
    latitude: places.Latitude = None,
    longitude: places.Longitude = None,
    week: places.Week = None,
    date: places.Date = None,
    range_threshold: places.RangeThreshold = None,
    format: Annotated[
        Format,
        typer.Option(
            help="table, csv, json, or list: a line a species, as --candidates and BirdNET take it."
        ),
    ] = Format.table,
) -> int:
    """Print the birds that BirdNET's range model expects at a place, the most probable first.

    The week is that of --week or --date, and without them the whole year. Frogs, insects, mammals and sounds
    are not in the list: the model knows nothing of their ranges.
    """
    from NatureLM.config import CandidatesConfig, load_config
    from NatureLM.errors import ConfigError
    from NatureLM.infer.candidates import chosen_week, read_candidates
    from NatureLM.models.species import SpeciesTable
    from NatureLM.models.species_lookup import SpeciesLookup
    from NatureLM.models.species_range import WHOLE_YEAR, SpeciesRange

    options = {
        "latitude": latitude,
        "longitude": longitude,
        "week": week,
        "date": date,
        "range_threshold": range_threshold,
    }
    config = load_config(CandidatesConfig, options=options)
    read_candidates(config)
    if config.latitude is None or config.longitude is None:
        raise ConfigError("Give a place: --latitude and --longitude, in degrees.")
    chosen = chosen_week(config)
    table = SpeciesTable.load()
    expected = SpeciesRange(table).expected(
        config.latitude, config.longitude, WHOLE_YEAR if chosen is None else chosen, config.range_threshold
    )
    lookup = SpeciesLookup(table)
    rows = [
        {
            "common_name": one.species.common_name,
            "scientific_name": one.species.scientific_name,
            "ebird_code": lookup.code(one.species),
            "probability": round(one.probability, 4),
        }
        for one in expected
    ]
    if format is Format.list:
        for one in expected:
            typer.echo(one.species.label)
    else:
        _show(rows, format)
    return 0


def _show(rows: list[dict[str, Any]], format: Format) -> None:
    if format is Format.json:
        import json

        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    elif format is Format.csv:
        from NatureLM.infer.writers.tables import csv_line

        typer.echo(csv_line(["common_name", "scientific_name", "ebird_code", "probability"]), nl=False)
        for row in rows:
            typer.echo(csv_line(list(row.values())), nl=False)
    else:
        width = max((len(row["common_name"]) for row in rows), default=0)
        for row in rows:
            typer.echo(f"{row['probability']:.3f}  {row['common_name']:{width}}  {row['scientific_name']}")
        typer.echo(f"{len(rows)} species", err=True)
