"""Rephrasing: the same question in other words, and never another question."""

from __future__ import annotations

import re

import numpy as np
import pytest

from NatureLM.training.phrasing import SAME_MEANINGS, SHORTER, in_context, numbered, rephrase, slip
from NatureLM.training.wordings import draw, load_remarks, load_wordings

PLACEHOLDER = re.compile(r"\{\w+\}")


def rephrased(wording: str, times: int = 400, outside: bool = False) -> set[str]:
    rng = np.random.default_rng(5)
    return {rephrase(wording, rng, outside=outside) for _ in range(times)}


@pytest.mark.parametrize(
    ("wording", "other"),
    [
        ("what is the scientific name?", "what is the latin name?"),
        ("list the common names", "list the vernacular names"),
        ("what is the loudest species?", "what is the main species?"),
        ("which birds are calling?", "which birds are singing?"),
        ("how many species are there?", "what number of species are there?"),
        ("which species are in both recordings?", "which species are in both clips?"),
        ("list the species of the {which} file", "list the species of the {which} recording"),
        ("which species do you hear besides {name}?", "which species can you hear apart from {name}?"),
        ("give me the genus", "state me the genus"),
        ("give the genus of it", "report the genus of it"),
        ("i want to know the family", "i'd like to know the family"),
        ("could you tell me who sings", "do you know who sings"),
        ("name the faintest voice", "name the quietest voice"),
        ("describe the audio", "summarise the audio"),
        ("list all animals", "enumerate all animals"),
        ("what is the order of it?", "what's the order of it?"),
        ("which species are there?", "which spp are there?"),
    ],
)
def test_one_phrase_stands_for_another(wording: str, other: str) -> None:
    assert {wording, other} <= rephrased(wording, times=12_000)


@pytest.mark.parametrize(
    "wording",
    [
        "how many are there?",
        "which is the second loudest?",
        "the two loudest species",
        "is it recalling an owl?",
        "on the list of species is {name}",
        "has it anything to state?",
    ],
)
def test_what_only_looks_like_a_phrase_stays(wording: str) -> None:
    kept = [text for text in rephrased(wording) if wording.rstrip("?") in text]
    others = [text for text in rephrased(wording) if wording.rstrip("?") not in text]
    # Dropped words and slips of the keyboard remain: at most one word in seven sentences.
    assert len(kept) > len(others)
    assert not any(text.startswith("what number") or "second main" in text for text in others)


def test_what_the_model_cannot_know_keeps_its_words() -> None:
    texts = rephrased("is it calling or singing?", outside=True)
    assert not any("vocalising" in text or "giving voice" in text for text in texts)


def test_placeholders_are_never_touched() -> None:
    rng = np.random.default_rng(8)
    tasks = [task for task in load_wordings() if task != "lead_ins"]
    for _ in range(2000):
        wording = draw(str(rng.choice(tasks)), "train", rng)
        assert sorted(PLACEHOLDER.findall(rephrase(wording, rng))) == sorted(PLACEHOLDER.findall(wording))


def test_phrases_of_a_group_are_found_in_their_place() -> None:
    for place, phrases in SAME_MEANINGS:
        assert place.count("%s") == 1
        assert len(set(phrases)) == len(phrases) > 1


def test_what_is_typed_shorter_is_written_in_full_first() -> None:
    for full, short in SHORTER:
        assert all(len(text) < len(full) for text in short) and full not in short


def test_a_remark_stands_before_or_after_the_whole_question() -> None:
    rng = np.random.default_rng(4)
    remarks = load_remarks()
    before = {f"{remark} what is it?" for remark in remarks["before"]}
    after = {f"what is it? {remark}" for remark in remarks["after"]}
    texts = {in_context("what is it?", rng) for _ in range(400)}
    assert texts <= before | after
    assert texts & before and texts & after
    # Options end the question; nothing may look like one more of them.
    assert all(in_context("which of: {options}", rng).endswith("{options}") for _ in range(100))
    assert {in_context("owls", rng) for _ in range(400)} & {f"owls. {remark}" for remark in remarks["after"]}


def test_a_slip_changes_one_letter_of_a_long_word_only() -> None:
    rng = np.random.default_rng(1)
    assert slip("owl", rng) == "owl"
    assert slip("{name}", rng) == "{name}"
    assert {slip("species", rng) for _ in range(200)} >= {"speices", "speces", "speccies"}


def test_recordings_are_numbered() -> None:
    rng = np.random.default_rng(6)
    drawn = {numbered("which species are in the {which} clip?", 1, rng) for _ in range(100)}
    assert drawn == {f"which species are in clip {number}?" for number in ("2", "two", "b", "#2")}
    assert numbered("{which} file: species", 0, rng).split(":")[0] in {
        "file 1",
        "file one",
        "file a",
        "file #1",
    }
    for kept in ("who is in the {which} one?", "the {which}?", "which clip?"):
        assert numbered(kept, 0, rng) == kept
