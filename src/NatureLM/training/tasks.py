"""Questions about evidence and the answers that the evidence demands: what the language model learns.

Every answer follows from the classes that the adapter shows the language model (those at or above the
floor), so a wrong answer is always the language model's fault, never the encoder's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Literal

import numpy as np
import numpy.typing as npt
import yaml

from NatureLM.models.adapters.base import AudioContext
from NatureLM.models.adapters.species_tokens import SpeciesTokensAdapter
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.species import Species, SpeciesTable
from NatureLM.models.species_evidence import MAX_SPECIES, ClassEvidence, floor_logit
from NatureLM.models.vocabulary import FIELD_TAGS, NAME_END
from NatureLM.training.phrasing import made_up_word, rephrase

NONE = "None"
UNKNOWN = "I cannot tell from this model."

TASK_SHARES = {
    "focal_common": 8.0,
    "focal_common_of_kind": 3.0,
    "focal_scientific": 5.0,
    "focal_both": 3.0,
    "focal_genus": 3.0,
    "focal_family": 3.0,
    "focal_order": 2.0,
    "focal_taxonomic": 2.0,
    "focal_kind": 2.0,
    "list_common": 9.0,
    "list_common_of_kind": 3.0,
    "list_scientific": 5.0,
    "list_both": 3.0,
    "list_genus": 2.0,
    "list_family": 2.0,
    "list_kind": 2.0,
    "caption_plain": 4.0,
    "caption_common": 2.0,
    "caption_scientific": 3.0,
    "which_of": 8.0,
    "focal_of": 5.0,
    "is_kind": 5.0,
    "is_species": 6.0,
    "is_group": 7.0,
    "is_unknown": 4.0,
    "is_animal": 2.0,
    "count_species": 3.0,
    "non_animal": 3.0,
    "outside_knowledge": 6.0,
    "outside_species": 4.0,
}
"""How often each task is drawn, relative to the others."""

KINDS = ("bird", "frog", "insect", "mammal")

MADE_UP_SHARE = 0.3
"""Share of the questions about unheard animals that name something which does not exist."""

SMALLEST_GROUP = 4
"""Fewest species whose common names end in the same noun, for the noun to be asked for as a group."""

BORROWED_WORDINGS = {"is_group": "is_species", "is_unknown": "is_species"}
"""Tasks that ask in the words of another one."""

UNHEARD_ANIMALS = {
    "train": (
        "bat", "pipistrelle", "noctule", "whale", "killer whale", "humpback whale", "sperm whale",
        "dolphin", "porpoise", "seal", "sea lion", "walrus", "manatee", "elephant", "lion", "tiger",
        "leopard", "jaguar", "hyena", "giraffe", "zebra", "hippopotamus", "rhinoceros", "cow", "sheep",
        "goat", "horse", "donkey", "pig", "wild boar", "red fox", "badger", "otter", "bear", "panda",
        "moose", "kangaroo", "koala", "wombat", "chimpanzee", "gorilla", "orangutan", "gibbon", "lemur",
        "mouse", "rat", "hedgehog", "cat", "crocodile", "snake", "rattlesnake", "gecko", "lizard",
        "turtle", "fish", "toadfish", "shark", "octopus", "shrimp", "crab", "spider", "scorpion", "bee",
        "bumblebee", "wasp", "mosquito", "fly", "butterfly", "moth", "beetle", "ant", "dinosaur",
        "unicorn", "dragon", "vampire bat", "blue whale", "alligator", "alpaca", "anteater", "antelope",
        "armadillo", "bison", "bobcat", "bushbaby", "capuchin", "caracal", "caribou", "cattle",
        "chameleon", "chinchilla", "cicada", "civet", "cobra", "cockroach", "cod", "cougar", "crayfish",
        "dingo", "dugong", "earthworm", "eel", "elk", "ermine", "ferret", "gaur", "gazelle", "gerbil",
        "grouper", "guinea pig", "haddock", "hamster", "hare", "herring", "hyrax", "ibex", "impala",
        "indri", "jackal", "jellyfish", "kinkajou", "kudu", "ladybird", "lemming", "llama", "lynx",
        "macaque", "mandrill", "marmoset", "marmot", "marten", "meerkat", "mink", "mole", "mongoose",
        "monitor lizard", "mouse lemur", "mule", "muskrat", "naked mole rat", "newt", "ocelot", "okapi",
        "opossum", "oryx", "pangolin", "panther", "pika", "platypus", "polar bear", "porcupine", "puma",
        "python", "quokka", "ray", "reindeer", "salamander", "shrew", "skink", "skunk", "sloth", "slug",
        "snail", "squid", "stoat", "tadpole", "tamarin", "tapir", "tarsier", "tasmanian devil",
        "termite", "viper", "vole", "wallaby", "warthog", "weasel", "wildebeest", "wolverine", "worm",
        "yak", "minke whale", "grey seal", "harbour porpoise", "bottlenose dolphin", "horseshoe bat",
        "long-eared bat", "human",
    ),
    "held_out": (
        "fruit bat", "orca", "beluga", "narwhal", "cheetah", "buffalo", "camel", "raccoon", "beaver",
        "baboon", "rabbit", "iguana", "tortoise", "salmon", "lobster", "dragonfly", "firefly",
        "mammoth",
    ),
}  # fmt: skip
"""Animals that are no classes of the encoder, so that nothing can be said of them."""


def answer_forms() -> list[str]:
    """Return answers that hold every word which an answer may hold outside names."""
    animal, sound = tagged("common", ""), tagged("sound", "")
    captions = [caption([animal] * count, [sound] * sounds) for count in range(4) for sounds in range(3)]
    listed = [f"{animal}, {animal}", f"{animal} ({animal})", f"{animal} {animal}"]
    return [NONE, UNKNOWN, "Yes", "No", *captions, *listed, *map(str, range(MAX_SPECIES + 1))]


@dataclass(frozen=True)
class Example:
    """A question, what the language model sees of the window, and the answer it should give.

    Attributes
    ----------
    task : str
    query : str
        In lower case, as the model reads it.
    answer : str
        With the tags around names.
    context : AudioContext
    """

    task: str
    query: str
    answer: str
    context: AudioContext


def load_wordings() -> dict[str, dict[str, list[str]]]:
    """Return the wordings of each task: ``{task: {"train": [...], "held_out": [...]}}``."""
    text = resources.files("NatureLM.training").joinpath("wordings.yml").read_text(encoding="utf-8")
    wordings: dict[str, dict[str, list[str]]] = yaml.safe_load(text)
    return wordings


def tagged(form: str, name: str) -> str:
    """Return a name between its tags."""
    return f"{FIELD_TAGS[form]}{name}{NAME_END}"


def joined(parts: Sequence[str]) -> str:
    """Return parts as an English enumeration: ``A``, ``A and B``, ``A, B and C``."""
    if len(parts) < 2:
        return "".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def unique(parts: Sequence[str]) -> list[str]:
    """Return the parts without repeats, in their order."""
    return list(dict.fromkeys(parts))


def with_article(noun: str) -> str:
    """Return a noun with its indefinite article, by its first letter."""
    return ("an " if noun[:1].lower() in "aeiou" else "a ") + noun


class TaskMaker:
    """Makes examples of every task from windows of logits.

    Parameters
    ----------
    adapter : SpeciesTokensAdapter
        With its tokenizer and table attached.
    table : SpeciesTable
    split : {"train", "held_out"}
        Which wordings are used.
    """

    def __init__(
        self,
        adapter: SpeciesTokensAdapter,
        table: SpeciesTable,
        split: Literal["train", "held_out"] = "train",
    ) -> None:
        self.adapter = adapter
        self.table = table
        self.split = split
        self.wordings = load_wordings()
        shares = np.array([TASK_SHARES[task] for task in TASK_SHARES])
        self.tasks = list(TASK_SHARES)
        self.shares = shares / shares.sum()

    @cached_property
    def relatives(self) -> dict[str, list[int]]:
        """Classes by their genus, family and order."""
        groups: dict[str, list[int]] = defaultdict(list)
        for species in self.table.species:
            for rank in (species.genus, species.family, species.order):
                if rank:
                    groups[rank].append(species.class_index)
        return dict(groups)

    def example(
        self,
        logits: npt.NDArray[np.float32],
        rng: np.random.Generator,
        task: str | None = None,
        settings: AnswerSettings | None = None,
    ) -> Example:
        """Make an example from a window's logits [segments, classes].

        Task, wording, floor and number of species are drawn at random where they are not given.
        """
        task = task or self.tasks[rng.choice(len(self.tasks), p=self.shares)]
        if settings is None:
            settings = AnswerSettings(
                min_evidence=float(rng.uniform(0.05, 0.7)), max_species=int(rng.choice([1, 3, 6, 6, 6, 10]))
            )
        wordings = self.wordings[BORROWED_WORDINGS.get(task, task)][self.split]
        wording = wordings[rng.integers(len(wordings))].strip().lower()
        wording = rephrase(wording, rng, outside=task.startswith("outside"))
        query, argument = self._fill(task, wording, logits, settings, rng)
        query = query.lower()
        context = self.adapter.context(logits, query, settings)
        answer = self.answer(task, context.content.evidence, argument)
        return Example(task, query, answer, context)

    def answer(self, task: str, evidence: Sequence[ClassEvidence], argument: str = "") -> str:
        """Return what the evidence demands as the answer to a task.

        Parameters
        ----------
        task : str
        evidence : sequence of ClassEvidence
            The classes that the language model is given for the query.
        argument : str
            The kind asked for by ``is_kind`` and ``..._of_kind``, the group by ``is_group``, the form of
            the options for ``which_of`` and ``focal_of``, the scientific name asked for by ``is_species``.
        """
        passing = [self.table.species[item.class_index] for item in evidence if item.passes]
        animals = [species for species in passing if species.is_animal]
        sounds = [tagged("sound", species.common_name) for species in passing if not species.is_animal]
        if task in ("outside_knowledge", "outside_species", "is_unknown"):
            return UNKNOWN
        if task == "count_species":
            return str(len(animals))
        if task == "is_animal":
            return "Yes" if animals else "No"
        if task == "is_kind":
            return "Yes" if any(species.kind == argument for species in animals) else "No"
        if task == "is_group":
            return "Yes" if any(species.group == argument for species in animals) else "No"
        if task == "is_species":
            return "Yes" if any(species.scientific_name == argument for species in animals) else "No"
        if task == "non_animal":
            return ", ".join(sounds) or NONE
        if task.startswith("caption"):
            form = "scientific" if task == "caption_scientific" else "common"
            return caption([self._names(species, form) for species in animals], sounds)
        if task.endswith("_of_kind"):
            animals = [species for species in animals if species.kind == argument]
        form = argument if task in ("which_of", "focal_of") else task.split("_")[1]
        if task.startswith("focal"):
            animals = animals[:1]
        return ", ".join(unique([self._names(species, form) for species in animals])) or NONE

    def _names(self, species: Species, form: str) -> str:
        """Return a species as an answer gives it in one of the forms of the tasks."""
        if form == "common":
            return tagged("common", species.common_name)
        if form == "scientific":
            return tagged("scientific", species.scientific_name)
        if form == "both":
            common, scientific = self._names(species, "common"), self._names(species, "scientific")
            return f"{common} ({scientific})"
        if form == "taxonomic":
            return " ".join(self._names(species, rank) for rank in ("order", "family", "scientific"))
        return tagged(form, str(getattr(species, form)))

    def _fill(
        self,
        task: str,
        wording: str,
        logits: npt.NDArray[np.float32],
        settings: AnswerSettings,
        rng: np.random.Generator,
    ) -> tuple[str, str]:
        """Fill a wording's placeholders; return it and the argument that :meth:`answer` takes."""
        peaks = logits.max(axis=0)
        floor = floor_logit(settings.min_evidence)
        passing = [
            index
            for index in np.flatnonzero(peaks >= floor)[np.argsort(-peaks[peaks >= floor])].tolist()
            if self.table.species[index].is_animal
        ]
        if task in ("which_of", "focal_of"):
            form = "common" if rng.random() < 0.65 else "scientific"
            names = [
                getattr(self.table.species[index], f"{form}_name") for index in self._options(passing, rng)
            ]
            separators = [", ", ", ", ", ", "; ", " / ", " or "]
            if wording.endswith("{options}"):
                separators += ["\n", "\n- "]
            return wording.replace("{options}", str(rng.choice(separators)).join(names)), form
        if task == "is_kind" or task.endswith("_of_kind"):
            present = {self.table.species[index].kind for index in passing[: settings.max_species]}
            usual = task != "is_kind" and rng.random() < 0.4
            if present and (usual or rng.random() < 0.5):
                kind = str(rng.choice(sorted(present)))
            else:
                kind = str(rng.choice(KINDS))
            filled = wording.replace("{a_kind}", with_article(kind)).replace("{kinds}", kind + "s")
            return filled.replace("{kind}", kind), kind
        if task == "is_group":
            near = [self.table.species[index].group for index in passing[: settings.max_species]]
            near = [group for group in near if len(self.table.groups.get(group, ())) >= SMALLEST_GROUP]
            group = str(rng.choice(near)) if near and rng.random() < 0.55 else self._group(rng)
            return named(wording, group), group
        if task == "is_unknown":
            animals = UNHEARD_ANIMALS[self.split]
            made_up = rng.random() < MADE_UP_SHARE
            name = made_up_word(rng) if made_up else animals[int(rng.integers(len(animals)))]
            return named(wording, name), ""
        if task in ("is_species", "outside_species"):
            if passing and rng.random() < 0.55:
                species = self.table.species[passing[int(rng.integers(min(len(passing), 10)))]]
            else:
                species = self.table.species[self._options(passing, rng)[-1]]
            if rng.random() < 0.7:
                return named(wording, species.common_name), species.scientific_name
            filled = named(wording, species.scientific_name, article=rng.random() < 0.3)
            return filled, species.scientific_name
        return wording, ""

    def _options(self, passing: Sequence[int], rng: np.random.Generator) -> list[int]:
        """Draw options: some species that pass, and others, mostly their relatives."""
        here = list(passing[:6])
        rng.shuffle(here)
        here = here[: int(rng.integers(0, 4))]
        anchors = list(passing[:3]) or [self._animal(rng)]
        others: list[int] = []
        for _ in range(int(rng.integers(1, 7)) if rng.random() < 0.85 else int(rng.integers(7, 13))):
            anchor = self.table.species[anchors[int(rng.integers(len(anchors)))]]
            rank = rng.choice([anchor.genus, anchor.family, anchor.order, ""], p=[0.4, 0.25, 0.15, 0.2])
            group = self.relatives.get(str(rank)) or [self._animal(rng)]
            others.append(group[int(rng.integers(len(group)))])
        options = unique_indices([*here, *[index for index in others if index not in here]])
        while len(options) < 2:
            options = unique_indices([*options, self._animal(rng)])
        order = rng.permutation(len(options))
        return [options[place] for place in order]

    def _group(self, rng: np.random.Generator) -> str:
        """Draw a group's noun, common groups more often."""
        while True:
            group = self.table.species[self._animal(rng)].group
            if len(self.table.groups.get(group, ())) >= SMALLEST_GROUP:
                return group

    def _animal(self, rng: np.random.Generator) -> int:
        """Draw an animal class, all alike."""
        while True:
            index = int(rng.integers(len(self.table.species)))
            if self.table.species[index].is_animal:
                return index


def named(wording: str, name: str, article: bool = True) -> str:
    """Fill a wording's ``{name}`` and ``{a_name}``."""
    return wording.replace("{a_name}", with_article(name) if article else name).replace("{name}", name)


def unique_indices(indices: Sequence[int]) -> list[int]:
    """Return class indices without repeats, in their order."""
    return list(dict.fromkeys(indices))


def caption(animals: Sequence[str], sounds: Sequence[str]) -> str:
    """Return the caption of a window from its animals' and other sounds' tagged names."""
    if animals and sounds:
        return f"A recording of {joined(animals)}, with {joined(sounds)} in the background."
    if animals:
        return f"A recording of {joined(animals)}."
    if sounds:
        return f"No animal species is heard, only {joined(sounds)}."
    return "No animal species is heard."
