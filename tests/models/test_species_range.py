"""Which birds are expected where, and BirdNET's weeks."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from NatureLM.errors import ModelUnavailableError
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_range import SpeciesRange, week_of


@pytest.fixture(scope="module")
def species_range(table: SpeciesTable) -> SpeciesRange:
    try:
        return SpeciesRange(table)
    except ModelUnavailableError as error:
        pytest.skip(str(error))


def test_weeks_are_four_to_a_month() -> None:
    assert [week_of(date(2024, 2, day)) for day in (1, 7, 8, 14, 15, 21, 22, 29)] == [5, 5, 6, 6, 7, 7, 8, 8]
    year = [week_of(date(2023, 1, 1) + timedelta(days=day)) for day in range(365)]
    assert year == sorted(year) and set(year) == set(range(1, 49))


def test_birds_of_ithaca_in_may(species_range: SpeciesRange) -> None:
    expected = species_range.expected(42.5, -76.45, 20, 0.03)
    assert len(expected) == 132
    assert [one.species.common_name for one in expected[:3]] == [
        "American Robin",
        "Mourning Dove",
        "American Goldfinch",
    ]
    assert expected[0].probability == pytest.approx(0.984, abs=1e-3)
    probabilities = [one.probability for one in expected]
    assert probabilities == sorted(probabilities, reverse=True) and min(probabilities) >= 0.03
    fewer = species_range.expected(42.5, -76.45, 20, 0.5)
    assert fewer == expected[: len(fewer)] and len(fewer) < 60
    names = {one.species.common_name for one in expected}
    assert "Scarlet Tanager" in names and "Great Tit" not in names


def test_what_has_no_range_is_named(species_range: SpeciesRange) -> None:
    kinds = [species.kind for species in species_range.without_range]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "frog": 41,
        "insect": 42,
        "mammal": 8,
        "sound": 10,
    }
    every = species_range.expected(42.5, -76.45, 20, 0.0)
    assert len(every) == 6421, "birds only, whatever the threshold"
