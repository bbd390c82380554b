"""Conversations of two to four turns about one recording, and questions about two recordings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from NatureLM.models.adapters.base import PromptContext
from NatureLM.models.adapters.species_tokens import NAMED_BEFORE, NAMED_LAST, SpeciesTokens
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.vocabulary import FIELD_TAGS, SLOTS
from NatureLM.training.answers import (
    NONE,
    WELCOME,
    Item,
    Request,
    Shown,
    answer,
    caption_of,
    named,
    shown,
    yes_or_no,
)
from NatureLM.training.phrasing import numbered
from NatureLM.training.subjects import SUBJECT, Heard
from NatureLM.training.tasks import Example, Logits, TaskMaker
from NatureLM.training.wordings import load_wordings

FULL_QUESTION = 0.3
"""Share of later turns that could stand by themselves."""

FIRST_TURNS = {
    "focal_common": 5.0,
    "focal_scientific": 2.0,
    "focal_both": 1.0,
    "focal_common_of_kind": 1.0,
    "list_common": 5.0,
    "list_scientific": 2.0,
    "list_common_of_kind": 2.0,
    "which_of": 2.0,
    "focal_of": 1.5,
    "either_or": 1.0,
    "top_species": 1.0,
    "others_common": 1.0,
    "caption_plain": 2.0,
    "is_species": 3.0,
    "is_kind": 2.0,
    "is_group": 1.0,
    "count_species": 1.0,
    "second_common": 0.7,
    "count_which": 1.0,
    "yes_which_kind": 1.0,
    "outside_knowledge": 1.0,
    "non_animal": 0.5,
}
"""How often each task opens a conversation, relative to the others."""

SECOND_QUESTION = 0.35
"""Share of questions about two recordings that come after another."""

PAIR_SHARES = {
    "two_list_common": 2.0,
    "two_list_scientific": 1.5,
    "two_list_of_kind": 2.0,
    "two_shared": 1.5,
    "two_shared_of_kind": 2.0,
    "two_only": 2.5,
    "two_only_of_kind": 2.5,
    "two_all": 1.5,
    "two_count": 1.5,
    "two_count_all": 2.0,
    "two_more": 1.5,
}
"""How often training draws a question about two recordings, relative to the others: more often what takes all
of their species. All are drawn alike where wordings are not varied."""

OTHER_RECORDING = (
    "two_focal_common",
    "two_focal_scientific",
    "two_list_common",
    "two_list_scientific",
    "two_list_of_kind",
    "two_only",
    "two_only_of_kind",
    "two_count",
    "two_is_species",
    "two_is_kind",
    "two_caption",
)
"""Questions about one of two recordings, after which "And the other?" makes sense."""

ABOUT_NAMES = ("follow_scientific", "follow_common", "follow_genus", "follow_family", "follow_order")
"""Elliptical questions that also follow an answer about two recordings that names species."""

TWO_RECORDINGS_SHARED = 0.7
"""Share of pairs of recordings whose second holds some of the species of the first."""

ONE_SHARED = 0.4
"""Share of those in which it is given one, of whatever rank, instead of each by chance."""

NUMBERED = 0.12
"""Share of questions that say "recording 2" in place of "the second recording"."""

ANAPHORA = re.compile(r"\b(?:it|its|they|them|their|theirs|that|those|these|he|she|one|ones|others?|else)\b")
"""Words that may point back at what was said."""

SLOT_NUMBERS = {slot: number for number, slot in enumerate(SLOTS)}


@dataclass(frozen=True)
class Said:
    """What the last answer of a conversation said.

    Attributes
    ----------
    request : Request
        What it answered.
    answer : str
        With ``<form><slot>`` for names.
    referents : tuple of int
        The animal classes that "it" and "they" mean now.
    form : str
        The form in which they were named, "common" or "scientific".
    """

    request: Request
    answer: str
    referents: tuple[int, ...]
    form: str


class ConversationMaker:
    """Makes later turns of conversations from the questions that a TaskMaker makes."""

    def __init__(self, tasks: TaskMaker) -> None:
        self.tasks = tasks
        self.table = tasks.table
        self.openings = [task for task in FIRST_TURNS if task in tasks.tasks]
        shares = np.array([FIRST_TURNS[task] for task in self.openings])
        self.shares = shares / shares.sum()

    def example(
        self, logits: Logits, rng: np.random.Generator, settings: AnswerSettings | None = None
    ) -> Example:
        """Make a conversation of two to four turns about a window's logits [segments, classes]."""
        settings = settings or self.tasks.settings(rng)
        heard = self.tasks.hear(logits, settings)
        task = self.openings[int(rng.choice(len(self.openings), p=self.shares))]
        query, request = self.tasks.ask(task, heard, settings, rng)
        example = self.tasks.finished(task, [query], request, [logits], settings)
        for _ in range(int(rng.choice([1, 1, 2, 3]))):
            said = self._said(example)
            texts = [*example.texts, answer_text(self.tasks, example)]
            if rng.random() < FULL_QUESTION:
                task, query, request = self._full_question(heard, settings, rng)
                texts = [*texts, led_in(query, rng)]
                example = self.tasks.finished(f"then_{task}", texts, request, [logits], settings)
                continue
            example = self._follow(said, texts, heard, [logits], settings, rng)
        return example

    def _full_question(
        self, heard: Heard, settings: AnswerSettings, rng: np.random.Generator
    ) -> tuple[str, str, Request]:
        """Draw a question that means the same whatever was said before."""
        while True:
            task = self.tasks.draw_task(rng)
            query, request = self.tasks.ask(task, heard, settings, rng)
            unclear = not task.startswith("outside") and ANAPHORA.search(query)
            if not unclear and len(query.split()) > 3:
                return task, query, request

    def _said(self, example: Example) -> Said:
        """Return what an example's answer said."""
        recording = shown(example.context, self.table)[0]
        classes = {item.slot: item.species.class_index for item in recording.animals}
        referents: dict[int, None] = {}
        form = "common"
        for part in example.answer.split("<")[1:]:
            tag = f"<{part.split('>')[0]}>"
            if tag in (FIELD_TAGS["common"], FIELD_TAGS["scientific"]) and not referents:
                form = tag.strip("<>")
            if tag in SLOT_NUMBERS and SLOT_NUMBERS[tag] in classes:
                referents.setdefault(classes[SLOT_NUMBERS[tag]])
        if example.answer == "Yes" and example.request.task == "is_species":
            referents = dict.fromkeys(example.request.classes)
        return Said(example.request, example.answer, tuple(referents), form)

    def _possible(self, said: Said) -> dict[str, float]:
        """Return which elliptical questions make sense after an answer, with their shares."""
        possible = {"follow_outside": 1.0, "follow_repeat": 0.7, "follow_thanks": 0.25}
        asked = said.request.task
        if said.answer == WELCOME:
            return {"follow_outside": 1.0}
        if said.answer in ("Yes", "No") and asked in ("is_species", "is_group", "is_kind"):
            possible |= {"follow_what_about_species": 2.5, "follow_what_about_kind": 2.0}
        named_species = bool(said.referents) and not asked.startswith(
            ("list_genus", "list_family", "list_order", "list_kind")
        )
        if said.answer == NONE and asked.startswith(("focal", "list", "follow")):
            possible |= {
                "follow_scientific": 0.7,
                "follow_common": 0.4,
                "follow_family": 0.5,
            }
        if named_species and (said.answer == "Yes" or "<" in said.answer):
            possible |= {
                "follow_scientific": 2.0,
                "follow_common": 1.0,
                "follow_both": 0.8,
                "follow_genus": 1.0,
                "follow_family": 1.5,
                "follow_order": 1.0,
                "follow_kind": 1.2,
                "follow_is_species": 1.0,
            }
            possible["follow_others"] = 1.5
            if said.answer != "Yes":
                possible["follow_count"] = 0.8
                if len(said.referents) > 1:
                    possible |= {"follow_of_kind": 1.2, "follow_first": 1.0}
                else:
                    possible |= {"follow_second": 1.0, "follow_is_kind": 1.2}
        if asked.startswith(("focal", "list")):
            possible |= {"follow_caption": 1.0, "follow_caption_scientific": 0.7}
        return possible

    def _follow(
        self,
        said: Said,
        texts: list[str],
        heard: Heard,
        windows: Sequence[Logits],
        settings: AnswerSettings,
        rng: np.random.Generator,
    ) -> Example:
        """Make an elliptical question after an answer."""
        possible = self._possible(said)
        shares = np.array(list(possible.values()))
        task = list(possible)[int(rng.choice(len(shares), p=shares / shares.sum()))]
        tasks = self.tasks
        wording = tasks.wording(task, rng, outside=task == "follow_outside")
        classes: Sequence[int] = said.referents
        if SUBJECT.search(wording):
            among = said.referents if task == "follow_is_species" else ()
            wording, classes = tasks.subjects.fill_subject(wording, heard, settings, rng, among)
        query = wording.lower() if task == "follow_thanks" else led_in(wording, rng).lower()
        context = tasks.adapter.context(windows, [*texts, query], settings)
        recording = shown(context, self.table)[0]
        request = tasks.request(task, classes, heard)
        last, ever = slots_with(context, NAMED_LAST), slots_with(context, NAMED_BEFORE)
        named_last = tuple(item.species.class_index for item in recording.animals if item.slot in last)
        new = [item for item in recording.animals if item.slot not in ever]
        reply, request = self._reply(replace(said, referents=named_last), request, recording, new)
        return Example(task, [*texts, query], reply, context, list(windows), request)

    def _reply(
        self, said: Said, request: Request, recording: Shown, new: Sequence[Item]
    ) -> tuple[str, Request]:
        """Return the answer to an elliptical question, and the request that a next turn goes on from.

        ``new`` are the animals that no answer has named yet.
        """
        named_before = recording.of(said.referents)
        forms = (said.form,)
        match request.task:
            case "follow_scientific" | "follow_common" | "follow_genus" | "follow_family" | "follow_order":
                return named(named_before, (request.task.split("_")[1],)), request
            case "follow_kind":
                return named(named_before, ("kind",)), request
            case "follow_both":
                return named(named_before, ("common", "scientific")), request
            case "follow_others":
                return named(new, forms), request
            case "follow_thanks":
                return WELCOME, request
            case "follow_count":
                return str(len(named_before)), request
            case "follow_of_kind":
                return named(
                    [item for item in named_before if item in recording.of(request.classes)], forms
                ), request
            case "follow_first":
                return named(named_before[:1], forms), request
            case "follow_second":
                later = [item for item in recording.animals if item.slot > named_before[0].slot]
                return named(later[:1], forms), request
            case "follow_is_kind" | "follow_is_species":
                return yes_or_no(bool(set(said.referents) & request.classes)), request
            case "follow_what_about_species":
                return yes_or_no(request.heard), replace(request, task="is_species")
            case "follow_what_about_kind":
                return yes_or_no(request.heard), replace(request, task="is_kind")
            case "follow_caption":
                return caption_of(recording, ("common",)), request
            case "follow_caption_scientific":
                return caption_of(recording, ("scientific",)), request
            case "follow_repeat":
                return said.answer, said.request
        return answer(replace(request, task="outside_knowledge"), [recording]), request


