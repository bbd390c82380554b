"""The patterns of questions: enough of them, well formed, and none held out that is trained on."""

from __future__ import annotations

import re
from functools import cache
from itertools import islice

import numpy as np
import pytest

from NatureLM.models.concepts import ConceptFinder
from NatureLM.models.species import SpeciesTable
from NatureLM.training.tasks import BORROWED_WORDINGS, TASK_SHARES, UNKNOWN_SUBJECTS
from NatureLM.training.wordings import (
    Split,
    draw,
    expand,
    expansions,
    is_trained,
    load_remarks,
    load_things,
    load_wordings,
    trained_forms,
)

SPLITS: tuple[Split, ...] = ("train", "held_out", "free")
LEAST_TRAINED = 30
LEAST_HELD_OUT = 4

KIND = frozenset({"{kind}", "{a_kind}", "{kinds}"})
NAME = frozenset({"{name}", "{a_name}"})
OPTIONS, TAXON, WHICH = frozenset({"{options}"}), frozenset({"{taxon}"}), frozenset({"{which}"})

ONE_OF: dict[str, list[frozenset[str]]] = {
    "which_of": [OPTIONS],
    "focal_of": [OPTIONS],
    "either_or": [frozenset({"{a_first}", "{first_name}"}), frozenset({"{a_second}", "{second_name}"})],
    "either_kind": [KIND, frozenset({"{a_other_kind}", "{other_kind}"})],
    "focal_ranks": [frozenset({"{first}"}), frozenset({"{second}"})],
    "list_ranks": [frozenset({"{first}"}), frozenset({"{second}"})],
    "is_rank": [TAXON],
    "list_of_rank": [TAXON],
    "is_sound": [frozenset({"{a_sound}"})],
    "top_species": [frozenset({"{n}"})],
    **{task: [NAME] for task in ("is_species", "no_species", "others_than_species", "outside_species")},
    **{task: [NAME] for task in ("follow_is_species", "follow_what_about_species", "two_where_species")},
    **{task: [KIND] for task in ("focal_common_of_kind", "list_common_of_kind", "is_kind", "no_kind")},
    **{task: [KIND] for task in ("yes_which_kind", "count_kind", "outside_kind", "two_where_kind")},
    **{task: [KIND] for task in ("follow_of_kind", "follow_is_kind", "follow_what_about_kind")},
    **{task: [WHICH] for task in ("two_focal_common", "two_focal_scientific", "two_list_common")},
    **{task: [WHICH] for task in ("two_list_scientific", "two_only", "two_count", "two_caption")},
    "two_list_of_kind": [KIND, WHICH],
    "two_only_of_kind": [KIND, WHICH],
    "two_shared_of_kind": [KIND],
    "two_is_species": [NAME, WHICH],
    "two_is_kind": [KIND, WHICH],
}
"""For each task the sets of placeholders of which every wording holds one or more; others have none."""

OF_A_KIND = ("focal_both", "focal_genus", "focal_family", "focal_order", "focal_scientific")
"""Tasks of which some wordings ask about a kind of animals."""

PUBLISHED = [
    ("caption_plain", "Caption the audio."),
    ("caption_common", "Caption the audio, using the common name for any animal species."),
    ("caption_scientific", "Caption the audio, using the scientific name for any animal species."),
    ("focal_common", "What is the common name for the focal species in the audio?"),
    ("focal_scientific", "What is the scientific name for the focal species in the audio?"),
    ("focal_taxonomic", "What is the taxonomic name for the focal species in the audio?"),
    ("focal_genus", "What is the genus for the focal species in the audio?"),
    ("focal_family", "What is the family for the focal species in the audio?"),
    ("focal_order", "What is the order for the focal species in the audio?"),
    ("list_common", "What are the common names for the species in the audio, if any?"),
    ("list_scientific", "What are the scientific names for the species in the audio, if any?"),
    ("which_of", "Which of these, if any, are present in the audio recording? {options}"),
    ("focal_of", "Which of these is the focal species in the audio? Options: {options}"),
    ("is_kind", "Is there {a_kind} in the audio? Answer Yes or No."),
    ("outside_knowledge", "What call types are heard from the focal species in the audio?"),
    ("outside_knowledge", "What is the life stage of the focal species in the audio?"),
    ("outside_knowledge", "How many birds are in the audio? Choose between 1, 2, 3 or 4."),
]
"""Prompts in use with the published model."""

