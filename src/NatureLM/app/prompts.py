"""The questions that the page offers."""

from __future__ import annotations

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

PUBLISHED_TASKS: tuple[tuple[str, str], ...] = (
    ("Call type", "What call types are heard from the focal species in the audio?"),
    ("Life stage", "What is the life stage of the focal species in the audio?"),
    ("Number of birds", "How many birds are in the audio? Choose between 1, 2, 3 or 4."),
)
"""Tasks that the bundled model is trained to decline."""

DEFAULT_QUERY = TASKS[2][1]

DEFAULT_FLOOR = AnswerSettings().min_evidence


def tasks_of(adapter: str | None) -> list[tuple[str, str]]:
    """Return the tasks that a model with this type of adapter is good for; None: not known yet."""
    return [*TASKS, *(() if adapter in (None, "species_tokens") else PUBLISHED_TASKS)]