class PairMaker:
    """Makes questions about two recordings, some of which come after another."""

    def __init__(self, tasks: TaskMaker) -> None:
        self.tasks = tasks
        self.names = [task for task in load_wordings() if task.startswith("two_") and task != "two_other"]
        shares = np.array([PAIR_SHARES.get(task, 1.0) if tasks.noise else 1.0 for task in self.names])
        self.shares = shares / shares.sum()

    def example(
        self,
        first: Logits,
        second: Logits,
        rng: np.random.Generator,
        settings: AnswerSettings | None = None,
    ) -> Example:
        """Make a conversation about two windows; the second may be given species of the first."""
        tasks = self.tasks
        settings = settings or tasks.settings(rng)
        windows = [first, second]
        if rng.random() < TWO_RECORDINGS_SHARED:
            windows[1] = shared(first, second, tasks.hear(first, settings).passing, rng)
        heard = [tasks.hear(window, settings) for window in windows]
        task, query, request = self._question(heard, settings, rng)
        example = tasks.finished(task, [query], request, windows, settings)
        if rng.random() >= SECOND_QUESTION:
            return example
        texts = [query, answer_text(tasks, example)]
        if "<common>" in example.answer and rng.random() < 0.4:
            return self._about_names(texts, windows, settings, rng)
        if task in OTHER_RECORDING and rng.random() < 0.5:
            query = led_in(tasks.wording("two_other", rng), rng).lower()
            request = replace(request, recording=1 - request.recording)
            return replace(
                tasks.finished(task, [*texts, query], request, windows, settings), task="two_other"
            )
        while True:
            task, query, request = self._question(heard, settings, rng)
            if len(query.split()) > 3:
                return tasks.finished(task, [*texts, led_in(query, rng)], request, windows, settings)

    def _about_names(
        self,
        texts: list[str],
        windows: Sequence[Logits],
        settings: AnswerSettings,
        rng: np.random.Generator,
    ) -> Example:
        """Ask for another name of the species that an answer named."""
        tasks = self.tasks
        task = ABOUT_NAMES[int(rng.integers(len(ABOUT_NAMES)))]
        query = led_in(tasks.wording(task, rng), rng).lower()
        context = tasks.adapter.context(windows, [*texts, query], settings)
        last = slots_with(context, NAMED_LAST)
        items = [item for recording in shown(context, tasks.table) for item in recording.animals]
        again = [item for item in items if item.slot in last]
        form = task.split("_")[1]
        return Example(
            task, [*texts, query], named(again, (form,)), context, list(windows), Request(task, (form,))
        )

    def _question(
        self, heard: Sequence[Heard], settings: AnswerSettings, rng: np.random.Generator
    ) -> tuple[str, str, Request]:
        """Draw a question about two recordings; return its task, it in lower case, and what it asks for."""
        tasks = self.tasks
        task = self.names[int(rng.choice(len(self.names), p=self.shares))]
        recording = int(rng.integers(2))
        wording = tasks.wording(task, rng, outside=task == "two_outside")
        if tasks.noise and rng.random() < NUMBERED:
            wording = numbered(wording, recording, rng)
        wording = wording.replace("{which}", ("first", "second")[recording])
        anywhere = heard[int(rng.integers(2))]
        classes: Sequence[int] = ()
        if SUBJECT.search(wording):
            wording, classes = tasks.subjects.fill_subject(wording, anywhere, settings, rng)
        request = tasks.request(task, classes, heard[recording], recording)
        if task.endswith("scientific"):
            request = replace(request, forms=("scientific",))
        return task, wording.lower(), request


