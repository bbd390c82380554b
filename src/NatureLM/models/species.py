"""Names and ranks of the encoder's classes, and how a text's mentions of them are found.

Standard library only (``nearest`` imports rapidfuzz when it is called), so that the command line can look
names up without loading a model. The table itself is ``bundled/species.csv``, built by
NatureLM.training.taxonomy.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from NatureLM.errors import CheckpointError

DEFAULT_TABLE = Path(__file__).parent / "bundled" / "species.csv"

COLUMNS = (
    "class_index",
    "label",
    "scientific_name",
    "common_name",
    "genus",
    "family",
    "order",
    "taxon_class",
    "kind",
)

Form = Literal["common", "scientific"]


@dataclass(frozen=True)
class Species:
    """One class of the encoder: an animal species or a non-animal sound.

    Attributes
    ----------
    class_index : int
        Position among the encoder's classes, from 0.
    label : str
        The encoder's own label, ``"Scientific name_Common name"``.
    scientific_name, genus, family, order, taxon_class : str
        Empty for sounds. The scientific name is the encoder's (sometimes an older synonym); family, order and
        class follow the current taxonomy.
    common_name : str
        English name of an animal; for a sound a phrase in lower case ("engine noise").
    kind : str
        "bird", "frog", "insect", "mammal" or "sound".
    """

    class_index: int
    label: str
    scientific_name: str
    common_name: str
    genus: str
    family: str
    order: str
    taxon_class: str
    kind: str

    @property
    def is_animal(self) -> bool:
        """False for sounds such as an engine or a human voice."""
        return self.kind != "sound"

    @property
    def group(self) -> str:
        """The noun that the common name ends in, in lower case: ``owl`` for a Northern Pygmy-Owl."""
        return self.common_name.replace("-", " ").split()[-1].lower()


@dataclass(frozen=True)
class Mention:
    """A class named in a text: ``text[start:end]`` is the name in its singular, as written there."""

    start: int
    end: int
    class_index: int
    form: Form


class SpeciesTable:
    """The encoder's classes in order, with look-up by name.

    Examples
    --------
    >>> table = SpeciesTable.load()
    >>> table.find("great tit").scientific_name
    'Parus major'
    >>> text = "Is there a great tit in the audio?"
    >>> [text[mention.start:mention.end] for mention in table.mentions(text)]
    ['great tit']
    """

    def __init__(self, species: Iterable[Species]) -> None:
        self.species: list[Species] = list(species)

    @classmethod
    def load(cls, path: str | Path = DEFAULT_TABLE) -> SpeciesTable:
        """Read a table.

        Parameters
        ----------
        path : str or Path
            UTF-8 CSV with the columns of ``COLUMNS``, one row per class, in class order.

        Raises
        ------
        CheckpointError
            The file is missing, has other columns, a damaged row, rows out of order, or a name used twice.
        """
        path = Path(path)
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.reader(file, strict=True))
        except FileNotFoundError:
            raise CheckpointError(f"{path}: no such species table; reinstall naturelm-audio.") from None
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise CheckpointError(f"{path}: cannot be read as a UTF-8 CSV species table ({error}).") from None
        if not rows or tuple(rows[0]) != COLUMNS:
            raise CheckpointError(f"{path}: expected the columns {','.join(COLUMNS)} in its first line.")
        return cls(_checked(path, rows[1:]))

    def __len__(self) -> int:
        return len(self.species)

    def __iter__(self) -> Iterator[Species]:
        return iter(self.species)

    def __getitem__(self, class_index: int) -> Species:
        return self.species[class_index]

    def find(self, name: str) -> Species | None:
        """Look up the class with this common name, scientific name or label; None if there is none.

        Case, accents, apostrophes, hyphens and grey/gray make no difference.
        """
        return self._by_key.get(name_key(name))

    def nearest(self, name: str, count: int = 3) -> list[Species]:
        """List the classes whose common or scientific name is written most like ``name``, nearest first."""
        from rapidfuzz import fuzz, process

        keys = list(self._forms)
        # A class may be found more than once: by its common name, its scientific name and a short form.
        found = process.extract(name_key(name), keys, scorer=fuzz.ratio, limit=3 * count)
        distinct = dict.fromkeys(self._forms[key][0] for key, _, _ in found)
        return [self.species[class_index] for class_index in distinct][:count]

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The kinds of the classes: ``frog``, ``bird``, ..."""
        return frozenset(species.kind for species in self.species)

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """Animal classes by kind ("frog") and by the noun at the end of their common names ("owl")."""
        groups: dict[str, list[int]] = {}
        for species in self.species:
            if species.is_animal:
                groups.setdefault(species.kind, []).append(species.class_index)
                if species.group not in self.kinds:
                    groups.setdefault(species.group, []).append(species.class_index)
        return groups

    def mentions(self, text: str) -> list[Mention]:
        """Find every class named in a text, in the order of the text.

        Names match in any case and on word boundaries. "Turtle Dove", "Turtle-Dove" and "Turtledove" are one,
        so are straight, curly and missing apostrophes, "grey" and "gray", accented and plain letters. Plurals
        and possessives of common names match; the mention then covers the singular. A name of more words wins
        over one of fewer; no two mentions overlap. Sounds match by their phrase ("engine noise"), never by
        their label ("Engine"). One-word names ("Ruff", "Dog") match in lower case too: those that are words
        of everyday English as well are animals in nearly every question asked of a recording. They do not
        match inside a hyphenated word ("dog-like"), nor in the phrases of ``_NOT_AFTER`` and ``_NOT_BEFORE``.

        Parameters
        ----------
        text : str
            A question or an answer.

        Returns
        -------
        list of Mention
        """
        words = _words(text)
        found: list[tuple[int, int, Mention]] = []
        for first in range(len(words)):
            joined = ""
            for last in range(first, min(first + self._most_words, len(words))):
                if last > first and not _GAP.fullmatch(text, words[last - 1].end, words[last].start):
                    break
                mention = self._mention(text, words, first, last, joined)
                if mention is not None:
                    found.append((first, last, mention))
                joined += words[last].key
        found.sort(key=lambda item: (item[0] - item[1], item[0]))
        taken: set[int] = set()
        kept: list[Mention] = []
        for first, last, mention in found:
            span = set(range(first, last + 1))
            if not span & taken:
                taken |= span
                kept.append(mention)
        return sorted(kept, key=lambda mention: mention.start)

    def _mention(self, text: str, words: list[_Word], first: int, last: int, joined: str) -> Mention | None:
        """Find the class named by words first to last, where ``joined`` is the key of all but the last."""
        final = words[last]
        for ending, end in _singulars(text, final):
            known = self._forms.get(joined + ending)
            if known is None:
                continue
            class_index, form = known
            if form == "scientific" and ending != final.key and text[end : end + 1] not in _APOSTROPHES:
                continue
            if joined + ending in self._one_word and (first != last or not _stands_alone(text, words, first)):
                continue
            return Mention(words[first].start, end, class_index, form)
        return None

    @cached_property
    def _forms(self) -> dict[str, tuple[int, Form]]:
        forms: dict[str, tuple[int, Form]] = {}
        for species in self.species:
            forms[name_key(species.common_name)] = (species.class_index, "common")
            if species.scientific_name:
                forms[name_key(species.scientific_name)] = (species.class_index, "scientific")
        for alias, (name, form) in _ALIASES.items():
            if name_key(name) in forms:
                forms.setdefault(name_key(alias), (forms[name_key(name)][0], form))
        return forms

    @cached_property
    def _one_word(self) -> set[str]:
        names = [species.common_name for species in self.species] + list(_ALIASES)
        return {name_key(name) for name in names if _word_count(name) == 1}

    @cached_property
    def _most_words(self) -> int:
        names = (name for species in self.species for name in (species.common_name, species.scientific_name))
        # One more than in the table, for a compound written apart ("Bush Shrike" for "Bushshrike").
        return 1 + max(map(_word_count, names), default=0)

    @cached_property
    def _by_key(self) -> dict[str, Species]:
        by_key = {key: self.species[class_index] for key, (class_index, _) in self._forms.items()}
        for species in self.species:
            for name in (species.label, species.label.partition("_")[0], species.label.partition("_")[2]):
                by_key.setdefault(name_key(name), species)
        return by_key


