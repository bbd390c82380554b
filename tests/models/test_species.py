import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from NatureLM.errors import CheckpointError
from NatureLM.models.species import COLUMNS, DEFAULT_TABLE, Species, SpeciesTable


@pytest.fixture(scope="module")
def table() -> SpeciesTable:
    return SpeciesTable.load()


def named(table: SpeciesTable, text: str) -> list[tuple[str, str]]:
    """(text of the mention, common name of its class) for every mention."""
    return [(text[m.start : m.end], table[m.class_index].common_name) for m in table.mentions(text)]


def test_packaged_table_holds_every_class_in_order(table: SpeciesTable) -> None:
    assert len(table) == 6522
    assert [species.class_index for species in table] == list(range(6522))
    kinds = Counter(species.kind for species in table)
    assert kinds == {"bird": 6421, "insect": 42, "frog": 41, "sound": 10, "mammal": 8}
    assert table[0] == Species(
        class_index=0,
        label="Abroscopus albogularis_Rufous-faced Warbler",
        scientific_name="Abroscopus albogularis",
        common_name="Rufous-faced Warbler",
        genus="Abroscopus",
        family="Scotocercidae",
        order="Passeriformes",
        taxon_class="Aves",
        kind="bird",
    )


@pytest.mark.parametrize(
    ("name", "common_name"),
    [
        ("Parus major", "Great Tit"),
        ("GREAT TIT", "Great Tit"),
        ("european turtle dove", "European Turtle-Dove"),
        ("Cope\u2019s Grey Treefrog", "Cope's Gray Treefrog"),
        ("Ruppell's Weaver", "Rüppell's Weaver"),
        ("mrs goulds sunbird", "Mrs. Gould's Sunbird"),
        ("Strix varia_Barred Owl", "Barred Owl"),
        ("Siren", "siren"),
        ("Engine", "engine noise"),
        ("gunshot", "gunshots"),
        ("Gryllus assimilis", "Jamaican Field Cricket"),
    ],
)
def test_find(table: SpeciesTable, name: str, common_name: str) -> None:
    found = table.find(name)
    assert found is not None
    assert found.common_name == common_name


@pytest.mark.parametrize("name", ["", "Great", "Tit", "Great Tits", "Homo sapiens", "None", "..."])
def test_find_knows_no_such_name(table: SpeciesTable, name: str) -> None:
    assert table.find(name) is None


def test_every_name_finds_its_class_and_is_mentioned_whole(table: SpeciesTable) -> None:
    for species in table:
        assert table.find(species.label) == species
        for form, name in (("common", species.common_name), ("scientific", species.scientific_name)):
            if not name:
                continue
            assert table.find(name) == species
            for written in (
                name,
                name.lower(),
                name.upper(),
                name.replace("'", "\u2019"),
                name.replace("-", " "),
            ):
                (mention,) = table.mentions(f"Is there a {written} in the audio?")
                found = (mention.start, mention.end, mention.class_index, mention.form)
                assert found == (11, 11 + len(written), species.class_index, form)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("is there a great tit?", [("great tit", "Great Tit")]),
        (
            "Great Tits, a Great Tit's song, the great tits\u2019 calls",
            [("Great Tit", "Great Tit")] * 2 + [("great tit", "Great Tit")],
        ),
        (
            "Turtle Dove or Turtle-Dove",
            [("Turtle Dove", "European Turtle-Dove"), ("Turtle-Dove", "European Turtle-Dove")],
        ),
        ("European Turtle Doves", [("European Turtle Dove", "European Turtle-Dove")]),
        ("Oriental Turtle Dove", [("Oriental Turtle Dove", "Oriental Turtle-Dove")]),
        ("Canada Geese, gray wolves", [("Canada Geese", "Canada Goose"), ("gray wolves", "Gray Wolf")]),
        ("White-bellied Canaries", [("White-bellied Canaries", "White-bellied Canary")]),
        ("House finches", [("House finch", "House Finch")]),
        ("Bar-throated Apalis's song", [("Bar-throated Apalis", "Bar-throated Apalis")]),
        ("Parus major's song, Parus majors", [("Parus major", "Great Tit")]),
        ("Cope\u2019s grey tree frog", [("Cope\u2019s grey tree frog", "Cope's Gray Treefrog")]),
        ("eastern\nscreech-owl", [("eastern\nscreech-owl", "Eastern Screech-Owl")]),
        ("Mrs. Gould's Sunbird", [("Mrs. Gould's Sunbird", "Mrs. Gould's Sunbird")]),
        (
            "Canis lupus familiaris, Canis lupus",
            [("Canis lupus familiaris", "Dog"), ("Canis lupus", "Gray Wolf")],
        ),
        (
            "any background noise or gunshot?",
            [("background noise", "background noise"), ("gunshot", "gunshots")],
        ),
        ("a dog, a ruff or MERLINS", [("dog", "Dog"), ("ruff", "Ruff"), ("MERLIN", "Merlin")]),
    ],
)
def test_mentions(table: SpeciesTable, text: str, expected: list[tuple[str, str]]) -> None:
    assert named(table, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is the common name for the focal species in the audio?",
        "Which of these, if any, are present in the audio recording? None",
        "How many birds are in the audio? Choose between 1, 2, 3 or 4.",
        "An engine, a gun, noise and human vocal sounds: environmental?",
        "a dog-like bark, prairie dogs, a hotdog",
        "Merlin Bird ID heard a lesser siren",
        "It was great. Tit for tat, greater titles, roughly ruffled",
    ],
)
def test_ordinary_words_are_no_mentions(table: SpeciesTable, text: str) -> None:
    assert table.mentions(text) == []


