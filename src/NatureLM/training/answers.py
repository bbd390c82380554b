"""The answers that evidence demands: what the language model should say to each kind of question.

Every answer follows from the classes that the adapter shows the language model (those at or above the
floor), so a wrong answer is always the language model's fault, never the encoder's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from NatureLM.models.adapters.base import PromptContext
from NatureLM.models.species import Species, SpeciesTable
from NatureLM.models.species_evidence import MAX_ANIMALS
from NatureLM.models.vocabulary import FIELD_TAGS, MAX_SLOTS, SLOTS, UNKNOWN

NONE = "None"
WELCOME = "You are welcome."
PLACES = ("The first.", "The second.", "Both.", "Neither.", "Both alike.")

Forms = tuple[str, ...]
"""Keys of ``FIELD_TAGS``: the kind of name that an answer gives, and what stands in brackets behind it."""


@dataclass(frozen=True)
class Request:
    """What a question asks for.

    Attributes
    ----------
    task : str
    forms : tuple of str
        The kind of name asked for, and what should stand in brackets behind it.
    classes : frozenset of int
        The classes that the question speaks of: a species, a group, a kind, options.
    heard : bool
        Whether one of them reaches the floor (in the recording asked about).
    number : int
        How many are asked for.
    recording : int
        Which of two recordings is asked about, from 0.
    """

    task: str
    forms: Forms = ("common",)
    classes: frozenset[int] = frozenset()
    heard: bool = False
    number: int = 0
    recording: int = 0


@dataclass(frozen=True)
class Item:
    """A class that an answer may point at."""

    slot: int
    species: Species

    def written(self, forms: Sequence[str]) -> str:
        """Return the class as an answer writes it: ``<common><slot_0> (<family><slot_0>)``."""
        names = [f"{FIELD_TAGS[form]}{SLOTS[self.slot]}" for form in forms]
        return names[0] + (f" ({', '.join(names[1:])})" if len(names) > 1 else "")


@dataclass(frozen=True)
class Shown:
    """The classes of one recording that the language model is shown, strongest first."""

    animals: list[Item] = field(default_factory=list)
    sounds: list[Item] = field(default_factory=list)

    def of(self, classes: Iterable[int]) -> list[Item]:
        """Return the animals among some classes."""
        wanted = set(classes)
        return [item for item in self.animals if item.species.class_index in wanted]

    def without(self, classes: Iterable[int]) -> list[Item]:
        """Return the animals that are not among some classes."""
        unwanted = set(classes)
        return [item for item in self.animals if item.species.class_index not in unwanted]

    @property
    def classes(self) -> set[int]:
        """The animals' classes."""
        return {item.species.class_index for item in self.animals}


def shown(context: PromptContext, table: SpeciesTable) -> list[Shown]:
    """Return what a prompt's context shows of each recording."""
    recordings = []
    for number, evidence in enumerate(context.content.evidence):
        items = [
            Item(number * MAX_SLOTS + slot, table.species[item.class_index])
            for slot, item in enumerate(evidence)
        ]
        animals = [item for item in items if item.species.is_animal]
        recordings.append(Shown(animals, [item for item in items if not item.species.is_animal]))
    return recordings


def joined(parts: Sequence[str]) -> str:
    """Return parts as an English enumeration: ``A``, ``A and B``, ``A, B and C``."""
    if len(parts) < 2:
        return "".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def named(items: Sequence[Item], forms: Forms) -> str:
    """Return items as a list, or None; a name that comes twice is written once by the program."""
    return ", ".join(item.written(forms) for item in items) or NONE


def yes_or_no(yes: bool) -> str:
    """Return Yes or No."""
    return "Yes" if yes else "No"


def caption(animals: Sequence[str], sounds: Sequence[str]) -> str:
    """Return the caption of a recording from its animals' and other sounds' names."""
    if animals and sounds:
        return f"A recording of {joined(animals)}, with {joined(sounds)} in the background."
    if animals:
        return f"A recording of {joined(animals)}."
    if sounds:
        return f"No animal species is heard, only {joined(sounds)}."
    return "No animal species is heard."


def caption_of(recording: Shown, forms: Forms) -> str:
    """Return the caption of what is shown of a recording."""
    animals = [item.written(forms[:1]) for item in recording.animals]
    return caption(animals, [item.written(("sound",)) for item in recording.sounds])


