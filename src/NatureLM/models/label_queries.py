"""Which questions are answered by one name, which by a list of names, and which by neither.

Their words decide, so that they are known in many wordings, the published prompts among them. A question with
a word that questions for names do not have is taken for none of them.
"""

from __future__ import annotations

import re

from NatureLM.errors import ConfigError
from NatureLM.models.audio_tags import AUDIO_TAGS
from NatureLM.models.label_rules import AnswerKind

_LITTLE_WORDS = (
    "a all an and answer any are as at audible be been by can common could d detect detected "
    "determine did do does each english every everyday for from give guess had has have hear "
    "heard here i id identify if in is it its just know label latin like list listed m make makes "
    "making me most my name names need none of on one ones only or out output pick please present "
    "provide re recognise recognize report s say scientific single state taxonomic tell that the "
    "there these this those to us using vernacular want was were what whats which who whose with "
    "would write you your"
)
_ANIMAL_WORDS = (
    "animal animals binomial bird birds caller callers creature creatures dominant families "
    "family focal foreground frog frogs genera genus insect insects loudest main mammal mammals "
    "order orders predominant prominent singer singers species strongest taxa taxon"
)
_SOUND_WORDS = (
    "audio belong belongs call called calling calls captured clearly clip come comes file heard "
    "known made produced produces producing recorded recording recordings sample segment sing "
    "singing sings song sound sounds soundscape track vocalisation vocalise vocalises vocalising "
    "vocalization vocalize vocalizes vocalizing voice window"
)
_KNOWN_WORDS = frozenset(f"{_LITTLE_WORDS} {_ANIMAL_WORDS} {_SOUND_WORDS}".split())
"""What questions for names are made of: whatever else one holds, it asks for something else or for more."""

_ASKS = re.compile(
    r"\b(?:what|whats|which|who|whose|names?|identify|id|list|give|tell|say|state|report|provide|determine"
    r"|output|label|pick|need|want|like|species|binomial|genus|genera|family|families|orders?|taxa|taxon)\b"
)
"""One of these every question for names has."""

_AND = re.compile(
    r"\band\b(?! (?:tell|give|name|list|identify|say|report|write)\b)|\bor\b(?! none\b)|[+(/]"
    r"|\b(?:common|english|vernacular|everyday)\b.*\b(?:scientific|latin|binomial|taxonomic)\b"
    r"|\b(?:scientific|latin|binomial|taxonomic)\b.*\b(?:common|english|vernacular|everyday)\b"
)
"""As in "common and scientific names": an answer then holds more than its names."""

_NOT_NAMES = re.compile(
    r"\bnames? (?:of|for) (?:the |this |that )?"
    r"(?:call|song|sound|file|clip|recording|audio|track|sample|voice)\b"
    r"|\b(?:file|clip|recording|track|song|call|sound) names?\b|\bwhat (?:you hear|is heard)\b"
    r"|\bif (?:there|any animal|an animal)\b|\bwhat is an?\b|\bwho (?:has |have |had )?"
    r"(?:recorded|captured|are you|made (?:the |this )?(?:audio|clip|file|recording|you))\b"
)
"""Words of questions for names that are no animal's, and for something else."""

_YES_OR_NO = re.compile(
    r"(?:is|are|was|were|does|did|has|have|had|any|would"
    r"|do(?! you (?:know|recogni[sz]e) (?:which|what|who|the))"
    r"|(?:can|could)(?! you (?:please )?"
    r"(?:tell|give|name|list|identify|say|id|provide|report|recogni[sz]e)\b))\b"
)
"""How a question begins that is answered Yes or No."""

_SEVERAL = re.compile(
    r"\b(?:names|genera|families|orders|animals|birds|frogs|insects|mammals|creatures|taxa|callers|singers"
    r"|list|every|each|all|species (?:are|were|have|can be|can you|do|did(?! th)))\b"
)
"""Words of a question for a list."""