_ALIASES: dict[str, tuple[str, Form]] = {
    # Short names that mean one class in everyday use; fuller ones ("Oriental Turtle-Dove") win over them.
    "turtle dove": ("European Turtle-Dove", "common"),
    "bullfrog": ("American Bullfrog", "common"),
    "canis lupus familiaris": ("Dog", "scientific"),
    # Singulars and wordings of the phrases for sounds.
    "gunshot": ("gunshots", "common"),
    "firework": ("fireworks", "common"),
    "power tool": ("power tools", "common"),
    "human whistle": ("human whistling", "common"),
    "non-vocal human sound": ("non-vocal human sounds", "common"),
}

_NOT_AFTER = {
    "dog": {"prairie", "raccoon", "bush", "wild", "hot"},
    "siren": {"lesser", "greater", "dwarf"},
}
"""One-word names that mean something else after these words: a prairie dog is a rodent, a dwarf siren a
salamander."""

_NOT_BEFORE = {"merlin": {"app", "id", "bird", "sound"}}
"""One-word names that mean something else before these words ("Merlin Bird ID" is a program)."""

_SPELLINGS = (("grey", "gray"), ("colour", "color"), ("moustach", "mustach"))

_PLURALS = {"geese": "goose", "wolves": "wolf", "titmice": "titmouse"}

