"""The questions that the page offers."""

from __future__ import annotations

from collections.abc import Collection

from NatureLM.models.answering import AnswerSettings

TASKS: tuple[tuple[str, str], ...] = (
    ("Main species, common name", "What is the common name for the focal species in the audio?"),
    ("Main species, scientific name", "What is the scientific name for the focal species in the audio?"),
    ("All species", "What are the common names for the species in the audio, if any?"),
    ("All species, scientific names", "What are the scientific names for the species in the audio, if any?"),
    ("Family", "What is the family of the focal species in the audio?"),
    ("Genus", "What is the genus of the focal species in the audio?"),
    ("Caption", "Caption the audio."),
    ("Caption, scientific names", "Caption the audio, using the scientific name for any animal species."),
    (
        "Which of these?",
        "Which of these, if any, are present in the audio recording? Great Tit, Common Cuckoo",
    ),
    ("Is there a bird?", "Is there a bird in the audio? Answer Yes or No."),
    ("How many species?", "How many species are in the audio?"),
    ("Other sounds", "Which non-animal sounds are heard?"),
)
"""What a task is called, and its prompt."""

RARER_TASKS: tuple[tuple[str, str], ...] = (
    ("Call type", "What call types are heard from the focal species in the audio?"),
    ("Life stage", "What is the life stage of the focal species in the audio?"),
    ("Number of birds", "How many birds are in the audio? Choose between 1, 2, 3 or 4."),
)
"""Tasks that a model may decline; they are offered once it is known that it does not."""

DEFAULT_QUERY = TASKS[2][1]

DEFAULT_FLOOR = AnswerSettings().min_evidence


def tasks_of(declined: Collection[str] | None) -> list[tuple[str, str]]:
    """Return the tasks without those that a model declines (``Adapter.declined_tasks``); None: not known."""
    rarer = () if declined is None else RARER_TASKS
    return [(name, prompt) for name, prompt in (*TASKS, *rarer) if name.lower() not in (declined or ())]
