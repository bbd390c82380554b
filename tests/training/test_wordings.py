"""The wordings of the question tasks: enough of them, well formed, each with one right task."""

from __future__ import annotations

import re
from collections import Counter
from importlib import resources

import pytest
import yaml

LEAST_TRAIN, LEAST_HELD_OUT = 40, 8
MANY_TRAIN, MANY_HELD_OUT = 60, 12
SPLITS = ("train", "held_out")

PLAIN_TASKS = (
    "focal_common",
    "focal_scientific",
    "focal_both",
    "focal_genus",
    "focal_family",
    "focal_order",
    "focal_taxonomic",
    "focal_kind",
    "list_common",
    "list_scientific",
    "list_both",
    "list_genus",
    "list_family",
    "list_kind",
    "caption_plain",
    "caption_common",
    "caption_scientific",
    "is_animal",
    "count_species",
    "non_animal",
    "outside_knowledge",
)
PLACEHOLDERS = {
    **{task: frozenset[str]() for task in PLAIN_TASKS},
    "which_of": frozenset({"{options}"}),
    "focal_of": frozenset({"{options}"}),
    "is_kind": frozenset({"{kind}", "{a_kind}", "{kinds}"}),
    "is_species": frozenset({"{name}", "{a_name}"}),
    "outside_species": frozenset({"{name}", "{a_name}"}),
    "focal_common_of_kind": frozenset({"{kind}", "{a_kind}"}),
    "list_common_of_kind": frozenset({"{kind}", "{kinds}"}),
}

PUBLISHED = [
    ("caption_plain", "Caption the audio."),
    ("caption_common", "Caption the audio, using the common name for any animal species."),
    ("caption_scientific", "Caption the audio, using the scientific name for any animal species."),
    ("focal_common", "What is the common name for the focal species in the audio?"),
    ("focal_scientific", "What is the scientific name for the focal species in the audio?"),
    ("focal_taxonomic", "What is the taxonomic name for the focal species in the audio?"),
    ("focal_genus", "What is the genus for the focal species in the audio?"),
    ("focal_family", "What is the family for the focal species in the audio?"),
    ("list_common", "What are the common names for the species in the audio, if any?"),
    ("which_of", "Which of these, if any, are present in the audio recording? {options}"),
    ("focal_of", "Which of these is the focal species in the audio? Options: {options}"),
    ("is_kind", "Is there {a_kind} in the audio? Answer Yes or No."),
    ("outside_knowledge", "What call types are heard from the focal species in the audio?"),
    ("outside_knowledge", "What is the life stage of the focal species in the audio?"),
    ("outside_knowledge", "How many birds are in the audio? Choose between 1, 2, 3 or 4."),
]
"""Prompts in use with the published model."""

Wordings = dict[str, dict[str, list[str]]]


@pytest.fixture(scope="module")
def wordings() -> Wordings:
    text = resources.files("NatureLM.training").joinpath("wordings.yml").read_text(encoding="utf-8")
    loaded: Wordings = yaml.safe_load(text)
    return loaded


def every_wording(wordings: Wordings) -> list[tuple[str, str, str]]:
    """Return (task, split, wording) of every wording."""
    return [(task, split, text) for task in wordings for split in SPLITS for text in wordings[task][split]]


def least_counts(task: str) -> tuple[int, int]:
    if task == "outside_knowledge":
        return 150, 40
    many = task in ("is_kind", "is_species") or task.startswith(("which_", "list_"))
    return (MANY_TRAIN, MANY_HELD_OUT) if many else (LEAST_TRAIN, LEAST_HELD_OUT)


def test_every_task_is_there(wordings: Wordings) -> None:
    assert set(wordings) == set(PLACEHOLDERS)
    assert all(set(splits) == set(SPLITS) for splits in wordings.values())


@pytest.mark.parametrize("task", PLACEHOLDERS)
def test_counts(wordings: Wordings, task: str) -> None:
    least_train, least_held_out = least_counts(task)
    assert len(wordings[task]["train"]) >= least_train
    assert len(wordings[task]["held_out"]) >= least_held_out


def test_wordings_are_clean_text(wordings: Wordings) -> None:
    # yaml reads an unquoted "Yes" or "12:30" as something other than text
    assert [entry for entry in every_wording(wordings) if not isinstance(entry[2], str)] == []
    unclean = [
        entry
        for entry in every_wording(wordings)
        if not (entry[2].isascii() and entry[2].isprintable() and entry[2] == " ".join(entry[2].split()))
        or entry[2].lower().endswith("answer:")
    ]
    assert unclean == []


def test_placeholders(wordings: Wordings) -> None:
    for task, split, text in every_wording(wordings):
        found = re.findall(r"\{[^{}]*\}", text)
        assert set(found) <= PLACEHOLDERS[task], (task, split, text)
        assert not re.search(r"[{}]", re.sub(r"\{[^{}]*\}", "", text)), (task, split, text)
        if PLACEHOLDERS[task]:
            assert found, (task, split, text)
        if task in ("which_of", "focal_of", "is_species", "is_kind"):
            assert len(found) == 1, (task, split, text)


def test_each_placeholder_is_trained_and_held_out(wordings: Wordings) -> None:
    for task, placeholders in PLACEHOLDERS.items():
        for split in SPLITS:
            for placeholder in placeholders:
                assert any(placeholder in text for text in wordings[task][split]), (task, split, placeholder)


def test_no_wording_twice(wordings: Wordings) -> None:
    counts = Counter(text.lower() for _, _, text in every_wording(wordings))
    assert [text for text, count in counts.items() if count > 1] == []


def test_tasks_and_splits_differ_in_more_than_punctuation(wordings: Wordings) -> None:
    # the trainer drops final punctuation and adds "please" at random, so these must not carry the difference
    places: dict[str, set[tuple[str, str]]] = {}
    for task, split, text in every_wording(wordings):
        words = [word for word in re.findall(r"[a-z0-9_{}]+", text.lower()) if word != "please"]
        places.setdefault(" ".join(words), set()).add((task, split))
    assert {words: where for words, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize(("task", "prompt"), PUBLISHED)
def test_published_prompts_are_trained_word_for_word(wordings: Wordings, task: str, prompt: str) -> None:
    assert prompt in wordings[task]["train"]
