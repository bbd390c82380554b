"""What a text about animals speaks of: species, groups, kinds, taxa and sounds of the encoder's classes."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from pathlib import Path

from NatureLM.errors import CheckpointError
from NatureLM.models.species import Mention, SpeciesTable

GROUPS_FILE = Path(__file__).parent / "bundled" / "groups.csv"


class ConceptType(IntEnum):
    """How a text speaks of classes."""

    COMMON = 1
    """A species by its common name."""
    SCIENTIFIC = 2
    """A species by its scientific name."""
    GROUP = 3
    """An everyday noun for several species: owl, warbler, raptor."""
    KIND = 4
    """Bird, frog, insect or mammal."""
    TAXON = 5
    """A family, an order, or a genus after the word genus."""
    SOUND = 6
    """A sound that is no animal's."""


@dataclass(frozen=True)
class Concept:
    """A stretch ``text[start:end]`` that speaks of one class or several.

    Attributes
    ----------
    start, end : int
    type : ConceptType
    classes : tuple of int
        The classes meant, by index.
    """

    start: int
    end: int
    type: ConceptType
    classes: tuple[int, ...]


EVERYDAY_NOUNS = frozenset({
    "argus", "attila", "bishop", "brilliant", "chat", "comet", "coronet", "creeper", "eater", "emerald",
    "eye", "fairy", "fiscal", "gatherer", "gem", "grenadier", "hermit", "hobby", "inca", "jacobin",
    "knee", "knot", "mango", "miner", "mourner", "paradise", "redhead", "rifleman", "rock", "ruby",
    "saddleback", "sapphire", "screamer", "solitaire", "tail", "tattler", "throat", "topaz", "trembler",
    "trumpeter", "whistler", "widow", "will", "wing", "winter"
})  # fmt: skip
"""Last words of common names that mean something else in most questions."""

SOUND_PHRASES = {
    "engine noise": ("engine", "motor", "engine sound", "motor noise"),
    "siren": ("police siren",),
    "human voice": ("human speech", "speech", "people talking", "people speaking"),
    "gunshots": ("gunshot", "gun", "gunfire", "gun shot"),
    "fireworks": ("firework",),
    "power tools": ("power tool",),
    "human whistling": ("human whistle", "person whistling", "somebody whistling", "someone whistling"),
    "non-vocal human sounds": ("non-vocal human sound", "nonvocal human sound"),
    "environmental noise": ("environmental sound",),
}
"""Words for the encoder's sounds beside their names in the table."""

_PLURALS = {"geese": "goose", "wolves": "wolf", "titmice": "titmouse", "canaries": "canary"}

# "Bird-free" speaks of birds.
_WORD = re.compile(r"[^\W\d_]+(?:-(?!(?:free|less)\b)[^\W\d_]+)*")


