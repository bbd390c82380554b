"""What questions speak of: kinds, species, groups, taxa, sounds, options, and what no class stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from NatureLM.models.adapters.species_tokens import KINDS as CLASS_KINDS
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.concepts import SOUND_PHRASES, ConceptFinder
from NatureLM.models.species import SpeciesTable
from NatureLM.training.phrasing import made_up_word

KINDS = tuple(kind for kind in CLASS_KINDS if kind != "sound")

SUBJECT = re.compile(r"\{(?:a_)?(?:kind|name)")
"""Placeholders for a kind of animals or for a species."""

SMALLEST_GROUP = 4
"""Fewest species of a group for it to be asked for as often as others."""


@dataclass(frozen=True)
class Heard:
    """What a window's logits say at the settings of an example."""

    passing: list[int]
    """Animals at or above the floor, strongest first."""
    reaches: frozenset[int]
    """All classes at or above the floor."""


class SubjectMaker:
    """Draws what questions about a window speak of, mostly what is heard in it or its relatives.

    Parameters
    ----------
    finder : ConceptFinder
    table : SpeciesTable
    things : dict of str to list of str
        Names of animals, sounds and taxa that are no classes of the encoder, by what they are.
    """

    def __init__(self, finder: ConceptFinder, table: SpeciesTable, things: dict[str, list[str]]) -> None:
        self.finder = finder
        self.table = table
        self.things = things

    @cached_property
    def animals(self) -> npt.NDArray[np.int64]:
        """The animal classes."""
        return np.array([species.class_index for species in self.table if species.is_animal])

    @cached_property
    def relatives(self) -> dict[str, list[int]]:
        """Classes by their genus, family and order."""
        groups: dict[str, list[int]] = {}
        for species in self.table:
            for rank in {species.genus, species.family, species.order} - {""}:
                groups.setdefault(rank, []).append(species.class_index)
        return groups

    @cached_property
    def groups_of(self) -> dict[int, list[str]]:
        """The nouns for the groups that each class belongs to."""
        nouns: dict[int, list[str]] = {}
        for noun, classes in self.finder.groups.items():
            if len(classes) >= SMALLEST_GROUP:
                for index in classes:
                    nouns.setdefault(index, []).append(noun)
        return nouns

    def fill_subject(
        self,
        wording: str,
        heard: Heard,
        settings: AnswerSettings,
        rng: np.random.Generator,
        among: Sequence[int] = (),
    ) -> tuple[str, Sequence[int]]:
        """Fill a wording's kind or species; return it with the classes meant.

        Half of the species are drawn from ``among``, where it holds any.
        """
        if "{kind" in wording or "{a_kind" in wording:
            kind = self.draw_kind(heard, settings, rng)
            return fill_kind(wording, kind), self.finder.kinds[kind]
        index = self.draw_species(heard, rng)
        if among and rng.random() < 0.5:
            index = among[int(rng.integers(len(among)))]
        return self.fill_species(wording, index, rng), [index]

    def fill_unknown(self, wording: str, subject: str, rng: np.random.Generator) -> str:
        """Fill a wording with something that is no class of the encoder."""
        chance = rng.random()
        if subject == "animal":
            if chance < 0.25:
                name = made_up_word(rng)
            elif chance < 0.45:
                name = self._binomial(rng)
            else:
                name = self._thing("unheard_animals", rng)
            return fill_name(wording, name, article=" " not in name or chance >= 0.45)
        if subject == "sound":
            return wording.replace("{a_sound}", self._thing("unheard_sounds", rng))
        rank = str(rng.choice(["family", "genus", "order"]))
        name = self._thing("unheard_taxa", rng).split()[0] if chance < 0.6 else made_up_word(rng) + "us"
        return wording.replace("{taxon}", f"{rank} {name}")

    def _thing(self, what: str, rng: np.random.Generator) -> str:
        things = self.things[what]
        return things[int(rng.integers(len(things)))]

    def _binomial(self, rng: np.random.Generator) -> str:
        """Draw a Latin name that is no class's."""
        if rng.random() < 0.3:
            return self._thing("unheard_taxa", rng)
        while True:
            genus = self.table[self.animal(rng)].genus
            epithet = self.table[self.animal(rng)].scientific_name.split()[-1]
            name = f"{genus} {epithet}"
            if not self.finder.find(name.lower()) and self.table.find(name) is None:
                return name

    def draw_kind(self, heard: Heard, settings: AnswerSettings, rng: np.random.Generator) -> str:
        """Draw a kind of animals, often one that is heard."""
        present = {self.table[index].kind for index in heard.passing[: settings.max_species]}
        if present and rng.random() < 0.55:
            return str(rng.choice(sorted(present)))
        return str(rng.choice(KINDS))

    def draw_group(self, heard: Heard, settings: AnswerSettings, rng: np.random.Generator) -> str:
        """Draw the noun for a group, often one that is heard."""
        near = [
            group
            for index in heard.passing[: settings.max_species]
            for group in self.groups_of.get(index, ())
        ]
        if near and rng.random() < 0.5:
            return str(rng.choice(near))
        while True:
            groups = self.groups_of.get(self.animal(rng), ())
            if groups:
                return str(rng.choice(groups))

    def draw_taxon(self, heard: Heard, rng: np.random.Generator) -> tuple[str, Sequence[int]]:
        """Draw a taxon with its rank in front, often one that is heard, and the classes in it."""
        index = self.animal(rng)
        if heard.passing and rng.random() < 0.5:
            index = heard.passing[int(rng.integers(min(len(heard.passing), 6)))]
        species = self.table[index]
        rank = str(rng.choice(["family", "family", "genus", "order"]))
        name = str(getattr(species, rank))
        return f"{rank} {name}", self.finder.taxa[name.lower()]

    def draw_sound(self, heard: Heard, rng: np.random.Generator) -> tuple[str, int]:
        """Draw a phrase for a sound that is a class, and the class."""
        sounds = [species for species in self.table if not species.is_animal]
        near = [species for species in sounds if species.class_index in heard.reaches]
        species = sounds[int(rng.integers(len(sounds)))]
        if near and rng.random() < 0.6:
            species = near[int(rng.integers(len(near)))]
        phrases = (species.common_name, *SOUND_PHRASES.get(species.common_name, ()))
        phrase = str(rng.choice(phrases))
        uncountable = phrase.endswith(("s", "noise", "speech", "ing", "fire"))
        return phrase if uncountable else with_article(phrase), species.class_index

    def draw_species(self, heard: Heard, rng: np.random.Generator) -> int:
        """Draw a species, in half of the cases one that is heard, else mostly a relative of one."""
        if heard.passing and rng.random() < 0.55:
            return heard.passing[int(rng.integers(min(len(heard.passing), 10)))]
        return self.draw_options(heard.passing, rng)[-1]

    def fill_species(self, wording: str, index: int, rng: np.random.Generator) -> str:
        """Fill a wording's ``{name}`` with a species, by its common or its scientific name."""
        species = self.table[index]
        if rng.random() < 0.7:
            return fill_name(wording, species.common_name)
        return fill_name(wording, species.scientific_name, article=rng.random() < 0.3)

    def draw_options(self, passing: Sequence[int], rng: np.random.Generator, two: bool = False) -> list[int]:
        """Draw options: some species that pass, and others, mostly their relatives."""
        here = list(passing[:8])
        rng.shuffle(here)
        here = here[: int(rng.integers(0, 2 if two else 4))]
        anchors = list(passing[:3]) or [self.animal(rng)]
        others: list[int] = []
        for _ in range(2 if two else int(rng.integers(1, 7) if rng.random() < 0.85 else rng.integers(7, 13))):
            anchor = self.table[anchors[int(rng.integers(len(anchors)))]]
            rank = rng.choice([anchor.genus, anchor.family, anchor.order, ""], p=[0.4, 0.25, 0.15, 0.2])
            group = self.relatives.get(str(rank)) or [self.animal(rng)]
            others.append(group[int(rng.integers(len(group)))])
        options = list(dict.fromkeys([*here, *others]))
        while len(options) < 2:
            options = list(dict.fromkeys([*options, self.animal(rng)]))
        if two:
            options = options[:2]
        return [options[place] for place in rng.permutation(len(options))]

    def animal(self, rng: np.random.Generator) -> int:
        """Draw an animal class, all alike."""
        return int(self.animals[int(rng.integers(len(self.animals)))])


def with_article(noun: str) -> str:
    """Return a noun with its indefinite article, by its first letter."""
    return ("an " if noun[:1].lower() in "aeiou" else "a ") + noun


def fill_name(wording: str, name: str, article: bool = True) -> str:
    """Fill a wording's ``{name}`` and ``{a_name}``."""
    return wording.replace("{a_name}", with_article(name) if article else name).replace("{name}", name)


def fill_kind(wording: str, kind: str) -> str:
    """Fill a wording's ``{kind}``, ``{a_kind}`` and ``{kinds}``."""
    filled = wording.replace("{a_kind}", with_article(kind)).replace("{kinds}", kind + "s")
    return filled.replace("{kind}", kind)
