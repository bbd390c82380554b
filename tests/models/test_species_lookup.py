"""Names as they stand in people's lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from NatureLM.errors import CheckpointError
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_lookup import SpeciesLookup


@pytest.fixture(scope="module")
def lookup(table: SpeciesTable) -> SpeciesLookup:
    return SpeciesLookup(table)


@pytest.mark.parametrize(
    ("name", "common_name"),
    [
        ("Great Tit", "Great Tit"),
        ("great TIT", "Great Tit"),
        ("parus major", "Great Tit"),
        ("gretit1", "Great Tit"),
        ("GRETIT1", "Great Tit"),
        ("Parus major_Great Tit", "Great Tit"),
        ("Parus major_Kohlmeise", "Great Tit"),
        ("Unheard of_Great Tit", "Great Tit"),
        ("Cooper's Hawk", "Cooper's Hawk"),
        ("Cooper\u2019s hawk", "Cooper's Hawk"),
        ("Ruppell's Starling", "Rüppell's Starling"),
        ("RÜPPELL'S STARLING", "Rüppell's Starling"),
        # Prefixes of one another.
        ("Gray Treefrog", "Gray Treefrog"),
        ("Cope's Grey Treefrog", "Cope's Gray Treefrog"),
        ("Ruff", "Ruff"),
        ("Ruffed Grouse", "Ruffed Grouse"),
        # Newer names at eBird, by way of its codes.
        ("American Goshawk", "Northern Goshawk"),
        ("Astur atricapillus", "Northern Goshawk"),
        ("norgos", "Northern Goshawk"),
        # Parts of what BirdNET knows as one species.
        ("Eurasian Goshawk", "Northern Goshawk"),
        ("Larus smithsonianus", "Herring Gull"),
        ("Western Barn Owl", "Barn Owl"),
        ("categr1", "Cattle Egret"),
        ("Engine", "engine noise"),
        ("engine noise", "engine noise"),
    ],
)
def test_finds(lookup: SpeciesLookup, name: str, common_name: str) -> None:
    found = lookup.find(name)
    assert found is not None
    assert found.common_name == common_name


@pytest.mark.parametrize("name", ["Grate Tit", "Parus", "Tit", "None", "_", "", "gretit", "unicorn_phoenix"])
def test_does_not_find(lookup: SpeciesLookup, name: str) -> None:
    assert lookup.find(name) is None


def test_every_class_is_found_by_each_of_its_names(lookup: SpeciesLookup, table: SpeciesTable) -> None:
    for species in table:
        names = [species.common_name, species.label, species.label.upper(), lookup.code(species)]
        names += [species.scientific_name]
        assert {lookup.find(name) for name in names if name} == {species}
    assert sum(lookup.code(species) != "" for species in table) == 6421


def test_nearest(lookup: SpeciesLookup) -> None:
    assert lookup.nearest("Grate Tit").common_name == "Great Tit"
    assert lookup.nearest("Parus mayor_Kohlmeise").common_name == "Great Tit"


def test_damaged_table(table: SpeciesTable, tmp_path: Path) -> None:
    path = tmp_path / "ebird.csv"
    path.write_text("class_index,name\n0,rufwar1\n")
    with pytest.raises(CheckpointError, match=r"ebird\.csv: cannot be read as a table of eBird names"):
        SpeciesLookup(table, path).find("unicorn")
