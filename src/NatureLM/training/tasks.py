"""Questions about evidence: single questions, conversations, and questions about two recordings.

Placeholders of the wordings:

=========================================  =====================================================
``{name}``, ``{a_name}``                   a species, or a group such as "owl"; with its article
``{first_name}``, ``{a_first}``, ...       two of them: ``{second_name}``, ``{a_second}``
``{options}``                              two or more names in a row
``{kind}``, ``{a_kind}``, ``{kinds}``      bird, frog, insect or mammal; ``{other_kind}``, ``{a_other_kind}``
``{first}``, ``{second}``                  "common name", "scientific name", "genus", "family", "order"
``{taxon}``                                "family Paridae"
``{a_sound}``                              "an engine"
``{n}``                                    "two" or "three"
``{which}``                                "first" or "second", of two recordings
=========================================  =====================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from NatureLM.models.adapters.base import PromptContext
from NatureLM.models.adapters.species_tokens import SpeciesTokensAdapter
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import floor_logit, pooled_logits
from NatureLM.training.answers import Request, answer, shown
from NatureLM.training.phrasing import rephrase
from NatureLM.training.subjects import (
    KINDS,
    SUBJECT,
    Heard,
    SubjectMaker,
    fill_kind,
    fill_name,
    with_article,
)
from NatureLM.training.wordings import Split, draw, load_published, load_things, load_wordings

Logits = npt.NDArray[np.float32]

TASK_SHARES = {
    "focal_common": 9.0,
    "focal_common_of_kind": 2.5,
    "focal_scientific": 3.5,
    "focal_both": 3.0,
    "focal_genus": 2.0,
    "focal_family": 2.0,
    "focal_order": 2.0,
    "focal_ranks": 3.0,
    "focal_taxonomic": 2.0,
    "focal_kind": 2.5,
    "second_common": 1.5,
    "weakest_common": 1.5,
    "list_common": 9.0,
    "list_common_of_kind": 3.0,
    "list_scientific": 4.5,
    "list_both": 3.4,
    "list_genus": 2.0,
    "list_family": 2.2,
    "list_order": 2.0,
    "list_kind": 2.0,
    "list_ranks": 2.5,
    "list_of_rank": 2.0,
    "top_species": 2.0,
    "others_common": 2.0,
    "others_than_species": 2.0,
    "caption_plain": 4.0,
    "caption_common": 2.4,
    "caption_scientific": 2.5,
    "which_of": 4.0,
    "focal_of": 3.5,
    "either_or": 3.0,
    "either_kind": 2.0,
    "is_species": 4.0,
    "is_group": 4.0,
    "is_kind": 3.5,
    "is_rank": 1.5,
    "is_sound": 2.5,
    "is_animal": 2.5,
    "is_unknown": 5.0,
    "no_species": 2.0,
    "no_group": 1.5,
    "no_kind": 2.5,
    "no_animal": 2.0,
    "yes_which_kind": 2.0,
    "yes_which_animal": 2.0,
    "count_species": 3.2,
    "count_kind": 2.0,
    "count_which": 2.0,
    "non_animal": 3.3,
    "outside_knowledge": 12.0,
    "outside_species": 7.5,
    "outside_kind": 5.5,
}
"""How often each question about one recording is drawn, relative to the others."""

RANK_NOUNS = {
    "common": ("common name", "common name", "english name"),
    "scientific": ("scientific name", "scientific name", "latin name", "binomial"),
    "genus": ("genus",),
    "family": ("family",),
    "order": ("order",),
}

FORMS = ("common", "scientific", "genus", "family", "order", "kind")

FIXED_FORMS = {
    "both": ("common", "scientific"),
    "taxonomic": ("order", "family", "scientific"),
    "plain": ("common",),
}

BORROWED_WORDINGS = {"is_group": ("is_species",), "no_group": ("no_species",)}
"""Tasks that ask in the words of others."""

UNKNOWN_SUBJECTS = {
    "is_species": "animal",
    "no_species": "animal",
    "follow_what_about_species": "animal",
    "is_sound": "sound",
    "is_rank": "taxon",
    "list_of_rank": "taxon",
}
"""What is asked for in vain, in the words of each task, when it is no class of the encoder."""

PUBLISHED_SHARE = 0.25
"""Share of the prompts in use with the published model where training draws a wording of their task."""

FLOORS = (0.05, 0.7)
MOST_SPECIES = (1, 3, 6, 6, 6, 10)
"""Settings are drawn from these for each example, so that the model follows the states, not strengths."""


@dataclass(frozen=True)
class Example:
    """A question, what the language model sees of its recordings, and the answer it should give.

    Attributes
    ----------
    task : str
    texts : list of str
        Question, answer, question, ...; questions in lower case, as the model reads them.
    answer : str
        With ``<form><slot>`` for each name.
    context : PromptContext
    windows : list of float32 [segments, classes]
        The logits of the recordings.
    request : Request
        What the last question asks for.
    """

    task: str
    texts: list[str]
    answer: str
    context: PromptContext
    windows: list[Logits]
    request: Request


class TaskMaker:
    """Makes questions about single recordings from windows of logits.

    Parameters
    ----------
    adapter : SpeciesTokensAdapter
        With its tokenizer and table attached.
    table : SpeciesTable
    split : {"train", "held_out", "free"}
        Which wordings are used.
    noise : bool
        Whether wordings are varied further, slips of the keyboard among them.
    """

    def __init__(
        self, adapter: SpeciesTokensAdapter, table: SpeciesTable, split: Split = "train", noise: bool = True
    ) -> None:
        self.adapter = adapter
        self.table = table
        self.split = split
        self.noise = noise
        things = load_things("train" if split == "train" else "held_out")
        self.subjects = SubjectMaker(adapter.finder, table, things)
        wordings = load_wordings()
        self.tasks = [
            task for task in TASK_SHARES if any(wordings[source][split] for source in self._sources(task))
        ]
        shares = np.array([TASK_SHARES[task] for task in self.tasks])
        self.shares = shares / shares.sum()

    def _sources(self, task: str) -> tuple[str, ...]:
        """Return the tasks in whose words a task may be asked."""
        sources = tuple(UNKNOWN_SUBJECTS) if task == "is_unknown" else BORROWED_WORDINGS.get(task, (task,))
        return tuple(source for source in sources if load_wordings()[source][self.split])

    def settings(self, rng: np.random.Generator) -> AnswerSettings:
        """Draw the floor and the number of species for an example."""
        return AnswerSettings(
            min_evidence=float(rng.uniform(*FLOORS)), max_species=int(rng.choice(MOST_SPECIES))
        )

    def hear(self, logits: Logits, settings: AnswerSettings) -> Heard:
        """Return what a window holds at the settings."""
        pooled = pooled_logits(logits)
        reaches = np.flatnonzero(pooled >= floor_logit(settings.min_evidence))
        ranked = reaches[np.argsort(-pooled[reaches], kind="stable")].tolist()
        animals = [index for index in ranked if self.table.species[index].is_animal]
        return Heard(animals, frozenset(ranked))

    def example(
        self,
        logits: Logits,
        rng: np.random.Generator,
        task: str | None = None,
        settings: AnswerSettings | None = None,
    ) -> Example:
        """Make a single question about a window's logits [segments, classes].

        Task, wording, floor and number of species are drawn at random where they are not given.
        """
        task = task or self.draw_task(rng)
        settings = settings or self.settings(rng)
        query, request = self.ask(task, self.hear(logits, settings), settings, rng)
        return self.finished(task, [query], request, [logits], settings)

    def draw_task(self, rng: np.random.Generator) -> str:
        """Draw a task about one recording by its share."""
        return self.tasks[int(rng.choice(len(self.tasks), p=self.shares))]

    def finished(
        self,
        task: str,
        texts: list[str],
        request: Request,
        windows: Sequence[Logits],
        settings: AnswerSettings,
    ) -> Example:
        """Return the example whose last question is asked, with what is shown of it and its answer."""
        context = self.adapter.context(windows, texts, settings)
        return Example(
            task, texts, answer(request, shown(context, self.table)), context, list(windows), request
        )

    def wording(self, task: str, rng: np.random.Generator, outside: bool = False) -> str:
        """Draw a wording of a task."""
        if not self.noise:
            return draw(task, self.split, rng)
        published = load_published().get(task, []) if self.split == "train" else []
        is_published = published and rng.random() < PUBLISHED_SHARE
        wording = str(rng.choice(published)) if is_published else draw(task, self.split, rng)
        return rephrase(wording, rng, outside=outside)

    def ask(
        self, task: str, heard: Heard, settings: AnswerSettings, rng: np.random.Generator
    ) -> tuple[str, Request]:
        """Draw a question of a task; return it in lower case with what it asks for."""
        sources = self._sources(task)
        source = sources[int(rng.integers(len(sources)))]
        wording = self.wording(source, rng, outside=task.startswith("outside"))
        if task == "is_unknown":
            return self.subjects.fill_unknown(wording, UNKNOWN_SUBJECTS[source], rng).lower(), Request(task)
        query, request = self._fill(task, wording, heard, settings, rng)
        return query.lower(), request

    def _fill(
        self, task: str, wording: str, heard: Heard, settings: AnswerSettings, rng: np.random.Generator
    ) -> tuple[str, Request]:
        """Fill a wording's placeholders; return it with what it asks for."""
        if task in ("which_of", "focal_of", "either_or"):
            return self._fill_options(task, wording, heard, rng)
        if task in ("focal_ranks", "list_ranks"):
            names = ["common", "scientific"] if task == "list_ranks" else list(RANK_NOUNS)
            first = str(rng.choice(names))
            second = str(rng.choice([rank for rank in RANK_NOUNS if rank != first]))
            nouns = [str(rng.choice(RANK_NOUNS[rank])) for rank in (first, second)]
            filled = wording.replace("{first}", nouns[0]).replace("{second}", nouns[1])
            # One order of names whatever the question's, as tables have it.
            return filled, Request(task, tuple(rank for rank in RANK_NOUNS if rank in (first, second)))
        if task in ("is_rank", "list_of_rank"):
            taxon, classes = self.subjects.draw_taxon(heard, rng)
            return wording.replace("{taxon}", taxon), self.request(task, classes, heard)
        if task == "is_sound":
            phrase, index = self.subjects.draw_sound(heard, rng)
            return wording.replace("{a_sound}", phrase), self.request(task, [index], heard)
        if task == "either_kind":
            kinds = [self.subjects.draw_kind(heard, settings, rng)]
            kinds.append(str(rng.choice([kind for kind in KINDS if kind != kinds[0]])))
            rng.shuffle(kinds)
            classes = [index for kind in kinds for index in self.adapter.finder.kinds[kind]]
            filled = wording.replace("{a_other_kind}", with_article(kinds[1]))
            filled = filled.replace("{other_kind}", kinds[1])
            return fill_kind(filled, kinds[0]), Request(task, ("kind",), frozenset(classes))
        if task in ("is_group", "no_group"):
            group = self.subjects.draw_group(heard, settings, rng)
            return fill_name(wording, group), self.request(task, self.adapter.finder.groups[group], heard)
        if task == "top_species":
            number = int(rng.integers(2, 4))
            return wording.replace("{n}", ("two", "three")[number - 2]), Request(task, number=number)
        form = task.split("_")[1]
        request = Request(task, FIXED_FORMS.get(form, (form if form in FORMS else "common",)))
        if SUBJECT.search(wording):
            wording, classes = self.subjects.fill_subject(wording, heard, settings, rng)
            request = replace(self.request(task, classes, heard), forms=request.forms)
        return wording, request

    def request(self, task: str, classes: Sequence[int], heard: Heard, recording: int = 0) -> Request:
        """Return a request about some classes, by common name."""
        meant = frozenset(classes)
        return Request(task, ("common",), meant, heard=bool(meant & heard.reaches), recording=recording)

    def _fill_options(
        self, task: str, wording: str, heard: Heard, rng: np.random.Generator
    ) -> tuple[str, Request]:
        """Fill a wording's options."""
        form = "common" if rng.random() < 0.65 else "scientific"
        options = self.subjects.draw_options(heard.passing, rng, two=task == "either_or")
        names = [getattr(self.table[index], f"{form}_name") for index in options]
        request = Request(task, (form,), frozenset(options))
        if task == "either_or":
            for place, name in zip(("first", "second"), names, strict=True):
                article = with_article(name) if form == "common" else name
                wording = wording.replace(f"{{a_{place}}}", article).replace(f"{{{place}_name}}", name)
            return wording, request
        separators = [", ", ", ", ", ", "; ", " / ", " or "]
        if wording.endswith("{options}"):
            separators += ["\n", "\n- "]
        if rng.random() < 0.15:
            last = str(rng.choice([" or ", " and ", ", or ", ", and "]))
            return wording.replace("{options}", ", ".join(names[:-1]) + last + names[-1]), request
        return wording.replace("{options}", str(rng.choice(separators)).join(names)), request
