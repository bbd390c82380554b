"""Builds the table of eBird codes and newer eBird names of the encoder's birds.

    python -m NatureLM.training.ebird_names

The table is kept in the repository. BirdNET's names are those of eBird's checklist of 2021. A species keeps
its code when it is renamed, so the code leads to its names in the checklists up to 2024. The parts of a
species that was split have new codes; they are told by what they share with it, as no checklist says of which
species they were. Needs ``pip install birdnames``.
"""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from NatureLM.models.species import Species, SpeciesTable
from NatureLM.models.species_lookup import EBIRD_COLUMNS, EBIRD_TABLE, NAME_SEPARATOR
from NatureLM.training.taxonomy import ebird_checklists

BIRDNET_YEAR = 2021

PARTS_OF = {
    "Anarhynchus atrifrons": "Charadrius mongolus",
    "Anarhynchus mongolus": "Charadrius mongolus",
    "Larus mongolicus": "Larus argentatus",
    "Larus smithsonianus": "Larus argentatus",
    "Larus vegae": "Larus argentatus",
    "Troglodytes musculus": "Troglodytes aedon",
    "Tyto javanica": "Tyto alba",
}
"""Parts of widespread species whose codes tell nothing (Clements checklist, changes of 2022 to 2024)."""

Rows = Iterable[Mapping[str, str]]


def ebird_rows(species: Iterable[Species]) -> Iterator[tuple[int, str, str]]:
    """Yield class, code, and other checklists' names for it, and for what was part of it, for every bird.

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
    for part, whole in parts_of_species(checklists).items():
        names[whole] |= {**names[part], part: None}
    for bird in table:
        if bird.kind == "bird":
            code = codes[bird.label.partition("_")[0]]
            also = [name for name in names[code] if table.find(name) is None]
            yield bird.class_index, code, NAME_SEPARATOR.join(also)


def parts_of_species(checklists: Mapping[int, Rows]) -> dict[str, str]:
    """Return the code of the species of BirdNET's year that each newer code was part of, where that is known.

    A part has the whole's scientific name in one of the checklists, or stands in :data:`PARTS_OF`; or it has
    the letters of the code, and the family, of such a part (lessap1, lessap2) or else of one species alone.
    """
    before = {row["ebird_ebird_code"]: row for row in checklists[BIRDNET_YEAR]}
    codes = {row["scientific_name"]: code for code, row in before.items()}
    newer: dict[str, dict[str, None]] = defaultdict(dict)
    groups = {code: _group(row) for code, row in before.items()}
    for rows in checklists.values():
        for row in rows:
            if row["ebird_ebird_code"] not in before:
                newer[row["ebird_ebird_code"]][row["scientific_name"]] = None
                groups[row["ebird_ebird_code"]] = _group(row)
    wholes: dict[str, str] = {}
    for code, names in newer.items():
        found = [codes[name] for name in (PARTS_OF.get(name, name) for name in names) if name in codes]
        if found:
            wholes[code] = found[0]
    alike: dict[tuple[str, str], set[str]] = defaultdict(set)
    for code, whole in wholes.items():
        alike[groups[code]].add(whole)
    known = set(alike)
    for code in before:
        if groups[code] not in known:
            alike[groups[code]].add(code)
    for code in newer:
        if code not in wholes and len(alike[groups[code]]) == 1:
            (wholes[code],) = alike[groups[code]]
    return wholes


def _group(row: Mapping[str, str]) -> tuple[str, str]:
    """Return the letters of a row's code, and its family."""
    return re.sub(r"\d+$", "", row["ebird_ebird_code"]), row["ebird_family"]


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
