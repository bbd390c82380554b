"""English wordings of every question that the bundled model is trained to understand, as files of patterns.

Each file maps a task to patterns; ``[a|b|]`` in a pattern is one of its choices, of which one may be empty.
What the placeholders stand for is said in :mod:`NatureLM.training.tasks`. Patterns were written for this
project, by several hands, so that their English differs.

- One pattern in twelve of each task is held out, by a checksum of its text: it is never trained on.
- ``free*.yml`` hold wordings by other hands than all others, more freely worded; none is trained on.
- ``published.yml`` holds the prompts in use with the published model; all are trained on.
- ``trained_*.yml`` hold patterns that came last; all are trained on, so that the held-out ones stay the same.
- ``remarks.yml`` holds what people say around a question that changes nothing of it.
- ``things.yml`` holds names of animals and sounds that are no classes of the encoder.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
import yaml

Split = Literal["train", "held_out", "free"]

HELD_OUT_ONE_IN = 12
FEWEST_HELD_OUT = 4

THINGS = "things.yml"
REMARKS = "remarks.yml"
PUBLISHED = "published.yml"

END_MARKS = "?.! "
"""What may end a wording without making it another one."""

_CHOICES = re.compile(r"\[([^\[\]]*)\]")


@cache
def load_wordings() -> dict[str, dict[Split, list[str]]]:
    """Return the patterns of each task in lower case: ``{task: {"train": [...], ...}}``."""
    found: dict[str, dict[str, list[str]]] = {}
    for file in sorted(resources.files(__name__).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yml") and file.name not in (THINGS, REMARKS):
            use = _use(file.name)
            for task, patterns in yaml.safe_load(file.read_text(encoding="utf-8")).items():
                texts = found.setdefault(task, {}).setdefault(use, [])
                texts += [pattern.strip().lower() for pattern in patterns]
    wordings: dict[str, dict[Split, list[str]]] = {}
    for task, uses in found.items():
        always = list(dict.fromkeys(uses.get("always", [])))
        others = [text for text in dict.fromkeys(uses.get("others", [])) if text not in always]
        count = max(FEWEST_HELD_OUT, len(others) // HELD_OUT_ONE_IN)
        held_out = sorted(others, key=lambda text: (checksum(text), text))[:count]
        train = [*always, *(text for text in others if text not in held_out)]
        wordings[task] = {"train": train, "held_out": held_out, "free": uses.get("free", [])}
    return wordings


@cache
def load_published() -> dict[str, list[str]]:
    """Return the prompts in use with the published model, by task, in lower case."""
    text = resources.files(__name__).joinpath(PUBLISHED).read_text(encoding="utf-8")
    return {
        task: [prompt.strip().lower() for prompt in prompts] for task, prompts in yaml.safe_load(text).items()
    }


def _use(file_name: str) -> Literal["always", "free", "others"]:
    """Return what the patterns of a file are for: training alone, measuring alone, or both."""
    if file_name.startswith("free"):
        return "free"
    return "always" if file_name.startswith(("published", "trained_")) else "others"


@cache
def load_remarks() -> dict[Literal["before", "after"], list[str]]:
    """Return remarks that people make before and after a question, in lower case."""
    text = resources.files(__name__).joinpath(REMARKS).read_text(encoding="utf-8")
    remarks: dict[Literal["before", "after"], list[str]] = yaml.safe_load(text)
    return remarks


def checksum(text: str) -> int:
    """Return a number that depends on nothing but the text."""
    return zlib.crc32(text.encode())


@cache
def load_things(split: Literal["train", "held_out"]) -> dict[str, list[str]]:
    """Return the names of animals, sounds and taxa that are no classes, by what they are."""
    text = resources.files(__name__).joinpath(THINGS).read_text(encoding="utf-8")
    things: dict[str, list[str]] = yaml.safe_load(text)
    held_out = split == "held_out"
    return {
        name: [item for item in items if (checksum(item) % HELD_OUT_ONE_IN == 0) == held_out]
        for name, items in things.items()
    }


def expand(pattern: str, rng: np.random.Generator) -> str:
    """Return a pattern with one choice of each of its alternations."""

    def choose(match: re.Match[str]) -> str:
        choices = match.group(1).split("|")
        return choices[int(rng.integers(len(choices)))]

    return re.sub(r" {2,}", " ", _CHOICES.sub(choose, pattern)).strip()


def expansions(pattern: str) -> Iterator[str]:
    """Yield every text that a pattern stands for."""
    match = _CHOICES.search(pattern)
    if match is None:
        yield re.sub(r" {2,}", " ", pattern).strip()
        return
    for choice in match.group(1).split("|"):
        yield from expansions(pattern[: match.start()] + choice + pattern[match.end() :])


@cache
def trained_forms(task: str) -> re.Pattern[str]:
    """Return what matches every text that the trained patterns of a task stand for."""
    forms = []
    for pattern in load_wordings()[task]["train"]:
        parts = _CHOICES.split(pattern)
        # Every second part is the inside of an alternation.
        for place, part in enumerate(parts):
            choices = part.split("|") if place % 2 else [part]
            parts[place] = "(?:" + "|".join(re.escape(choice) for choice in choices) + ")"
        forms.append("".join(parts).replace(r"\ ", r"\ *"))
    return re.compile("|".join(f"(?:{form})" for form in forms))


def is_trained(task: str, wording: str) -> bool:
    """Return whether a trained pattern of a task stands for a wording, whatever the mark at its end."""
    body = wording.rstrip(END_MARKS)
    return any(trained_forms(task).fullmatch(body + end) for end in ("", *END_MARKS))


def draw(task: str, split: Split, rng: np.random.Generator) -> str:
    """Return a wording of a task; a held-out one is never one that a trained pattern stands for too.

    Raises
    ------
    KeyError
        If the task has no patterns for this use.
    """
    patterns = load_wordings()[task][split]
    if not patterns:
        raise KeyError(f"{task} has no {split} wordings")
    for _ in range(100):
        wording = expand(patterns[int(rng.integers(len(patterns)))], rng)
        if split == "train" or not is_trained(task, wording):
            return wording
    raise KeyError(f"every {split} wording of {task} is trained on")