def test_nearest_starts_with_the_name_meant(table: SpeciesTable) -> None:
    nearest = [species.common_name for species in table.nearest("Eurasion Blakbird", count=4)]
    assert nearest[0] == "Eurasian Blackbird"
    assert len(set(nearest)) == 4
    assert table.nearest("Turdus merulla", count=1)[0].common_name == "Eurasian Blackbird"
    assert table.nearest("Green Tree Frog", count=1)[0].scientific_name == "Dryophytes cinereus"


def test_reading_the_table_imports_neither_torch_nor_rapidfuzz() -> None:
    code = (
        "import sys\n"
        "from NatureLM.models.species import SpeciesTable\n"
        "SpeciesTable.load().mentions('great tit')\n"
        "print(sorted({'torch', 'transformers', 'rapidfuzz', 'numpy'} & sys.modules.keys()))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"


HEADER = ",".join(COLUMNS)
ROW = "0,Parus major_Great Tit,Parus major,Great Tit,Parus,Paridae,Passeriformes,Aves,bird"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected the columns"),
        ("index,name\n", "expected the columns class_index,label"),
        (f"{HEADER}\n{ROW},more\n", "line 2: expected 9 fields"),
        (f"{HEADER}\n{ROW}\n{ROW}\n", "line 3: expected 9 fields, of which the first is 1"),
        (f"{HEADER}\n{ROW.replace('Great Tit,', ',')}\n", "line 2: .* the fourth a common name"),
        (f"{HEADER}\n{ROW}\n{ROW.replace('0', '1')}\n", "'great tit' is the name of 2 classes"),
        (f'{HEADER}\n"0,Parus', "cannot be read as a UTF-8 CSV"),
    ],
)
def test_damaged_tables_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "species.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=reason):
        SpeciesTable.load(path)


def test_missing_and_binary_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such species table"):
        SpeciesTable.load(tmp_path / "species.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointError, match="cannot be read as a UTF-8 CSV"):
        SpeciesTable.load(tmp_path / "binary.csv")


def test_a_table_of_ones_own_serves_as_well(tmp_path: Path) -> None:
    path = tmp_path / "species.csv"
    path.write_text(f"{HEADER}\n{ROW}\n", encoding="utf-8")
    own = SpeciesTable.load(path)
    assert len(own) == 1
    assert named(own, "great tits and blue tits") == [("great tit", "Great Tit")]
    assert own.find("turtle dove") is None


def test_packaged_file_is_plain_text_with_one_line_a_class() -> None:
    data = DEFAULT_TABLE.read_bytes()
    assert data.count(b"\n") == 6523
    assert b"\r" not in data


def test_groups_are_kinds_and_last_words_of_names(table: SpeciesTable) -> None:
    boreal = table.find("Boreal Owl")
    assert boreal is not None and boreal.group == "owl"
    assert boreal.class_index in table.groups["owl"]
    assert boreal.class_index in table.groups["bird"]
    assert len(table.groups["frog"]) == 41
    assert "noise" not in table.groups