_APOSTROPHES = ("'", "\u2019", "\u2018", "\u02bc", "`")

_WORD = re.compile(r"\bmrs\.|[^\W_]+(?:['\u2019\u2018\u02bc`][^\W_]+)*", re.IGNORECASE)

# What may stand between the words of one name: spaces, or one hyphen or dash.
_GAP = re.compile(r"\s+|\s?[-\u2010\u2011\u2013]\s?")

_HYPHENS = ("-", "\u2010", "\u2011")

_NO_LETTERS = str.maketrans("", "", "".join(sign for sign in map(chr, range(128)) if not sign.isalnum()))


@dataclass(frozen=True)
class _Word:
    start: int
    end: int
    key: str


def _words(text: str) -> list[_Word]:
    return [_Word(match.start(), match.end(), name_key(match.group())) for match in _WORD.finditer(text)]


def _word_count(name: str) -> int:
    """Count the words in a name of the table, where spaces and hyphens alone separate them."""
    return 1 + name.count(" ") + name.count("-")


def name_key(words: str) -> str:
    """Reduce a name to what is compared: lower-case letters and digits, without accents, in one spelling."""
    folded = words.casefold()
    for variant, spelling in _SPELLINGS:
        folded = folded.replace(variant, spelling)
    if folded.isascii():
        return folded.translate(_NO_LETTERS)
    return "".join(letter for letter in unicodedata.normalize("NFKD", folded) if letter.isalnum())


def _singulars(text: str, word: _Word) -> Iterator[tuple[str, int]]:
    """Keys of the word and of its possible singulars, each with its end in the text."""
    key = word.key
    yield key, word.end
    if key in _PLURALS:
        yield _PLURALS[key], word.end
    if not key.endswith("s"):
        return
    yield key[:-1], _end_without(text, word, 1)
    if key.endswith("es"):
        yield key[:-2], _end_without(text, word, 2)
    if key.endswith("ies"):
        yield key[:-3] + "y", word.end


def _end_without(text: str, word: _Word, letters: int) -> int:
    """End of the word without its last letters, and without an apostrophe before them."""
    end = word.end - letters
    while text[end - 1] in _APOSTROPHES:
        end -= 1
    return end


def _stands_alone(text: str, words: list[_Word], position: int) -> bool:
    """Whether a one-word name is a word of its own here, neither part of a compound nor of another name."""
    word = words[position]
    if text[max(word.start - 1, 0) : word.start] in _HYPHENS or text[word.end : word.end + 1] in _HYPHENS:
        return False
    before = words[position - 1].key if position > 0 else ""
    after = words[position + 1].key if position + 1 < len(words) else ""
    name = word.key.removesuffix("s")
    return before not in _NOT_AFTER.get(name, ()) and after not in _NOT_BEFORE.get(name, ())


def _checked(path: Path, rows: list[list[str]]) -> list[Species]:
    """Species from the rows of a table, or CheckpointError at the first row that does not fit."""
    for class_index, row in enumerate(rows):
        if len(row) != len(COLUMNS) or row[0] != str(class_index) or not row[3]:
            raise CheckpointError(
                f"{path}, line {class_index + 2}: expected {len(COLUMNS)} fields, of which the first is "
                f"{class_index} and the fourth a common name, found {','.join(row)!r}."
            )
    names = [row[3].lower() for row in rows] + [row[2].lower() for row in rows if row[2]]
    if len(set(names)) < len(names):
        name, count = Counter(names).most_common(1)[0]
        raise CheckpointError(f"{path}: {name!r} is the name of {count} classes; expected one class a name.")
    return [_species(class_index, row) for class_index, row in enumerate(rows)]


def _species(class_index: int, row: list[str]) -> Species:
    # A frozen dataclass's own __init__ takes twice as long, which thousands of rows make felt at every start.
    species = object.__new__(Species)
    species.__dict__.update(zip(COLUMNS, row, strict=True), class_index=class_index)
    return species
