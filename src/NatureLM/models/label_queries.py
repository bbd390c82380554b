"""Which questions are answered by one name, which by a list of names, and which by neither."""

from __future__ import annotations

import re

from NatureLM.errors import ConfigError
from NatureLM.models.label_rules import AnswerKind
from NatureLM.models.processing import AUDIO_TAGS

_RANK = r"(?:common|scientific|taxonomic|latin|english|species)"
_NOUN = r"(?:names?|species|genus|genera|famil(?:y|ies)|orders?|animals?|birds?)"

_NAME_QUESTION = re.compile(
    rf"(?:what(?: is|'s) the (?:{_RANK} )*(?:name|species|genus|family|order)"
    r"(?: (?:of|for) (?:the )?(?:focal |main |dominant |loudest )?(?:species|animal|bird|individual)\b.*"
    r"| (?:in|on|heard|present)\b.*)?"
    r"|(?:which|what) (?:species|animal|bird|genus|family|order) (?:is|does|makes|can|calls|sings)\b.*"
    r"|which of these is the (?:focal )?(?:species|animal|bird)\b.*)"
)
"""As in "What is the common name for the focal species in the audio?"."""

_LIST_QUESTION = re.compile(
    rf"(?:what are the (?:{_RANK} )*(?:names|species|genera|families|orders)\b.*"
    rf"|(?:which|what) (?:species|animals|birds|genera|families|orders) are\b.*"
    rf"|which of these(?:, if any,)? are (?:present|heard|audible|in)\b.*"
    rf"|(?:list|name|identify) (?:all |all of )?(?:the )?(?:{_RANK} )*{_NOUN}\b.*)"
)
"""As in "What are the common names for the species in the audio, if any?"."""

_OR_NONE = re.compile(r"\b(?:if any|none)\b")
"""Words by which a question for one name may be answered None."""

_NEITHER = re.compile(
    r"\b(?:yes or no|how many|number of|call types?|song types?|life ?stages?|sex(?:es)?|doing|ages?)\b"
)
"""Words by which a question asks for something else, or for something more."""


def answer_kind(query: str) -> AnswerKind:
    """Return whether a query is answered by one name or by a list of names.

    Parameters
    ----------
    query : str
        With its ``<AudioHere>`` and "Answer:" at the end, or without.

    Returns
    -------
    "name" or "list"

    Raises
    ------
    ConfigError
        For captions, yes or no, counts and whatever else is not answered by names alone.
    """
    words = _words(query)
    words = words.removesuffix("answer:").strip()
    question = words.partition("options:")[0].partition("?")[0].strip(" .")
    if not _NEITHER.search(words):
        if _NAME_QUESTION.fullmatch(question):
            return "name"
        if _LIST_QUESTION.fullmatch(question):
            return "list"
    raise ConfigError(
        f"The query {query.strip()!r} is not answered by names alone, so a list of names cannot hold its "
        "answer; ask for example 'What is the common name for the focal species in the audio?' or 'What are "
        "the common names for the species in the audio, if any?', or leave the list out."
    )


def allows_none(query: str) -> bool:
    """Return whether a question's own words allow the answer None.

    Examples
    --------
    >>> allows_none("What is the common name for the focal species in the audio, if any?")
    True
    """
    return _OR_NONE.search(_words(query)) is not None


def _words(query: str) -> str:
    return " ".join(AUDIO_TAGS.sub(" ", query).lower().split())