_ONE = re.compile(
    r"\b(?:name (?:of|for)|(?:common|scientific|taxonomic|latin|english|vernacular) name|binomial"
    r"|genus|family|order|taxon|focal|main|dominant|predominant|loudest|strongest|prominent|single"
    r"|animal|bird|frog|insect|mammal|creature|caller|singer|whose (?:call|song|sound|voice)"
    r"|species (?:is|was|does|calls|sings|makes|made|produces|produced|vocali[sz]es|has)|this species"
    r"|who(?:'s| is| was)? (?:singing|calling|vocali[sz]ing|sings|calls|making|makes|made|this|that)"
    r"|(?:of|from) (?:what|which) species|species (?:(?:this|it) is|called|that is)"
    r"|^(?:(?:what|which) )?species$)\b"
)
"""Words of a question for one name."""

_SPECIES = re.compile(r"\bspecies\b")
_OF_OPTIONS = re.compile(r"\bof these\b")
_ONE_OF_OPTIONS = re.compile(
    r"\bone of these\b|\bof these (?:is|was|sings|calls|does|makes|made)\b|\bof these\b.*\bwhich (?:one|is)\b"
    r"|\bwhich (?:one|is)\b.*\bof these\b"
)

_OR_NONE = re.compile(r"\b(?:if any|none)\b")
"""Words by which a question for one name may be answered None."""

_FOCAL = re.compile(r"\bfocal\b")
"""The word of the published prompts for one species."""

_NOT_ITS_NAMES = re.compile(
    r"\b(?:others?|else|besides|beyond|apart|except|than|names are|species are"
    r"|calls?|how|same|sex|stage|age|doing)\b"
)
"""Words by which a question with *focal* is about other species, or about something else than names."""


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
    kind = _kind(query)
    if kind is None:
        raise ConfigError(
            f"The query {query.strip()!r} is not answered by names alone, so a list of names cannot hold its "
            "answer; ask for example 'What is the common name for the focal species in the audio?' or 'What "
            "are the common names for the species in the audio, if any?', or leave the list out."
        )
    return kind


def asks_for_one(query: str) -> bool:
    """Return whether candidates compete for the answer, as one species is asked for.

    That is so for questions for one name, and for others with the word *focal*, such as for both of its
    names. Other questions may have several answers, so that each candidate is scored by itself.

    Examples
    --------
    >>> asks_for_one("What is the common name for the focal species in the audio?")
    True
    >>> asks_for_one("Which bird is singing?")
    True
    >>> asks_for_one("What are the common names for the species in the audio, if any?")
    False
    """
    kind = _kind(query)
    if kind is not None:
        return kind == "name"
    question = _question(query)
    return _FOCAL.search(question) is not None and not (
        _NOT_ITS_NAMES.search(question) or _YES_OR_NO.match(question)
    )


def allows_none(query: str) -> bool:
    """Return whether a question's own words allow the answer None.

    Examples
    --------
    >>> allows_none("What is the common name for the focal species in the audio, if any?")
    True
    """
    return _OR_NONE.search(_words(query)) is not None


def _kind(query: str) -> AnswerKind | None:
    question = _question(query)
    if not _KNOWN_WORDS.issuperset(re.findall(r"\w+", question)) or _YES_OR_NO.match(question):
        return None
    if _AND.search(question) or _NOT_NAMES.search(question) or not _ASKS.search(question):
        return None
    if _ONE_OF_OPTIONS.search(question):
        return "name"
    if _OF_OPTIONS.search(question) or _SEVERAL.search(question):
        return None if _FOCAL.search(question) else "list"
    if _ONE.search(question):
        return "name"
    return "list" if _SPECIES.search(question) else None


def _question(query: str) -> str:
    """Return the words of a question, without the options that it gives."""
    words = _words(query).removesuffix("answer:")
    head, options, _ = words.partition("options:")
    if not options and _OF_OPTIONS.search(words):
        head = words.partition("?")[0]
    return head.strip(" .?!:")


def _words(query: str) -> str:
    return " ".join(
        AUDIO_TAGS.sub(" ", query).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split()
    )
