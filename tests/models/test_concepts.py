"""What texts speak of: species, groups, kinds, taxa and sounds."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from NatureLM.errors import CheckpointError
from NatureLM.models.concepts import EVERYDAY_NOUNS, GROUPS_FILE, Concept, ConceptFinder, ConceptType
from NatureLM.models.species import SpeciesTable

COMMON, SCIENTIFIC, GROUP, KIND, TAXON, SOUND = ConceptType


def spoken_of(finder: ConceptFinder, text: str, genera: bool = False) -> list[tuple[str, ConceptType]]:
    """(words, type) for everything that a text speaks of."""
    return [(text[item.start : item.end], item.type) for item in finder.find(text, genera)]


def members(finder: ConceptFinder, text: str, genera: bool = False) -> set[str]:
    """Common names of the classes meant by a text that speaks of one thing."""
    (concept,) = finder.find(text, genera)
    return {finder.table[index].common_name for index in concept.classes}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("is there a great tit?", [("great tit", COMMON)]),
        ("Great Tits or a Parus major", [("Great Tit", COMMON), ("Parus major", SCIENTIFIC)]),
        ("a turtle-dove, dogs, BULLFROGS", [("turtle-dove", COMMON), ("dog", COMMON), ("BULLFROG", COMMON)]),
        ("is canis lupus here?", [("canis lupus", SCIENTIFIC)]),
    ],
)
def test_species_by_their_names(
    finder: ConceptFinder, text: str, expected: list[tuple[str, ConceptType]]
) -> None:
    assert spoken_of(finder, text) == expected


def test_both_names_of_a_species_mean_its_class(finder: ConceptFinder) -> None:
    great_tit = finder.table.find("Great Tit")
    assert great_tit is not None
    assert finder.find("great tit (Parus major)") == [
        Concept(0, 9, COMMON, (great_tit.class_index,)),
        Concept(11, 22, SCIENTIFIC, (great_tit.class_index,)),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("an owl, any Owls? OWLS", ["owl", "Owls", "OWLS"]),
        ("thrushes, finches and ibises", ["thrushes", "finches", "ibises"]),
        ("geese, wolves, titmice, canaries", ["geese", "wolves", "titmice", "canaries"]),
        ("warblers' songs, a warbler's song", ["warblers", "warbler"]),
        ("a bird of prey or birds of prey", ["bird of prey", "birds of prey"]),
        ("New World quails, an old world sparrow", ["New World quail", "old world sparrow"]),
        ("tree crickets, meadow katydid", ["tree cricket", "meadow katydid"]),
        ("a bee-eater and bee-eaters", ["bee-eater", "bee-eaters"]),
        ("raptors/waders", ["raptors", "waders"]),
    ],
)
def test_groups_in_singular_and_plural(finder: ConceptFinder, text: str, words: list[str]) -> None:
    assert spoken_of(finder, text) == [(word, GROUP) for word in words]


def test_groups_mean_their_members(finder: ConceptFinder) -> None:
    assert members(finder, "swans") >= {"Mute Swan", "Black Swan", "Coscoroba Swan"}
    assert members(finder, "canids") == {"Dog", "Coyote", "Gray Wolf"}
    assert members(finder, "owl") == members(finder, "owls") >= {"Boreal Owl", "Northern Pygmy-Owl"}
    prey = members(finder, "birds of prey")
    assert prey >= {"Peregrine Falcon", "Boreal Owl", "Golden Eagle", "Turkey Vulture"}
    assert "Great Tit" not in prey
    # By the file alone, as no common name ends in the noun; and by the names' last word alone.
    assert members(finder, "songbirds") >= {"Great Tit", "European Robin"}
    assert members(finder, "robins") >= {"European Robin", "American Robin"}


def test_plurals_of_many_words_mean_what_the_singular_does(finder: ConceptFinder) -> None:
    for noun in ("true finch", "new world warbler", "laughingthrush", "cricket frog"):
        plural = noun + ("es" if noun.endswith("h") else "s")
        assert members(finder, f"any {plural}?") == members(finder, f"a {noun}"), plural


def test_nouns_for_two_kinds_mean_one(finder: ConceptFinder) -> None:
    crickets = finder.groups["cricket"]
    assert {finder.table[index].kind for index in crickets} == {"insect"}
    # A frog whose name ends in "Cricket Frog" is a frog; its group has a phrase of its own.
    assert members(finder, "cricket frogs") >= {"Northern Cricket Frog"}


@pytest.mark.parametrize(
    ("text", "count"), [("birds", 6421), ("an insect", 42), ("Frogs", 41), ("the mammal's call", 8)]
)
def test_kinds_mean_all_their_species(finder: ConceptFinder, text: str, count: int) -> None:
    (concept,) = finder.find(text)
    assert concept.type is KIND
    assert len(concept.classes) == count


def test_families_and_orders_stand_by_themselves(finder: ConceptFinder) -> None:
    assert spoken_of(finder, "a member of Paridae or of passeriformes?") == [
        ("Paridae", TAXON),
        ("passeriformes", TAXON),
    ]
    assert members(finder, "any turdidae?") == {
        species.common_name for species in finder.table if species.family == "Turdidae"
    }


def test_genera_stand_after_the_word_or_in_answers(finder: ConceptFinder) -> None:
    of_parus = {species.common_name for species in finder.table if species.genus == "Parus"}
    assert "Great Tit" in of_parus
    assert members(finder, "is it of the genus parus?") == of_parus
    assert members(finder, "genus: Parus") == of_parus
    assert finder.find("is it a parus?") == []
    assert members(finder, "Parus", genera=True) == of_parus
    assert spoken_of(finder, "Parus, Turdus", genera=True) == [("Parus", TAXON), ("Turdus", TAXON)]
    # What was found without genera is not kept for a search with them, nor the other way round.
    assert finder.find("Parus") == []


@pytest.mark.parametrize(
    ("text", "words", "name"),
    [
        ("is an engine running?", "engine", "engine noise"),
        ("any engine noise?", "engine noise", "engine noise"),
        ("Sirens", "Siren", "siren"),
        ("a gunshot", "gunshot", "gunshots"),
        ("gun shots", "gun shot", "gunshots"),
        ("are people talking?", "people talking", "human voice"),
        ("human whistling", "human whistling", "human whistling"),
        ("power tools", "power tools", "power tools"),
        ("fireworks", "fireworks", "fireworks"),
        ("nonvocal human sounds", "nonvocal human sound", "non-vocal human sounds"),
    ],
)
def test_sounds_by_their_phrases(finder: ConceptFinder, text: str, words: str, name: str) -> None:
    assert [(found.rstrip("s"), kind) for found, kind in spoken_of(finder, text)] == [
        (words.rstrip("s"), SOUND)
    ]
    assert members(finder, text) == {name}


def test_every_sound_of_the_table_is_found_by_its_name(finder: ConceptFinder) -> None:
    sounds = [species for species in finder.table if not species.is_animal]
    assert len(sounds) == 10
    for species in sounds:
        (concept,) = finder.find(f"is there {species.common_name} in the audio?")
        assert (concept.type, concept.classes) == (SOUND, (species.class_index,))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is the common name for the focal species in the audio?",
        "What are the scientific names for the species in the audio, if any?",
        "Caption the audio",
        "What is the genus, the family and the order?",
        "What is the life stage of the focal species in the audio?",
        "Is the focal species the same in both recordings?",
        "is there a dog-like bark, an owl-like call or a hotdog?",
        "knots, wings and tails: a hermit in the winter of paradise",
        "bats, whales and butterflies",
        "a lesser siren or a dwarf siren",
        "\u6797\u3067\u9cf4\u304f 1234 ?!",
    ],
)
def test_texts_that_speak_of_nothing(finder: ConceptFinder, text: str) -> None:
    assert finder.find(text) == []


def test_everyday_nouns_are_no_groups(finder: ConceptFinder) -> None:
    assert EVERYDAY_NOUNS & finder.table.groups.keys() == EVERYDAY_NOUNS
    assert not EVERYDAY_NOUNS & finder.groups.keys()
    for noun in EVERYDAY_NOUNS - {"redhead", "rifleman"}:  # those are names as well
        assert finder.find(f"the {noun} and {noun}s") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A species wins over the group in its name, a phrase over its words.
        ("a Boreal Owl among owls", [("Boreal Owl", COMMON), ("owls", GROUP)]),
        ("birds of prey and birds", [("birds of prey", GROUP), ("birds", KIND)]),
        ("tree crickets and crickets", [("tree cricket", GROUP), ("crickets", GROUP)]),
        ("human voice, speech", [("human voice", SOUND), ("speech", SOUND)]),
        # Animals have voices too.
        ("whose voice is this?", []),
        ("genus Parus major", [("Parus major", SCIENTIFIC)]),
        (
            "frogs, an engine, Paridae, owls, Parus major or a great tit",
            [
                ("frogs", KIND),
                ("engine", SOUND),
                ("Paridae", TAXON),
                ("owls", GROUP),
                ("Parus major", SCIENTIFIC),
                ("great tit", COMMON),
            ],
        ),
    ],
)
def test_the_text_is_read_in_order_without_overlaps(
    finder: ConceptFinder, text: str, expected: list[tuple[str, ConceptType]]
) -> None:
    assert spoken_of(finder, text) == expected


def test_every_species_is_found_whole_under_both_names(finder: ConceptFinder) -> None:
    for species in finder.table.species[::41]:
        if species.is_animal:
            for name, kind in ((species.common_name, COMMON), (species.scientific_name, SCIENTIFIC)):
                expected = [Concept(11, 11 + len(name), kind, (species.class_index,))]
                assert finder.find(f"Is there a {name} in the audio?") == expected


def test_every_group_is_found_by_its_noun(finder: ConceptFinder) -> None:
    for noun, classes in finder.groups.items():
        concepts = finder.find(f"is there a {noun} here?")
        spans = [(item.start, item.end) for item in concepts]
        assert spans == [(11, 11 + len(noun))], noun
        # A one-word name ("Dickcissel") means its species.
        assert concepts[0].type in (GROUP, COMMON, SCIENTIFIC)
        assert set(concepts[0].classes) <= set(classes), noun


def rows() -> list[dict[str, str]]:
    return list(csv.DictReader(GROUPS_FILE.read_text(encoding="utf-8").splitlines()))


def test_the_packaged_groups_name_taxa_of_the_table(finder: ConceptFinder) -> None:
    assert len(rows()) == len({row["noun"] for row in rows()}) == 140
    for row in rows():
        assert row["noun"] == row["noun"].lower()
        assert row["kind"] in finder.kinds, row["noun"]
        for taxon in row["taxa"].split():
            kinds = {finder.table[index].kind for index in finder.taxa.get(taxon.lower(), ())}
            assert row["kind"] in kinds, (row["noun"], taxon)
        assert finder.groups[row["noun"]], row["noun"]
        assert {finder.table[index].kind for index in finder.groups[row["noun"]]} == {row["kind"]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("noun,taxa\nowl,Strigiformes\n", "cannot be read as a table of groups .*'kind'"),
        ("name,kind,taxa\nowl,bird,Strigiformes\n", "cannot be read as a table of groups .*'noun'"),
        ("\n\nowl,bird,Strigiformes\nraptor,bird,Falconiformes\n", "cannot be read as a table of groups"),
    ],
)
def test_damaged_groups_are_refused(tmp_path: Path, table: SpeciesTable, content: str, reason: str) -> None:
    path = tmp_path / "groups.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=reason):
        ConceptFinder(table, path).find("an owl")


def test_a_row_without_taxa_is_refused(tmp_path: Path, table: SpeciesTable) -> None:
    path = tmp_path / "groups.csv"
    path.write_text("noun,kind,taxa\nowl,bird\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot be read as a table of groups"):
        ConceptFinder(table, path).find("an owl")


def test_missing_and_binary_groups_are_refused(tmp_path: Path, table: SpeciesTable) -> None:
    with pytest.raises(CheckpointError, match=r"groups\.csv: cannot be read as a table of groups"):
        ConceptFinder(table, tmp_path / "groups.csv").find("an owl")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointError, match=r"binary\.csv: cannot be read as a table of groups"):
        ConceptFinder(table, tmp_path / "binary.csv").find("an owl")


def test_groups_of_ones_own_join_the_last_words_of_names(tmp_path: Path, table: SpeciesTable) -> None:
    path = tmp_path / "groups.csv"
    path.write_text("noun,kind,taxa\nbackyard bird,bird,Paridae\nowl,bird,Turdus\n", encoding="utf-8")
    own = ConceptFinder(table, path)
    assert spoken_of(own, "backyard birds, waders") == [("backyard bird", GROUP)]
    assert members(own, "owl") >= {"Boreal Owl", "American Robin"}


def test_more_texts_than_are_kept_are_still_read(table: SpeciesTable) -> None:
    finder = ConceptFinder(table)
    for number in range(4200):
        assert finder.find(f"{number} owls")[0].type is GROUP
    assert spoken_of(finder, "0 owls") == [("owls", GROUP)]