ASKED = sorted(load_wordings())
WITHOUT_FREE = sorted(task for task in ASKED if not load_wordings()[task]["free"])


@cache
def trained_texts(task: str) -> frozenset[str]:
    """Return every text that the trained patterns of a task stand for."""
    return frozenset(text for pattern in load_wordings()[task]["train"] for text in expansions(pattern))


def all_texts(task: str) -> list[str]:
    patterns = [pattern for split in SPLITS for pattern in load_wordings()[task][split]]
    return [text for pattern in patterns for text in expansions(pattern)]


def test_every_task_has_patterns_and_no_others_are_there() -> None:
    own = set(TASK_SHARES) - set(BORROWED_WORDINGS) - {"is_unknown"}
    turns = {task for task in ASKED if task.startswith(("follow_", "two_"))}
    assert set(ASKED) == own | turns | {"lead_ins"}
    assert len(turns) == 21 + 22
    borrowed = {source for sources in BORROWED_WORDINGS.values() for source in sources}
    assert borrowed | set(UNKNOWN_SUBJECTS) <= set(ASKED)


DASH_AND_SETS = "[\u2013\u222a\u2229]"


@pytest.mark.parametrize("task", ASKED)
def test_counts(task: str) -> None:
    patterns = load_wordings()[task]
    assert len(patterns["train"]) >= LEAST_TRAINED
    assert len(patterns["held_out"]) >= LEAST_HELD_OUT
    untrained = [p for p in patterns["held_out"] if not set(expansions(p)) <= trained_texts(task)]
    assert len(untrained) >= LEAST_HELD_OUT
    assert not set(patterns["train"]) & set(patterns["held_out"])


@pytest.mark.parametrize("task", ASKED)
def test_patterns_are_clean_text(task: str) -> None:
    patterns = [pattern for split in SPLITS for pattern in load_wordings()[task][split]]
    for pattern in patterns:
        assert (pattern.isascii() or set(pattern) & set("\u2013\u222a\u2229")) and pattern.isprintable(), (
            pattern
        )
        assert pattern == " ".join(pattern.lower().split()), pattern
        outside = re.sub(r"\[[^\[\]]*\|[^\[\]]*\]", "", pattern)
        # A bar by itself, between spaces, is one of a table's.
        assert not re.search(r"[\[\]]|\S\||\|\S", outside), pattern
        assert not re.search(r"[{}]", re.sub(r"\{[a-z_]+\}", "", pattern)), pattern
        for text in islice(expansions(pattern), 400):
            assert text and "  " not in text, pattern


@pytest.mark.parametrize("task", ASKED)
def test_placeholders(task: str) -> None:
    needed = ONE_OF.get(task, [])
    allowed = frozenset[str]().union(*needed) | (KIND if task in OF_A_KIND else frozenset())
    allowed |= WHICH if task == "two_outside" else frozenset()  # about one of them, or about both
    for text in all_texts(task):
        found = set(re.findall(r"\{[^{}]*\}", text))
        assert found <= allowed, text
        assert all(found & placeholders for placeholders in needed), text


@pytest.mark.parametrize("task", OF_A_KIND)
def test_names_of_a_kind_are_asked_for_too(task: str) -> None:
    of_a_kind = [text for text in all_texts(task) if "kind}" in text]
    assert 30 <= len(of_a_kind) < len(all_texts(task)) / 2


