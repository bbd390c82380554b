"""Builds the table of eBird codes and newer eBird names of the encoder's birds.

    python -m NatureLM.training.ebird_names

The table is kept in the repository. BirdNET's names are those of eBird's checklist of 2021. A species keeps
its code when it is renamed, so the code leads to its names in the checklists up to 2024; of a species that
was split, these are the names of the part that kept the code. Needs ``pip install birdnames``.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from NatureLM.models.species import Species, SpeciesTable
from NatureLM.models.species_lookup import EBIRD_COLUMNS, EBIRD_TABLE, NAME_SEPARATOR
from NatureLM.training.taxonomy import ebird_checklists

BIRDNET_YEAR = 2021


def ebird_rows(species: Iterable[Species]) -> Iterator[tuple[int, str, str]]:
    """Yield class, code, and the names that other checklists have for the code, for every bird.

    Parameters
    ----------
    species : iterable of Species
        The encoder's classes.
    """
    table = SpeciesTable(species)
    checklists = ebird_checklists()
    codes = {row["scientific_name"]: row["ebird_ebird_code"] for row in checklists[BIRDNET_YEAR]}
    names: dict[str, dict[str, None]] = {}
    for rows in checklists.values():
        for row in rows:
            known = names.setdefault(row["ebird_ebird_code"], {})
            known[row["ebird_common_name"]] = known[row["scientific_name"]] = None
    for bird in table:
        if bird.kind == "bird":
            code = codes[bird.label.partition("_")[0]]
            also = [name for name in names[code] if table.find(name) is None]
            yield bird.class_index, code, NAME_SEPARATOR.join(also)


def main() -> None:
    """Write the table, through a temporary file."""
    temporary = Path(f"{EBIRD_TABLE}.part")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(EBIRD_COLUMNS)
        writer.writerows(ebird_rows(SpeciesTable.load()))
    os.replace(temporary, EBIRD_TABLE)


if __name__ == "__main__":
    main()
