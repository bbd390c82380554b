"""Classes by the names in people's lists: common, scientific, BirdNET's labels, eBird's names and codes.

Standard library only (``nearest`` imports rapidfuzz when it is called).
"""

from __future__ import annotations

import csv
from functools import cached_property
from pathlib import Path

from NatureLM.errors import CheckpointError
from NatureLM.models.species import Species, SpeciesTable, name_key

EBIRD_TABLE = Path(__file__).parent / "bundled" / "ebird_names.csv"
"""Built by NatureLM.training.ebird_names."""

EBIRD_COLUMNS = ("class_index", "code", "also")
NAME_SEPARATOR = "|"


class SpeciesLookup:
    """Finds classes of a table by name or code.

    Parameters
    ----------
    table : SpeciesTable
    ebird_table : Path
        CSV with a bird's class, eBird code and newer eBird names.

    Examples
    --------
    >>> lookup = SpeciesLookup(SpeciesTable.load())
    >>> [lookup.find(name).common_name for name in ("parus MAJOR", "gretit1", "Parus major_Great Tit")]
    ['Great Tit', 'Great Tit', 'Great Tit']
    >>> lookup.nearest("Grate Tit").common_name
    'Great Tit'
    """

    def __init__(self, table: SpeciesTable, ebird_table: Path = EBIRD_TABLE) -> None:
        self.table = table
        self.ebird_table = ebird_table

    def find(self, name: str) -> Species | None:
        """Return the class with this name, label or code; case, accents, hyphens and apostrophes are one.

        Parameters
        ----------
        name : str
            A common or scientific name, ``Scientific name_Common name`` (either half will do, so that labels
            in other languages are found), or an eBird code. A name of the table wins over a code.
        """
        whole = self.table.find(name) or self._ebird.get(name_key(name))
        if whole is not None or "_" not in name:
            return whole
        scientific, _, common = name.partition("_")
        return self.find(scientific) or self.find(common)

    def nearest(self, name: str) -> Species:
        """Return the class whose name is written most like ``name``."""
        return self.table.nearest(name.partition("_")[0], 1)[0]

    def code(self, species: Species) -> str:
        """Return eBird's code of a bird; empty for everything else."""
        return self._codes.get(species.label, "")

    @cached_property
    def _rows(self) -> list[tuple[Species, str, list[str]]]:
        try:
            with self.ebird_table.open(encoding="utf-8", newline="") as file:
                rows = [(int(row["class_index"]), row["code"], row["also"]) for row in csv.DictReader(file)]
            return [
                (self.table[index], code, also.split(NAME_SEPARATOR) if also else [])
                for index, code, also in rows
                if index < len(self.table)
            ]
        except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
            raise CheckpointError(
                f"{self.ebird_table}: cannot be read as a table of eBird names ({error}); reinstall "
                "naturelm-audio."
            ) from None

    @cached_property
    def _codes(self) -> dict[str, str]:
        return {species.label: code for species, code, _ in self._rows}

    @cached_property
    def _ebird(self) -> dict[str, Species]:
        names = {name_key(name): species for species, _, also in self._rows for name in also}
        return {name_key(code): species for species, code, _ in self._rows} | names
