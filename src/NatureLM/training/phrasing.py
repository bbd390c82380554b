"""Wordings as people vary them: other nouns, lead-ins, thanks, dropped words, slips of the keyboard.

What is asked for never changes; placeholders such as ``{name}`` are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import numpy as np

from NatureLM.training.wordings import load_remarks

RECORDING_NOUNS = (
    "audio", "recording", "clip", "soundscape", "sound file", "audio file", "audio clip", "track",
    "window", "segment", "sample", "sound", "tape", "file", "audio recording", "snippet",
    "field recording", "excerpt",
)  # fmt: skip
HEARD_WORDS = (
    "heard", "audible", "present", "calling", "vocalising", "vocalizing", "detected", "recorded",
    "detectable", "identified", "making noise", "sounding", "noticed",
)  # fmt: skip
SAME_MEANINGS = (
    (r"\b%s(?=s?\b)", ("scientific name", "latin name", "binomial name", "linnaean name", "taxonomic name")),
    (
        r"\b%s(?=s?\b)",
        ("common name", "english name", "vernacular name", "everyday name", "ordinary name", "usual name"),
    ),
    (
        r"\b%s\b",
        (
            "do you hear", "can you hear", "do you detect", "can you make out", "do you notice",
            "can you detect", "do you recognise", "do you pick up", "can you pick out", "do you perceive",
            "are you hearing", "do you make out", "can you identify", "can you discern", "can you find",
        ),
    ),
    (
        r"\b%s(?= the\b)",
        (
            "identify", "determine", "work out", "figure out", "establish", "find out", "ascertain",
            "pin down", "make out",
        ),
    ),
    (
        r"\b%s\b",
        (
            "apart from", "other than", "besides", "aside from", "except for", "in addition to",
            "on top of", "not counting", "leaving aside", "excluding",
        ),
    ),
    (r"\b%s\b", ("tell me", "let me know")),
    (
        r"\b(?:%s)(?= (?:me )?(?:the|all|every|its|their|both)\b)",
        ("give", "provide", "supply", "report", "return", "state", "output", "write down", "note down"),
    ),
    (
        r"\b%s(?= (?:the|what|which)\b)",
        (
            "i want to know", "i would like to know", "i'd like to know", "i need to know",
            "i am trying to find out", "i wish to know",
        ),
    ),
    (r"\b%s\b", ("can you tell me", "could you tell me", "would you tell me", "do you know", "can you say")),
    (
        r"(?<=\bthe )%s(?= (?:species|animal|one|caller|voice|singer|bird|creature)\b)",
        (
            "loudest", "main", "dominant", "most prominent", "focal", "strongest", "principal", "primary",
            "most audible", "predominant", "most conspicuous", "leading", "chief", "foremost",
        ),
    ),
    (
        r"(?<=\bthe )%s(?= (?:species|animal|one|caller|voice|singer|bird|creature|sound)\b)",
        ("faintest", "quietest", "weakest", "softest", "least audible", "least loud", "feeblest"),
    ),
    (r"\b%s(?= (?:different |distinct )?(?:species|kinds|types)\b)", ("how many", "what number of")),
    (
        r"(?:(?<=\bis )|(?<=\bare ))%s\b",
        ("calling", "singing", "vocalising", "vocalizing", "sounding off", "giving voice"),
    ),
    (r"\b%s\b", ("recordings", "clips", "files", "tracks", "excerpts", "snippets", "samples", "tapes")),
    (
        r"(?:(?<=\bfirst )|(?<=\bsecond )|(?<=\bother )|(?<=which} ))%s\b",
        ("recording", "clip", "file", "track", "excerpt", "snippet", "sample", "tape", "sound file"),
    ),
    (r"\b%s(?= the\b)", ("describe", "summarise", "summarize", "characterise", "outline", "sum up")),
    (r"^%s(?= (?:all|every|the|each)\b)", ("list", "enumerate", "name", "itemise", "reel off", "jot down")),
)  # fmt: skip
"""Phrases that mean the same, and where one may stand for another (not in what the model cannot know)."""

SHORTER = (
    ("what is", ("what's", "whats")),
    ("who is", ("who's", "whos")),
    ("it is", ("it's", "its")),
    ("i am", ("i'm", "im")),
    ("i would", ("i'd",)),
    ("do not", ("don't", "dont")),
    ("does not", ("doesn't", "doesnt")),
    ("is not", ("isn't", "isnt")),
    ("please", ("pls", "plz")),
    ("you", ("u", "ya")),
    ("and", ("&", "n", "+")),
    ("with", ("w/",)),
    ("without", ("w/o",)),
    ("species", ("sp", "spp", "sp.", "spp.")),
    ("recording", ("rec", "rec.")),
    ("scientific", ("sci", "sci.", "scientif")),
    ("identify", ("id", "ident")),
    ("number of", ("no. of", "nr of", "# of")),
)
"""What people shorten when they type, and how."""

LEAD_INS = (
    "please ", "hi, ", "hello, ", "hey, ", "ok, ", "so, ", "well, ", "now, ", "question: ",
    "quick question: ", "for my survey: ", "for the report: ", "just wondering, ", "tell me, ",
    "i would like to know: ", "next: ", "task: ", "query: ", "q: ", "listen to the audio. ",
    "listen carefully: ", "you are an expert. ", "as a field biologist i ask: ", "can you help? ",
    "user: ", "dear model, ", "based on the audio, ", "in this recording, ",
    "according to the recording, ", "from the sound alone, ", "if you can, ",
)  # fmt: skip
CLOSINGS = (
    " please", " please.", " thanks", " thanks!", " thank you.", " answer:", " answer:", " answer:",
    " answer briefly.", " be brief.", " be concise.", " many thanks", " ?", "??", " ok?", " a:",
    " response:",
)  # fmt: skip
SMALL_WORDS = {
    *("the", "a", "an", "is", "are", "of", "in", "this", "that", "do", "does", "you", "it", "to", "for"),
    *("me", "any", "there", "be", "on", "please"),
}

_RECORDING = re.compile(r"(?<=\b(?:the|his) )(?:audio|recording|clip|soundscape|track|window)\b(?! \w+ file)")
_WHICH_RECORDING = re.compile(
    r"(?:\bthe )?\{which\} (recording|clip|file|track|excerpt|snippet|sample|tape|soundscape|audio|window)\b"
    r"(?! (?:file|clip|recording)\b)"
)
_HEARD = re.compile(r"\b(?:heard|audible|detected|detectable|present)\b")
_SAME_MEANINGS = tuple(
    (re.compile(place % f"(?:{'|'.join(phrases)})"), phrases) for place, phrases in SAME_MEANINGS
)

_SHORTER = tuple((re.compile(rf"\b{long}\b"), short) for long, short in SHORTER)

SAME_MEANING = 0.3
SHORTENED = 0.04
CONTEXT = 0.12
LEAD_IN = 0.12
CLOSING = 0.2
DROPPED_WORD = 0.08
SLIP = 0.08


def rephrase(wording: str, rng: np.random.Generator, outside: bool = False) -> str:
    """Return a wording as another person might have typed it.

    Parameters
    ----------
    wording : str
        In lower case, with its placeholders.
    rng : numpy.random.Generator
    outside : bool
        Whether the question is about what the model cannot know; words for being heard and the like stay
        then, as "is it calling or singing" asks for them.
    """
    if rng.random() < SAME_MEANING:
        wording = _RECORDING.sub(lambda _: str(rng.choice(RECORDING_NOUNS)), wording)
    if not outside and rng.random() < SAME_MEANING:
        wording = _HEARD.sub(lambda _: str(rng.choice(HEARD_WORDS)), wording)
    if not outside:
        for pattern, phrases in _SAME_MEANINGS:
            if rng.random() < SAME_MEANING:
                wording = pattern.sub(partial(_another, phrases, rng), wording)
    for pattern, short in _SHORTER:
        if rng.random() < SHORTENED:
            wording = pattern.sub(partial(_another, short, rng), wording)
    words = wording.split(" ")
    if rng.random() < DROPPED_WORD and len(words) > 3:
        small = [place for place, word in enumerate(words) if word in SMALL_WORDS]
        if small:
            del words[int(rng.choice(small))]
    if rng.random() < SLIP:
        place = int(rng.integers(len(words)))
        words[place] = slip(words[place], rng)
    wording = " ".join(words)
    if rng.random() < 0.25:
        wording = wording.rstrip("?.! ")
    if rng.random() < LEAD_IN:
        wording = str(rng.choice(LEAD_INS)) + wording
    if rng.random() < CONTEXT:
        wording = in_context(wording, rng)
    # A list of options at the end stays the end.
    if not wording.endswith("}") and rng.random() < CLOSING:
        wording += str(rng.choice(CLOSINGS))
    elif wording.endswith("}") and rng.random() < CLOSING:
        wording += str(rng.choice([".", "?", " answer:", "\nanswer:"]))
    return wording


def in_context(wording: str, rng: np.random.Generator) -> str:
    """Return a wording with a remark before or after it that does not change what it asks for."""
    # A list of options at the end stays the end.
    before = rng.random() < 0.65 or wording.endswith("}")
    remarks = load_remarks()["before" if before else "after"]
    remark = remarks[int(rng.integers(len(remarks)))]
    if before:
        return f"{remark} {wording}"
    return f"{wording}{'' if wording.endswith(('.', '?', '!')) else '.'} {remark}"


def numbered(wording: str, recording: int, rng: np.random.Generator) -> str:
    """Return a wording with "recording 2", "clip b" or the like for "the {which} recording".

    Parameters
    ----------
    wording : str
        With ``{which}`` for "first" or "second"; returned as it is where no noun follows that.
    recording : int
        Which of two recordings is meant, from 0.
    rng : numpy.random.Generator
    """
    number = (("1", "2"), ("one", "two"), ("a", "b"), ("#1", "#2"))[
        int(rng.choice(4, p=[0.5, 0.25, 0.15, 0.1]))
    ]
    return _WHICH_RECORDING.sub(rf"\1 {number[recording]}", wording)


def _another(phrases: Sequence[str], rng: np.random.Generator, found: re.Match[str]) -> str:
    """Return one of the phrases, whichever was found."""
    return str(rng.choice(phrases))


def slip(word: str, rng: np.random.Generator) -> str:
    """Return a word with one letter swapped, dropped or doubled; short words and placeholders are kept."""
    if len(word) < 5 or not word.isalpha():
        return word
    place = int(rng.integers(1, len(word) - 1))
    kind = rng.integers(3)
    if kind == 0:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if kind == 1:
        return word[:place] + word[place + 1 :]
    return word[:place] + word[place] + word[place:]


def made_up_word(rng: np.random.Generator) -> str:
    """Return a word that means nothing, such as ``brolimat``."""
    onsets = (
        "b",
        "br",
        "d",
        "f",
        "g",
        "gr",
        "k",
        "l",
        "m",
        "n",
        "p",
        "r",
        "s",
        "sn",
        "t",
        "v",
        "w",
        "z",
        "sh",
        "qu",
    )
    vowels = ("a", "e", "i", "o", "u", "ai", "oo", "ea")
    codas = ("", "", "n", "r", "k", "t", "l", "s", "m", "x")
    syllables = [
        str(rng.choice(onsets)) + str(rng.choice(vowels)) + str(rng.choice(codas))
        for _ in range(int(rng.integers(2, 4)))
    ]
    return "".join(syllables)