def answer(request: Request, recordings: Sequence[Shown]) -> str:
    """Return what the evidence demands as the answer to a question, with ``<form><slot>`` for names."""
    if request.task.startswith("two_"):
        return answer_about_two(request, recordings)
    recording, forms = recordings[0], request.forms
    animals, meant = recording.animals, recording.of(request.classes)
    match request.task:
        case "outside_knowledge" | "outside_species" | "outside_kind" | "is_unknown":
            return UNKNOWN
        case "focal_taxonomic":
            parts = [f"{FIELD_TAGS[form]}{SLOTS[item.slot]}" for item in animals[:1] for form in forms]
            return " ".join(parts) or NONE
        case "focal_common_of_kind" | "focal_of" | "either_or" | "either_kind":
            return named(meant[:1], forms)
        case "second_common":
            return named(animals[1:2], forms)
        case "weakest_common":
            return named(animals[-1:], forms)
        case "top_species":
            return named(animals[: request.number], forms)
        case "others_common":
            return named(animals[1:], forms)
        case "others_than_species":
            return named(recording.without(request.classes), forms)
        case "list_common_of_kind" | "list_of_rank" | "which_of" | "yes_which_kind":
            return named(meant, forms)
        case "is_species" | "is_kind" | "is_group" | "is_rank" | "is_sound":
            return yes_or_no(request.heard)
        case "no_species" | "no_kind" | "no_group":
            return yes_or_no(not request.heard)
        case "is_animal":
            return yes_or_no(bool(animals))
        case "no_animal":
            return yes_or_no(not animals)
        case "yes_which_animal":
            return named(animals, forms)
        case "count_species":
            return str(len(animals))
        case "count_kind":
            return str(len(meant))
        case "count_which":
            return f"{len(animals)}: {named(animals, forms)}" if animals else "0"
        case "non_animal":
            return named(recording.sounds, ("sound",))
    if request.task.startswith("caption"):
        return caption_of(recording, forms)
    if request.task.startswith("focal"):
        return named(meant[:1] if request.classes else animals[:1], forms)
    assert request.task.startswith("list"), request.task
    return named(animals, forms)


def answer_about_two(request: Request, recordings: Sequence[Shown]) -> str:
    """Return what the evidence demands as the answer to a question about two recordings."""
    first, second = recordings
    asked, other = recordings[request.recording], recordings[1 - request.recording]
    forms = request.forms
    match request.task:
        case "two_focal_common" | "two_focal_scientific":
            return named(asked.animals[:1], forms)
        case "two_list_common" | "two_list_scientific":
            return named(asked.animals, forms)
        case "two_same":
            focal = [
                recording.animals[0].species.class_index for recording in recordings if recording.animals
            ]
            return yes_or_no(len(focal) == 2 and focal[0] == focal[1])
        case "two_shared":
            return named(first.of(second.classes), forms)
        case "two_list_of_kind":
            return named(asked.of(request.classes), forms)
        case "two_shared_of_kind":
            return named(
                [item for item in first.of(second.classes) if item in first.of(request.classes)], forms
            )
        case "two_only":
            return named(asked.without(other.classes), forms)
        case "two_only_of_kind":
            return named(
                [item for item in asked.of(request.classes) if item in asked.without(other.classes)], forms
            )
        case "two_all":
            return named([*first.animals, *second.animals], forms)
        case "two_count_all":
            return str(len(first.classes | second.classes))
        case "two_count":
            return str(len(asked.animals))
        case "two_where_species" | "two_where_kind":
            here, there = bool(first.of(request.classes)), bool(second.of(request.classes))
            return PLACES[2 if here and there else 0 if here else 1 if there else 3]
        case "two_is_species" | "two_is_kind":
            return yes_or_no(bool(asked.of(request.classes)))
        case "two_more":
            more = len(first.animals) - len(second.animals)
            return PLACES[0 if more > 0 else 1 if more < 0 else 4]
        case "two_caption":
            return caption_of(asked, forms)
        case "two_focal_each":
            each = [named(recording.animals[:1], forms) for recording in recordings]
            return f"The first: {each[0]}. The second: {each[1]}."
    assert request.task == "two_outside", request.task
    return UNKNOWN


def answer_forms() -> list[str]:
    """Return answers that hold every word which an answer may hold outside names."""
    common, scientific = (f"{FIELD_TAGS[form]}{SLOTS[0]}" for form in ("common", "scientific"))
    captions = [caption([common] * count, [common] * sounds) for count in range(4) for sounds in range(3)]
    animal = f"{common} ({scientific})"
    listed = [
        f"{animal}, {animal}",
        f"2: {animal}",
        f"{common} {scientific}",
        f"{animal} {animal}",
        f"The first: {common}. The second: {common}.",
        "The first: None. The second: None.",
    ]
    return [
        NONE,
        UNKNOWN,
        WELCOME,
        "Yes",
        "No",
        *captions,
        *listed,
        *PLACES,
        *map(str, range(2 * MAX_ANIMALS + 1)),
    ]
