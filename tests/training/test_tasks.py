"""Questions about single recordings: well formed, and answered with nothing but what passes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from NatureLM.models.adapters.species_tokens import SpeciesTokensAdapter
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.concepts import ConceptType
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import MAX_SPECIES, floor_logit, pooled_logits
from NatureLM.models.vocabulary import FIELD_TAGS, SLOTS
from NatureLM.training.answers import UNKNOWN
from NatureLM.training.tasks import (
    FLOORS,
    KINDS,
    MOST_SPECIES,
    TASK_SHARES,
    Example,
    Heard,
    Logits,
    TaskMaker,
    fill_kind,
    fill_name,
    with_article,
)
from NatureLM.training.wordings import load_wordings

Window = Callable[[dict[str, float]], Logits]

DEFAULTS = AnswerSettings()

SCENE = {"Great Tit": 3.0, "Spring Peeper": 2.0, "Mallard": 1.0, "Engine noise": 2.5, "Tawny Owl": -3.0}
PASSING = ("Great Tit", "Spring Peeper", "Mallard")

NAME = re.compile(r"<([a-z]+)><slot_(\d+)>")

SPEAKING_OF = {
    "is_species": {ConceptType.COMMON, ConceptType.SCIENTIFIC},
    "no_species": {ConceptType.COMMON, ConceptType.SCIENTIFIC},
    "others_than_species": {ConceptType.COMMON, ConceptType.SCIENTIFIC},
    "outside_species": {ConceptType.COMMON, ConceptType.SCIENTIFIC},
    "which_of": {ConceptType.COMMON, ConceptType.SCIENTIFIC},
    "focal_of": {ConceptType.COMMON, ConceptType.SCIENTIFIC},
    "either_or": {ConceptType.COMMON, ConceptType.SCIENTIFIC},
    "is_group": {ConceptType.GROUP},
    "no_group": {ConceptType.GROUP},
    "is_rank": {ConceptType.TAXON},
    "list_of_rank": {ConceptType.TAXON},
    "is_sound": {ConceptType.SOUND},
    **{task: {ConceptType.KIND} for task in ("is_kind", "no_kind", "count_kind", "yes_which_kind")},
    **{task: {ConceptType.KIND} for task in ("focal_common_of_kind", "list_common_of_kind", "either_kind")},
}
"""How the questions of a task speak of what they ask for."""


def index(table: SpeciesTable, name: str) -> int:
    species = table.find(name)
    assert species is not None, name
    return species.class_index


def random_window(table: SpeciesTable, rng: np.random.Generator) -> Logits:
    logits = rng.normal(-9, 0.1, size=(4, len(table))).astype(np.float32)
    logits[:2, rng.integers(len(table), size=6)] = rng.uniform(-3, 4, size=6)
    return logits


def check_names(example: Example, settings: AnswerSettings, table: SpeciesTable) -> None:
    """Check that every name of an answer points at a class that reaches the floor and has such a name."""
    evidence = example.context.content.evidence[0]
    pooled = pooled_logits(example.windows[0])
    for form, slot in NAME.findall(example.answer):
        class_index = evidence[int(slot)].class_index
        assert pooled[class_index] >= floor_logit(settings.min_evidence)
        assert table[class_index].is_animal == (form != "sound")
    rest = NAME.sub("", example.answer)
    assert "<" not in rest, example.answer


@pytest.mark.parametrize("task", TASK_SHARES)
def test_questions_are_whole_and_answers_name_only_what_passes(
    tasks: TaskMaker, table: SpeciesTable, task: str
) -> None:
    rng = np.random.default_rng(len(task))
    for _ in range(25):
        settings = tasks.settings(rng)
        example = tasks.example(random_window(table, rng), rng, task, settings)
        assert example.task == example.request.task == task
        (query,) = example.texts
        assert query == query.lower()
        assert not re.search(r"[{}\[\]|]", query), query
        check_names(example, settings, table)


@pytest.mark.parametrize("task", SPEAKING_OF)
def test_the_model_is_told_of_what_is_asked_for(
    plain_tasks: TaskMaker, window: Window, table: SpeciesTable, task: str
) -> None:
    rng = np.random.default_rng(7)
    for logits in (window(SCENE), random_window(table, rng), random_window(table, rng)):
        for _ in range(15):
            example = plain_tasks.example(logits, rng, task, DEFAULTS)
            (query,) = example.texts
            found = plain_tasks.adapter.finder.find(query)
            meant = {i for concept in found if concept.type in SPEAKING_OF[task] for i in concept.classes}
            assert meant == example.request.classes, query
            if task.startswith(("is_", "no_", "count_", "yes_")):
                reaches = bool((pooled_logits(logits)[sorted(meant)] >= floor_logit(0.25)).any())
                assert example.request.heard == reaches, query


def test_names_that_reach_the_floor_are_told_from_those_that_do_not(
    plain_tasks: TaskMaker, window: Window
) -> None:
    rng = np.random.default_rng(2)
    logits = window(SCENE)
    passing = {index(plain_tasks.table, name) for name in (*PASSING, "engine noise")}
    expected = {True: {"Yes"}, False: {"No"}}
    answers: dict[bool, set[str]] = {True: set(), False: set()}
    for task in ("is_species", "is_group", "is_kind", "is_rank", "is_sound"):
        for _ in range(30):
            example = plain_tasks.example(logits, rng, task, DEFAULTS)
            answers[bool(example.request.classes & passing)].add(example.answer)
    assert answers == expected


def test_denials_are_answered_the_other_way_round(plain_tasks: TaskMaker, window: Window) -> None:
    rng = np.random.default_rng(3)
    passing = {index(plain_tasks.table, name) for name in PASSING}
    answers: dict[bool, set[str]] = {True: set(), False: set()}
    for task in ("no_species", "no_group", "no_kind"):
        for _ in range(30):
            example = plain_tasks.example(window(SCENE), rng, task, DEFAULTS)
            answers[bool(example.request.classes & passing)].add(example.answer)
    assert answers == {True: {"No"}, False: {"Yes"}}


def test_options_hold_right_and_wrong_ones(
    plain_tasks: TaskMaker, window: Window, table: SpeciesTable
) -> None:
    rng = np.random.default_rng(1)
    great_tit = index(table, "Great Tit")
    right = 0
    answers = set()
    for _ in range(60):
        example = plain_tasks.example(window({"Great Tit": 3.0}), rng, "which_of", DEFAULTS)
        assert len(example.request.classes) >= 2
        assert example.request.classes - {great_tit}
        right += great_tit in example.request.classes
        assert (example.answer != "None") == (great_tit in example.request.classes)
        answers.add(example.answer)
    assert 20 <= right <= 58
    assert answers == {"None", "<common><slot_0>", "<scientific><slot_0>"}


def test_two_options_are_two(plain_tasks: TaskMaker, window: Window) -> None:
    rng = np.random.default_rng(4)
    for _ in range(40):
        options = plain_tasks.subjects.draw_options([], rng, two=True)
        assert len(set(options)) == len(options) == 2
        example = plain_tasks.example(window(SCENE), rng, "either_or", DEFAULTS)
        assert len(example.request.classes) == 2


def test_options_that_pass_have_a_place_however_low_they_rank(plain_tasks: TaskMaker, window: Window) -> None:
    rng = np.random.default_rng(5)
    settings = AnswerSettings(max_species=1)
    passing = {index(plain_tasks.table, name) for name in PASSING}
    for _ in range(40):
        example = plain_tasks.example(window(SCENE), rng, "which_of", settings)
        evidence = example.context.content.evidence[0]
        slots = [int(slot) for form, slot in NAME.findall(example.answer)]
        assert {evidence[slot].class_index for slot in slots} == example.request.classes & passing


def test_settings_are_drawn_from_the_whole_range(tasks: TaskMaker) -> None:
    rng = np.random.default_rng(0)
    drawn = [tasks.settings(rng) for _ in range(300)]
    floors = [settings.min_evidence for settings in drawn]
    assert FLOORS[0] <= min(floors) < 0.1
    assert 0.65 < max(floors) <= FLOORS[1]
    assert {settings.max_species for settings in drawn} == set(MOST_SPECIES)
    assert max(MOST_SPECIES) <= MAX_SPECIES


def test_what_is_heard_follows_the_floor(tasks: TaskMaker, window: Window, table: SpeciesTable) -> None:
    logits = window({"Mallard": 0.5, "Great Tit": 2.0, "Tawny Owl": -0.5, "engine noise": 3.0})
    half = tasks.hear(logits, AnswerSettings(min_evidence=0.5))
    assert half.passing == [index(table, "Great Tit"), index(table, "Mallard")]
    assert half.reaches == frozenset({*half.passing, index(table, "engine noise")})
    lower = tasks.hear(logits, AnswerSettings(min_evidence=0.25))
    assert lower.passing == [*half.passing, index(table, "Tawny Owl")]
    assert tasks.hear(logits, AnswerSettings(min_evidence=1.0)) == Heard([], frozenset())


@pytest.mark.parametrize("subject", ["animal", "sound", "taxon"])
def test_unknown_subjects_are_no_classes(plain_tasks: TaskMaker, subject: str) -> None:
    rng = np.random.default_rng(6)
    wording = {"animal": "{a_name}, {name}", "sound": "{a_sound}", "taxon": "{taxon}"}[subject]
    filled = {plain_tasks.subjects.fill_unknown(wording, subject, rng).lower() for _ in range(300)}
    assert len(filled) > 80
    assert [text for text in filled if "{" in text or plain_tasks.adapter.finder.find(text)] == []


def test_what_is_unknown_is_not_told(plain_tasks: TaskMaker, window: Window) -> None:
    rng = np.random.default_rng(8)
    examples = [plain_tasks.example(window(SCENE), rng, "is_unknown") for _ in range(60)]
    assert {example.answer for example in examples} == {UNKNOWN}
    assert {example.request.classes for example in examples} == {frozenset()}
    assert len({example.texts[0] for example in examples}) > 50


def test_either_kind_offers_two_kinds(plain_tasks: TaskMaker, window: Window) -> None:
    rng = np.random.default_rng(9)
    kinds = plain_tasks.adapter.finder.kinds
    pairs = {frozenset(kinds[one] + kinds[other]) for one in KINDS for other in KINDS if one != other}
    for _ in range(30):
        example = plain_tasks.example(window(SCENE), rng, "either_kind", DEFAULTS)
        assert example.request.classes in pairs
        bird = kinds["bird"][0] in example.request.classes
        frog = kinds["frog"][0] in example.request.classes
        expected = "<kind><slot_0>" if bird else "<kind><slot_1>" if frog else "None"
        assert example.answer == expected


def test_two_ranks_are_asked_for_in_their_order(plain_tasks: TaskMaker, window: Window) -> None:
    rng = np.random.default_rng(10)
    nouns = {"genus": "genus", "family": "family", "order": "order"}
    for task in ("focal_ranks", "list_ranks"):
        for _ in range(30):
            example = plain_tasks.example(window({"Great Tit": 3.0}), rng, task, DEFAULTS)
            first, second = example.request.forms
            assert first != second
            assert example.answer == f"<{first}><slot_0> (<{second}><slot_0>)"
            for form in (first, second):
                assert nouns.get(form, form) in example.texts[0] or form in ("common", "scientific")


def test_top_species_gives_as_many_as_the_question_says(plain_tasks: TaskMaker, window: Window) -> None:
    rng = np.random.default_rng(11)
    expected = {"two": "<common><slot_0>, <common><slot_1>"}
    expected["three"] = expected["two"] + ", <common><slot_2>"
    seen = set()
    for _ in range(30):
        example = plain_tasks.example(window(SCENE), rng, "top_species", DEFAULTS)
        number = ("two", "three")[example.request.number - 2]
        assert number in example.texts[0]
        assert example.answer == expected[number]
        seen.add(number)
    assert seen == {"two", "three"}


def test_tasks_are_drawn_by_their_shares(tasks: TaskMaker) -> None:
    rng = np.random.default_rng(12)
    assert tasks.tasks == list(TASK_SHARES)
    counts = Counter(tasks.draw_task(rng) for _ in range(5000))
    total = sum(TASK_SHARES.values())
    for task in ("outside_knowledge", "focal_common", "is_rank"):
        assert counts[task] / 5000 == pytest.approx(TASK_SHARES[task] / total, abs=0.01)


def test_an_example_without_a_task_is_of_any(tasks: TaskMaker, window: Window) -> None:
    rng = np.random.default_rng(13)
    drawn = {tasks.example(window(SCENE), rng).task for _ in range(40)}
    assert len(drawn) > 12
    assert drawn <= set(TASK_SHARES)


def test_one_seed_makes_one_example(tasks: TaskMaker, window: Window) -> None:
    first, again = (tasks.example(window(SCENE), np.random.default_rng(3)) for _ in range(2))
    assert (first.texts, first.answer, first.request) == (again.texts, again.answer, again.request)


def test_held_out_and_free_questions_are_asked_too(
    adapter: SpeciesTokensAdapter, table: SpeciesTable, window: Window
) -> None:
    rng = np.random.default_rng(14)
    held_out = TaskMaker(adapter, table, split="held_out", noise=False)
    assert held_out.tasks == list(TASK_SHARES)
    free = TaskMaker(adapter, table, split="free", noise=False)
    assert free.tasks == list(TASK_SHARES)
    for maker in (held_out, free):
        for task in maker.tasks:
            query = maker.example(window(SCENE), rng, task).texts[0]
            assert "{" not in query, query


def test_a_task_without_wordings_for_a_use_is_not_drawn(
    adapter: SpeciesTokensAdapter, table: SpeciesTable, window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = {**load_wordings(), "top_species": {**load_wordings()["top_species"], "free": []}}
    monkeypatch.setattr("NatureLM.training.tasks.load_wordings", lambda: fewer)
    free = TaskMaker(adapter, table, split="free", noise=False)
    assert free.tasks == [task for task in TASK_SHARES if task != "top_species"]
    with pytest.raises(ValueError, match="high <= 0"):
        free.example(window(SCENE), np.random.default_rng(14), "top_species")


def test_an_unknown_task_is_refused(tasks: TaskMaker, window: Window) -> None:
    with pytest.raises(KeyError, match="nonsense"):
        tasks.example(window(SCENE), np.random.default_rng(0), "nonsense")


def test_every_answer_is_written_with_the_tokens_of_names(tasks: TaskMaker, window: Window) -> None:
    example = tasks.example(window(SCENE), np.random.default_rng(0), "list_both", DEFAULTS)
    assert example.answer == ", ".join(
        f"{FIELD_TAGS['common']}{SLOTS[slot]} ({FIELD_TAGS['scientific']}{SLOTS[slot]})" for slot in range(3)
    )
    ids = tasks.adapter.tokenizer.encode(example.answer, add_special_tokens=False)
    assert tasks.adapter.text(example.context, ids) == (
        "Great Tit (Parus major), Spring Peeper (Pseudacris crucifer), Mallard (Anas platyrhynchos)"
    )


def test_articles() -> None:
    assert with_article("owl") == "an owl"
    assert with_article("Eurasian Blue Tit") == "an Eurasian Blue Tit"
    assert with_article("Great Tit") == "a Great Tit"


def test_names_and_kinds_are_filled_in() -> None:
    assert fill_name("is it {a_name}, any {name}?", "owl") == "is it an owl, any owl?"
    assert fill_name("is it {a_name}?", "Parus major", article=False) == "is it Parus major?"
    assert fill_kind("{a_kind}, {kind}, {kinds}", "insect") == "an insect, insect, insects"


def test_prompts_in_use_are_a_quarter_of_their_tasks_wordings(
    tasks: TaskMaker, plain_tasks: TaskMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("NatureLM.training.tasks.rephrase", lambda wording, *_, **__: wording)
    prompts = {"caption the audio.", "caption the audio"}
    rng = np.random.default_rng(7)
    shares = [
        np.mean([maker.wording("caption_plain", rng) in prompts for _ in range(600)])
        for maker in (tasks, plain_tasks)
    ]
    assert shares[0] == pytest.approx(0.25, abs=0.05)
    assert shares[1] < 0.03  # what measures draws all wordings alike