def test_no_text_is_two_tasks_about_one_recording() -> None:
    places: dict[str, set[str]] = {}
    for task in set(ASKED) & set(TASK_SHARES):
        for text in all_texts(task):
            # Final punctuation and "please" come and go at random, so they cannot tell tasks apart.
            words = [word for word in re.findall(r"[a-z0-9_{}]+", text) if word != "please"]
            places.setdefault(" ".join(words), set()).add(task)
    assert {words: where for words, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize(("task", "prompt"), PUBLISHED)
def test_published_prompts_are_trained_word_for_word(task: str, prompt: str) -> None:
    assert prompt.lower() in load_wordings()[task]["train"]
    assert trained_forms(task).fullmatch(prompt.lower())


@pytest.mark.parametrize("task", ASKED)
def test_what_is_never_trained_on_is_never_drawn_as_trained(task: str) -> None:
    for split in SPLITS[1:]:
        if load_wordings()[task][split]:
            rng = np.random.default_rng(0)
            drawn = {draw(task, split, rng) for _ in range(60)}
            assert len(drawn) >= LEAST_HELD_OUT
            assert not drawn & trained_texts(task)
            assert [text for text in drawn if is_trained(task, text)] == []


@pytest.mark.parametrize("task", ASKED)
def test_trained_wordings_are_texts_of_trained_patterns(task: str) -> None:
    rng = np.random.default_rng(1)
    drawn = [draw(task, "train", rng) for _ in range(60)]
    assert set(drawn) <= trained_texts(task)
    assert all(trained_forms(task).fullmatch(text) for text in drawn)


@pytest.mark.parametrize("task", WITHOUT_FREE[:3])
def test_a_use_without_patterns_is_refused(task: str) -> None:
    with pytest.raises(KeyError, match=f"{task} has no free wordings"):
        draw(task, "free", np.random.default_rng(0))


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        draw("nonsense", "train", np.random.default_rng(0))


def test_a_pattern_stands_for_its_choices() -> None:
    pattern = "[is|was] it [ here|]?"
    texts = ["is it here?", "is it ?", "was it here?", "was it ?"]
    assert list(expansions(pattern)) == texts
    rng = np.random.default_rng(0)
    assert {expand(pattern, rng) for _ in range(60)} == set(texts)
    assert list(expansions("plain {name}")) == ["plain {name}"]
    assert expand("[|well] no  [gaps|]", np.random.default_rng(2)) in {
        "no gaps",
        "no",
        "well no gaps",
        "well no",
    }


def test_trained_forms_match_nothing_else() -> None:
    forms = trained_forms("focal_common")
    assert forms.fullmatch("what is the common name for the focal species in the audio?")
    assert not forms.fullmatch("what is the common name for the focal species in the audio? now")
    assert not forms.fullmatch("what is the scientific name for the focal species in the audio?")


def test_a_mark_at_the_end_makes_no_other_wording() -> None:
    text = "what is the common name for the focal species in the audio"
    assert all(is_trained("focal_common", text + end) for end in ("", "?", ".", " ?", "?!"))
    assert not is_trained("focal_common", text + "? now")


def test_things_are_no_classes_of_the_encoder() -> None:
    finder = ConceptFinder(SpeciesTable.load())
    assert finder.find("great tit")
    for split in ("train", "held_out"):
        for what, names in load_things(split).items():
            for name in names:
                assert finder.find(name.lower()) == [], name
                if what == "unheard_taxa":
                    assert finder.find(f"genus {name.lower().split()[0]}") == [], name


def test_things_are_split_without_overlap() -> None:
    train, held_out = load_things("train"), load_things("held_out")
    assert set(train) == set(held_out) == {"unheard_animals", "unheard_sounds", "unheard_taxa"}
    for what, names in train.items():
        assert len(names) == len(set(names)) >= 100
        assert held_out[what]
        assert not {name.lower() for name in names} & {name.lower() for name in held_out[what]}


def test_remarks_ask_nothing_and_name_nothing() -> None:
    finder = ConceptFinder(SpeciesTable.load())
    remarks = load_remarks()
    assert len(remarks["before"]) >= 200 and len(remarks["after"]) >= 100
    for place, texts in remarks.items():
        assert len(set(texts)) == len(texts)
        for text in texts:
            assert text.isascii() and text == " ".join(text.lower().split()) and "?" not in text, text
            assert not set(text) & set("[]{}|"), text
            assert not finder.find(text), text
            assert place == "after" or text.endswith((".", "!", ":", ",")), text
