"""Queries are answered by a name, by a list of names, or by neither."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import NatureLM.training
from NatureLM.errors import ConfigError
from NatureLM.models.label_queries import allows_none, answer_kind, asks_for_one

NAMES = [
    "What is the common name for the focal species in the audio?",
    "What is the scientific name for the focal species in the audio?",
    "What is the taxonomic name of the focal species in the audio? Answer:",
    "What is the genus for the focal species in the audio?",
    "What is the family for the focal species in the audio?",
    "what is the order of the focal species in the audio",
    "<Audio><AudioHere></Audio> What is the common name for the focal species in the audio?\nAnswer:",
    "Which of these is the focal species in the audio? Options: Great Tit, Coal Tit",
    "What species is this?",
    "Which bird is singing?",
    "Which species is calling?",
    "What\u2019s the common name of this animal?",
    "Could you please tell me which species this is?",
    "Who is singing?",
    "Name the focal species.",
    "Identify this animal.",
    "Common name?",
    "Latin name of the caller",
    "Species?",
    "What genus does the caller belong to?",
    "Which family is the focal species from, if any?",
    "Of these, which one is calling? Options: Great Tit, Coal Tit",
]
LISTS = [
    "What are the common names for the species in the audio, if any?",
    "What are the scientific names for the species in the audio, if any? Answer:",
    "<AudioHere>What are the common names for the species in the audio, if any?",
    "Which of these, if any, are present in the audio recording? Great Tit, Coal Tit, Marsh Tit",
    "Which species are present?",
    "List all species in the recording.",
    "Name all the animals that you can hear.",
    "Which animals are calling?",
    "Can you list the scientific names of all species detected?",
    "What species can be heard in this clip, if any?",
    "Species list please",
    "Give the genera present, or none.",
    "Which of these can you hear? Sheep, Goat and kid",
]
NEITHER = [
    "Caption the audio.",
    "Caption the audio, using the scientific name for any animal species.",
    "Is there a bird in the audio? Answer Yes or No.",
    "How many birds are in the audio? Choose between 1, 2, 3 or 4.",
    "What call types are heard from the focal species in the audio?",
    "What is the life stage of the focal species in the audio?",
    "What is the sex of the focal species in the audio?",
    "What is the name of the call type in the audio?",
    "What is the common name for the focal species in the audio, and what is it doing?",
    "Which of these are call types in the audio? song, call",
    "What is the species doing?",
    "Describe the species in the audio.",
    "What is the common and scientific name of the focal species?",
    "What is the common name of the focal species, and its Latin name?",
    "Is the focal species a bird?",
    "Are there birds?",
    "Can you hear any animals?",
    "Tell me if there are any animals.",
    "Animals?",
    "What kind of animal is this?",
    "What colour is the bird?",
    "Who recorded this?",
    "Who made the recording?",
    "What is the file name?",
    "What is the German name of this species?",
    "List the timestamps.",
    "Which species are extinct?",
    "Which species are there besides the focal one?",
    "Where does this species live?",
    "How is this animal called?",
    "Tell me what you hear, with Latin names for the animals.",
    "",
]


@pytest.mark.parametrize("query", NAMES)
def test_names(query: str) -> None:
    assert answer_kind(query) == "name"


@pytest.mark.parametrize("query", LISTS)
def test_lists(query: str) -> None:
    assert answer_kind(query) == "list"


@pytest.mark.parametrize("query", NEITHER)
def test_others_are_refused(query: str) -> None:
    with pytest.raises(ConfigError, match="is not answered by names alone"):
        answer_kind(query)


PUBLISHED = Path(NatureLM.training.__file__).with_name("wordings") / "published.yml"


def test_the_published_prompts() -> None:
    options = "Great Tit, Green-backed Yeti and young, Siren"
    prompts = {
        task: [text.format(options=options, a_kind="a bird") for text in texts]
        for task, texts in yaml.safe_load(PUBLISHED.read_text("utf-8")).items()
    }
    names = {
        "focal_common",
        "focal_scientific",
        "focal_taxonomic",
        "focal_genus",
        "focal_family",
        "focal_order",
    }
    lists = {"list_common", "list_scientific", "which_of"}
    neither = {"caption_plain", "caption_common", "caption_scientific", "is_kind", "outside_knowledge"}
    assert set(prompts) == {*names, "focal_of", *lists, *neither}
    for task, texts in prompts.items():
        for text in texts:
            if task in neither:
                with pytest.raises(ConfigError):
                    answer_kind(text)
            else:
                assert answer_kind(text) == ("list" if task in lists else "name"), text
            assert asks_for_one(text) == task.startswith("focal")


@pytest.mark.parametrize("query", [*NAMES, "What are the common and scientific names of the FOCAL species?"])
def test_candidates_compete_where_one_species_is_asked_for(query: str) -> None:
    assert asks_for_one(query)


@pytest.mark.parametrize(
    "query",
    [
        *LISTS,
        *(query for query in NEITHER if "common and" not in query and "Latin name?" not in query),
        "What do you hear beside the focal species? Are there others?",
    ],
)
def test_candidates_do_not_compete_elsewhere(query: str) -> None:
    assert not asks_for_one(query)


def test_none_is_allowed_by_the_words() -> None:
    assert [allows_none(query) for query in ("Which species, if any?", "A name or None", "Nonet?")] == [
        True,
        True,
        False,
    ]
