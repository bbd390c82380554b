"""Queries are answered by a name, by a list of names, or by neither."""

from __future__ import annotations

import pytest

from NatureLM.errors import ConfigError
from NatureLM.models.label_queries import answer_kind

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
]
LISTS = [
    "What are the common names for the species in the audio, if any?",
    "What are the scientific names for the species in the audio, if any? Answer:",
    "<AudioHere>What are the common names for the species in the audio, if any?",
    "Which of these, if any, are present in the audio recording? Great Tit, Coal Tit, Marsh Tit",
    "Which species are present?",
    "List all species in the recording.",
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