def answer_text(tasks: TaskMaker, example: Example) -> str:
    """Return an example's answer as the user reads it."""
    adapter = tasks.adapter
    return adapter.text(example.context, adapter.tokenizer.encode(example.answer, add_special_tokens=False))


def slots_with(context: PromptContext, feature: int) -> set[int]:
    """Return the slots whose class has a feature (of those that are there or not)."""
    content: SpeciesTokens = context.content
    return set(content.classes[content.features[:, feature] > 0, 0].tolist())


def led_in(query: str, rng: np.random.Generator) -> str:
    """Return a later question, sometimes with a word of reaction before it."""
    if rng.random() < 0.3:
        lead_ins = load_wordings()["lead_ins"]["train"]
        return lead_ins[int(rng.integers(len(lead_ins)))].strip() + " " + query
    return query


def shared(first: Logits, second: Logits, passing: Sequence[int], rng: np.random.Generator) -> Logits:
    """Return the second window with some of the species that pass in the first, at other strengths."""
    mixed = second.copy()
    among = list(passing[:6])
    if among and rng.random() < ONE_SHARED:
        chosen = [among[int(rng.integers(len(among)))]]
    else:
        chosen = [index for index in among if rng.random() < 0.6]
    for index in chosen:
        strength = first[:, index] + rng.normal(0.0, 1.0)
        mixed[:, index] = np.maximum(mixed[:, index], strength[: len(mixed)])
    return mixed
