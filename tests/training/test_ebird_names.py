"""Newer eBird names lead to the species of BirdNET that they were part of."""

from __future__ import annotations

from NatureLM.training.ebird_names import parts_of_species


def row(scientific: str, code: str, family: str = "Laridae") -> dict[str, str]:
    return {"scientific_name": scientific, "ebird_ebird_code": code, "ebird_family": family}


def test_parts_are_told_by_what_they_share_with_the_whole() -> None:
    before = [
        row("Larus argentatus", "hergul"),
        row("Charadrius mongolus", "lesplo1"),
        row("Bubo virginianus", "grhowl"),
        row("Trogon mesurus", "bkttro2", "Trogonidae"),
        row("Trogon rufus", "bkttro1", "Trogonidae"),
        row("Corvus enca", "slbcro1"),
        row("Corvus florensis", "slbcro2"),
    ]
    after = [
        row("Larus argentatus", "euhgul1"),  # the scientific name
        row("Anarhynchus atrifrons", "lessap1"),  # known
        row("Bubo magellanicus", "grhowl2"),  # the letters of one species alone
        row("Bubo other", "grhowl3", "Strigidae"),  # of another family
        row("Trogon rufus", "bkttro6", "Trogonidae"),
        row("Trogon tenellus", "bkttro7", "Trogonidae"),  # of such a part rather than of the species' letters
        row("Corvus pusillus", "slbcro7"),  # two species have these letters
        row("Larus argentatus", "hergul"),  # no new code
    ]
    assert parts_of_species({2021: before, 2022: [], 2023: after}) == {
        "euhgul1": "hergul",
        "lessap1": "lesplo1",
        "grhowl2": "grhowl",
        "bkttro6": "bkttro1",
        "bkttro7": "bkttro1",
    }


def test_a_part_that_was_renamed_again_keeps_its_whole() -> None:
    before = [row("Accipiter gentilis", "norgos")]
    checklists = {2021: before, 2023: [row("Accipiter gentilis", "norgos1")]}
    assert parts_of_species({**checklists, 2024: [row("Astur gentilis", "norgos1")]}) == {"norgos1": "norgos"}