class ConceptFinder:
    """Finds what a text speaks of.

    Parameters
    ----------
    table : SpeciesTable
    groups_file : Path
        CSV with the columns noun, kind, taxa: everyday nouns for the members of taxa.

    Examples
    --------
    >>> finder = ConceptFinder(SpeciesTable.load())
    >>> text = "is there an owl or a great tit?"
    >>> [(text[c.start:c.end], c.type.name) for c in finder.find(text)]
    [('owl', 'GROUP'), ('great tit', 'COMMON')]
    """

    def __init__(self, table: SpeciesTable, groups_file: Path = GROUPS_FILE) -> None:
        self.table = table
        self.groups_file = groups_file
        self._kept: dict[tuple[str, bool], list[Concept]] = {}

    @cached_property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Classes by the noun for their group: those of the file, and last words of common names."""
        groups = {
            noun: tuple(classes)
            for noun, classes in self.table.groups.items()
            if noun not in EVERYDAY_NOUNS and noun not in self.table.kinds
        }
        try:
            rows = list(csv.DictReader(self.groups_file.read_text(encoding="utf-8").splitlines()))
            named = [(row["noun"], row["kind"], row["taxa"].split()) for row in rows]
        except (OSError, KeyError, AttributeError, UnicodeDecodeError, csv.Error) as error:
            raise CheckpointError(
                f"{self.groups_file}: cannot be read as a table of groups ({error})."
            ) from None
        for noun, kind, taxa in named:
            members = {index for taxon in taxa for index in self.taxa.get(taxon.lower(), ())}
            members |= set(groups.get(noun, ()))
            groups[noun] = tuple(sorted(i for i in members if self.table[i].kind == kind))
        return groups

    @cached_property
    def kinds(self) -> dict[str, tuple[int, ...]]:
        """Animal classes by kind."""
        kinds: dict[str, list[int]] = {}
        for species in self.table:
            if species.is_animal:
                kinds.setdefault(species.kind, []).append(species.class_index)
        return {kind: tuple(classes) for kind, classes in kinds.items()}

    @cached_property
    def taxa(self) -> dict[str, tuple[int, ...]]:
        """Classes by family, order and genus, in lower case."""
        taxa: dict[str, list[int]] = {}
        for species in self.table:
            for name in {species.family, species.order, species.genus} - {""}:
                taxa.setdefault(name.lower(), []).append(species.class_index)
        return {name: tuple(classes) for name, classes in taxa.items()}

    @cached_property
    def genera(self) -> frozenset[str]:
        """Names of genera in lower case; as bare words of a question they mean nothing by themselves."""
        return frozenset(species.genus.lower() for species in self.table if species.genus)

    @cached_property
    def sounds(self) -> dict[str, int]:
        """Classes of sounds by each phrase for them."""
        phrases: dict[str, int] = {}
        for species in self.table:
            if not species.is_animal:
                for phrase in (species.common_name, *SOUND_PHRASES.get(species.common_name, ())):
                    phrases[phrase] = species.class_index
        return phrases

    @cached_property
    def _phrases(self) -> dict[str, tuple[ConceptType, tuple[int, ...]]]:
        """What phrases mean: those for sounds, and groups of more words than one."""
        phrases: dict[str, tuple[ConceptType, tuple[int, ...]]] = {
            phrase: (ConceptType.SOUND, (index,))
            for phrase, index in self.sounds.items()
            # The table knows when the sounds' own names mean something else ("a dwarf siren").
            if phrase != self.table[index].common_name
        }
        for noun, classes in self.groups.items():
            first, space, rest = noun.partition(" ")
            if space:
                for form in (noun, f"{first}s {rest}", f"{noun}es", f"{noun.removesuffix('y')}ies"):
                    phrases[form] = (ConceptType.GROUP, classes)
        return phrases

    @cached_property
    def _phrase_pattern(self) -> re.Pattern[str]:
        phrases = sorted(map(re.escape, self._phrases), key=len, reverse=True)
        return re.compile(rf"\b({'|'.join(phrases) or '(?!)'})s?\b", re.IGNORECASE)

    def find(self, text: str, genera: bool = False) -> list[Concept]:
        """Return what a text speaks of, in the order of the text, without overlaps.

        Parameters
        ----------
        text : str
        genera : bool
            Whether bare names of genera count, as they do in an answer.
        """
        key = (text, genera)
        if key not in self._kept:
            if len(self._kept) >= 4096:
                self._kept.clear()
            self._kept[key] = self._find(text, genera)
        return self._kept[key]

    def _find(self, text: str, genera: bool) -> list[Concept]:
        found = [
            Concept(mention.start, mention.end, self._type_of(mention), (mention.class_index,))
            for mention in self.table.mentions(text)
        ]
        found = _without_overlaps(found, self._phrases_of(text))
        return sorted(_without_overlaps(found, self._words_of(text, genera)), key=lambda item: item.start)

    def _type_of(self, mention: Mention) -> ConceptType:
        if not self.table[mention.class_index].is_animal:
            return ConceptType.SOUND
        return ConceptType.COMMON if mention.form == "common" else ConceptType.SCIENTIFIC

    def _phrases_of(self, text: str) -> list[Concept]:
        """Return the sounds and groups that phrases mean."""
        return [
            Concept(match.start(1), match.end(1), *self._phrases[match.group(1).lower()])
            for match in self._phrase_pattern.finditer(text)
        ]

    def _words_of(self, text: str, genera: bool) -> list[Concept]:
        """Return the kinds, groups and taxa that single words mean."""
        found = []
        before = ""
        for match in _WORD.finditer(text):
            word = match.group().lower()
            singulars = (word, word.removesuffix("s"), word.removesuffix("es"), _PLURALS.get(word, word))
            kind = next((form for form in singulars if form in self.kinds), None)
            group = next((form for form in singulars if form in self.groups), None)
            if word in self.taxa and (word not in self.genera or genera or before == "genus"):
                found.append(Concept(match.start(), match.end(), ConceptType.TAXON, self.taxa[word]))
            elif kind is not None:
                found.append(Concept(match.start(), match.end(), ConceptType.KIND, self.kinds[kind]))
            elif group is not None:
                found.append(Concept(match.start(), match.end(), ConceptType.GROUP, self.groups[group]))
            before = word
        return found


def _without_overlaps(taken: list[Concept], more: Iterable[Concept]) -> list[Concept]:
    """Return the concepts that are taken and those of ``more`` that overlap none of them."""
    kept = list(taken)
    for concept in more:
        if all(concept.end <= other.start or concept.start >= other.end for other in kept):
            kept.append(concept)
    return kept
