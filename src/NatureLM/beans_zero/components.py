"""The components of BEANS-Zero: what each asks, its labels, its metric and the published figure.

Sources: Robinson et al. 2025, *NatureLM-audio: an Audio-Language Foundation Model for Bioacoustics* (ICLR;
arXiv:2411.07186) for the published figures; the benchmark's data set configuration
(``beans_zero_dataset_config.json`` of earthspecies/beans-zero, version 0.1.1) for the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from NatureLM.errors import ConfigError

__all__ = ["COMPONENTS", "NONE", "Component", "Task", "component", "unknown_component"]

Task = Literal["classification", "detection", "captioning"]

NONE = "None"
"""What a detection component's rows say where nothing is to be heard."""

LONGEST_SECONDS = 10.0
"""Length of the audio where a component names none."""

MANY_LABELS = 8
DETECTION_QUERY = "What are the common names for the species in the audio, if any?"
"""The published evaluation asks this where a detection component has more than ``MANY_LABELS`` labels."""

HEADLINES = {"classification": "Accuracy", "detection": "F1", "captioning": "SPIDEr"}
"""The metric that the paper reports for each task; F1 is the macro average over labels."""


@dataclass(frozen=True)
class Component:
    """One component of the benchmark.

    Attributes
    ----------
    name : str
        As in the column ``dataset_name`` of the benchmark.
    task : {"classification", "detection", "captioning"}
        What is asked.
    max_seconds : float or None
        Longest audio that the model is given; None where the benchmark names none.
    label_count : int or None
        Size of the label set, ``None`` counted where the benchmark counts it; no labels for captions.
    published : float
        NatureLM-audio's figure in the paper, of the metric :attr:`headline`.
    about : str
        What the recordings are and where they come from.
    licence : str
        Of the recordings.

    Examples
    --------
    >>> component("watkins").label_count
    31
    """

    name: str
    task: Task
    max_seconds: float | None
    label_count: int | None
    published: float
    about: str
    licence: str

    @property
    def headline(self) -> str:
        """Name of the metric that the paper reports."""
        return HEADLINES[self.task]

    @property
    def seconds(self) -> float:
        """Length to which audio is cut and padded with zeros."""
        return LONGEST_SECONDS if self.max_seconds is None else self.max_seconds

    @property
    def query(self) -> str | None:
        """The question that stands in for the rows' own instructions; None where theirs are asked."""
        many = self.label_count is not None and self.label_count > MANY_LABELS
        return DETECTION_QUERY if self.task == "detection" and many else None

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label of the component, sorted; empty for captions."""
        return _labels().get(self.name, ())


_PER_FILE = "per file"
_UNSEEN = "Xeno-canto, iNaturalist, Animal Sound Archive"
_KINDS = {"cmn": "common", "sci": "scientific", "tax": "taxonomic"}


def _unseen(rank: str, kind: str, label_count: int, published: float) -> Component:
    """Return a component of taxa that the model's training left out."""
    about = f"{_KINDS[kind]} names of species whose {rank} training left out ({_UNSEEN})"
    return Component(
        f"unseen-{rank}-{kind}", "classification", 10.0, label_count, published, about, _PER_FILE
    )


COMPONENTS: tuple[Component, ...] = (
    Component("esc50", "classification", 5.0, 50, 0.820, "everyday sounds (ESC-50)", "CC-BY-NC"),
    Component(
        "watkins",
        "classification",
        3.0,
        31,
        0.788,
        "marine mammals (Watkins Marine Mammal Sound Database)",
        "free for personal and academic use",
    ),
    Component(
        "cbi", "classification", 10.0, 264, 0.778, "birds (Cornell Bird Identification)", "CC-BY-NC-SA"
    ),
    Component("humbugdb", "classification", 3.0, 14, 0.114, "mosquitoes (HumBugDB)", "CC-BY"),
    Component("enabirds", "detection", None, 34, 0.314, "birds at dawn, eastern North America", "CC0"),
    Component("hiceas", "detection", None, 2, 0.336, "minke whales off Hawaii (HICEAS)", "free to use"),
    Component(
        "rfcx",
        "detection",
        None,
        25,
        0.025,
        "birds and frogs of Puerto Rico (Rainforest Connection)",
        "academic, research and non-commercial use",
    ),
    Component("gibbons", "detection", None, 4, 0.005, "calls of Hainan gibbons", "CC-BY-NC-SA"),
    Component("dcase", "detection", None, 18, 0.058, "birds and mammals (DCASE 2021, task 5)", "CC-BY"),
    Component("lifestage", "classification", 10.0, 3, 0.794, "life stages of birds (Xeno-canto)", _PER_FILE),
    Component("call-type", "classification", 10.0, 2, 0.871, "calls and songs (Xeno-canto)", _PER_FILE),
    _unseen("species", "cmn", 202, 0.181),
    _unseen("species", "sci", 200, 0.238),
    _unseen("species", "tax", 200, 0.343),
    _unseen("genus", "cmn", 105, 0.116),
    _unseen("genus", "sci", 101, 0.041),
    _unseen("genus", "tax", 101, 0.148),
    _unseen("family", "cmn", 40, 0.035),
    _unseen("family", "sci", 36, 0.035),
    _unseen("family", "tax", 36, 0.308),
    Component("captioning", "captioning", 10.0, None, 0.532, "captions (iNaturalist)", _PER_FILE),
    Component(
        "zf-indiv",
        "classification",
        10.0,
        2,
        0.655,
        "one zebra finch or more (Elie and Theunissen 2016)",
        "CC-BY",
    ),
)
"""Every component, in the paper's order."""

_BY_NAME = {each.name: each for each in COMPONENTS}


def component(name: str) -> Component:
    """Return the component of that name.

    Raises
    ------
    ConfigError
        There is none; the nearest name is suggested.

    Examples
    --------
    >>> component("gibbons").headline
    'F1'
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    raise ConfigError(unknown_component(name))


def unknown_component(name: str) -> str:
    """Return a sentence that says that a name is no component's, and which is the nearest."""
    from rapidfuzz import fuzz

    nearest = max(_BY_NAME, key=lambda known: fuzz.ratio(name.lower(), known))
    return f"'{name}' is not a component of BEANS-Zero; the nearest is '{nearest}' (beans info lists all)."


@cache
def _labels() -> dict[str, tuple[str, ...]]:
    """Read ``labels.txt``; its first lines say how it is written."""
    text = resources.files("NatureLM.beans_zero").joinpath("labels.txt").read_text(encoding="utf-8")
    labels: dict[str, list[str]] = {}
    section = ""
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = line.strip("[]")
            labels[section] = []
            continue
        lineage, colon, species = line.partition(": ")
        if not colon:
            labels[section].append(line)
            continue
        for name in species.split(", "):
            labels[section].append(f"{lineage} {name}")
            labels.setdefault(section.replace("-tax", "-sci"), []).append(name)
    return {name: tuple(sorted(found)) for name, found in labels.items()}
