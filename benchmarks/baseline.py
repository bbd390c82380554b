"""Answers without a language model: the nearest trained wording says what is asked, a template answers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from rapidfuzz import fuzz, process

from NatureLM.models.adapters.species_tokens import SpeciesTokensAdapter
from NatureLM.models.concepts import Concept, ConceptType
from NatureLM.training.answers import UNKNOWN, Request, answer, shown
from NatureLM.training.tasks import FIXED_FORMS, FORMS, RANK_NOUNS, Example
from NatureLM.training.wordings import expand, load_wordings

EXPANSIONS = 3
"""Texts of each pattern that a question is compared with."""

PLACEHOLDERS = {
    ConceptType.COMMON: "{name}",
    ConceptType.SCIENTIFIC: "{name}",
    ConceptType.GROUP: "{name}",
    ConceptType.KIND: "{kind}",
    ConceptType.TAXON: "{taxon}",
    ConceptType.SOUND: "{a_sound}",
}

RANKS = {
    **dict.fromkeys(("common", "english", "everyday", "vernacular"), "common"),
    **dict.fromkeys(("scientific", "latin", "binomial"), "scientific"),
    **dict.fromkeys(("genus", "genera"), "genus"),
    **dict.fromkeys(("family", "families"), "family"),
    **dict.fromkeys(("order", "orders"), "order"),
}


class TemplateBaseline:
    """Answers by the task of the trained wording that is written most like the question.

    Parameters
    ----------
    adapter : SpeciesTokensAdapter
    """

    def __init__(self, adapter: SpeciesTokensAdapter) -> None:
        self.adapter = adapter
        rng = np.random.default_rng(0)
        self.single: list[tuple[str, str]] = []
        self.pairs: list[tuple[str, str]] = []
        for task, splits in load_wordings().items():
            if task.startswith("follow") or task in ("lead_ins", "two_other"):
                continue
            kept = self.pairs if task.startswith("two_") else self.single
            for pattern in splits["train"]:
                for _ in range(EXPANSIONS if "[" in pattern else 1):
                    kept.append((self._plain(expand(pattern, rng)), task))

    def _plain(self, wording: str) -> str:
        """Return a wording with one sort of placeholder for each sort of thing."""
        for old, new in (
            ("{a_name}", "{name}"),
            ("{a_first}", "{name}"),
            ("{a_second}", "{name}"),
            ("{first_name}", "{name}"),
            ("{second_name}", "{name}"),
            ("{options}", "{name}, {name}, {name}"),
            ("{a_kind}", "{kind}"),
            ("{kinds}", "{kind}"),
            ("{a_other_kind}", "{kind}"),
            ("{other_kind}", "{kind}"),
        ):
            wording = wording.replace(old, new)
        return wording

    def _masked(self, query: str, concepts: Sequence[Concept]) -> str:
        """Return a question with placeholders for what it speaks of."""
        for concept in reversed(concepts):
            query = query[: concept.start] + PLACEHOLDERS[concept.type] + query[concept.end :]
        return query

    def answers(self, examples: Sequence[Example]) -> list[str]:
        """Return the answers; a follow-up is taken for a question by itself, as there is no memory."""
        found = [self.adapter.finder.find(example.texts[-1]) for example in examples]
        masked = [
            self._masked(example.texts[-1], concepts)
            for example, concepts in zip(examples, found, strict=True)
        ]
        tasks = [""] * len(examples)
        for known, recordings in ((self.single, 1), (self.pairs, 2)):
            places = [place for place, example in enumerate(examples) if len(example.windows) == recordings]
            for first in range(0, len(places), 200):
                part = places[first : first + 200]
                likeness = process.cdist(
                    [masked[place] for place in part],
                    [text for text, _ in known],
                    scorer=fuzz.token_sort_ratio,
                    dtype=np.uint8,
                )
                for place, row in zip(part, likeness, strict=True):
                    tasks[place] = known[int(row.argmax())][1]
        return [
            self._fill(task, example, concepts)
            for task, example, concepts in zip(tasks, examples, found, strict=True)
        ]

    def _fill(self, task: str, example: Example, concepts: Sequence[Concept]) -> str:
        """Return the template of a task, filled from what is shown."""
        adapter, query = self.adapter, example.texts[-1]
        recordings = shown(example.context, adapter.table)
        # A name that no table holds: nothing can be said of it.
        if not concepts and task in ("is_species", "is_sound", "is_rank", "list_of_rank", "no_species"):
            return UNKNOWN
        classes = frozenset(index for concept in concepts for index in concept.classes)
        heard = any(mark.content[1] > 1 for mark in example.context.marks[-1])
        recording = 1 if "second" in query else 0
        form = task.split("_")[1]
        forms = FIXED_FORMS.get(form, (form if form in FORMS else "common",))
        if task in ("which_of", "focal_of", "either_or"):
            scientific = any(concept.type is ConceptType.SCIENTIFIC for concept in concepts)
            forms = ("scientific",) if scientific else ("common",)
        elif task.endswith("ranks"):
            ranks = [RANKS[word] for word in re.findall("[a-z]+", query.lower()) if word in RANKS]
            asked = list(dict.fromkeys(ranks))[:2]
            forms = tuple(rank for rank in RANK_NOUNS if rank in asked) or ("common",)
        elif task == "either_kind":
            forms = ("kind",)
        elif task == "focal_kind":
            classes = frozenset()  # kinds in the question are examples
        elif task.endswith("scientific"):
            forms = ("scientific",)
        number = 3 if "three" in query else 2
        request = Request(task, forms, classes, heard, number, recording)
        ids = adapter.tokenizer.encode(answer(request, recordings), add_special_tokens=False)
        return adapter.text(example.context, ids)
