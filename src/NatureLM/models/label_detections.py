"""Labels that an answer is made of, as the species that it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from NatureLM.models.answering import NOTHING_HEARD, Detection
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_lookup import SpeciesLookup


def label_detections(labels: Sequence[str]) -> list[Detection]:
    """Return the species that labels name, each once, in their order, without scores.

    A label that means a class of the bundled table has its names; any other stands as it is for the common
    name, and no scientific name. ``None`` names nothing.

    Examples
    --------
    >>> [(found.common_name, found.scientific_name) for found in label_detections(["parus major", "Yeti"])]
    [('Great Tit', 'Parus major'), ('Yeti', '')]
    """
    named = dict.fromkeys(_names(label) for label in labels if label.casefold() != NOTHING_HEARD.casefold())
    return [Detection(*names, score=None) for names in named]


def with_scores(detections: Sequence[Detection], scores: Mapping[str, float]) -> list[Detection]:
    """Return detections with the scores of the labels that mean them, the highest of several.

    Examples
    --------
    >>> found = with_scores(label_detections(["parus major"]), {"parus major": 0.2, "Great Tit": 0.3})
    >>> [one.score for one in found]
    [0.3]
    """
    best: dict[tuple[str, str], float] = {}
    for label, score in scores.items():
        names = _names(label)
        best[names] = max(score, best.get(names, score))
    return [replace(found, score=best[found.common_name, found.scientific_name]) for found in detections]


@lru_cache(maxsize=16_384)
def _names(label: str) -> tuple[str, str]:
    """Return the common and the scientific name of what a label means."""
    species = _lookup().find(label)
    return (label, "") if species is None else (species.common_name, species.scientific_name)


@lru_cache(maxsize=1)
def _lookup() -> SpeciesLookup:
    return SpeciesLookup(SpeciesTable.load())
