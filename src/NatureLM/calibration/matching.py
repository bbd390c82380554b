"""Which detection of a run each review is about: by recording, species, channel and overlap in time."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from NatureLM.calibration.reviews import Review
from NatureLM.calibration.scores import Scored, Scores
from NatureLM.models.species import SpeciesTable

LEAST_OVERLAP = 0.5
"""Share of the shorter of the two that a review and a detection must have in common."""

OPEN = "left open"
NO_RECORDING = "recording not among the scores"
SEVERAL_RECORDINGS = "several recordings of this name"
NO_DETECTION = "no detection of the species there"
REPEATED = "detection reviewed before, alike"
CONTRADICTED = "detection with contradicting verdicts"


@dataclass
class Matched:
    """Reviews joined to detections.

    Attributes
    ----------
    detections : list of Scored
    right : list of bool
        The verdict on each.
    unmatched : Counter of str
        How many reviews count for nothing, by reason.
    examples : dict of str to str
        The first review of each reason, by file and line.
    """

    detections: list[Scored] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    unmatched: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)


def match(reviews: Sequence[Review], scores: Scores) -> Matched:
    """Join reviews to detections.

    A review of a stretch in which a species was detected more than once (merged windows) is of the detection
    that it overlaps most, and of equals of the one with the highest score. A detection counts once: further
    reviews that say the same are left out, and all of them if they contradict one another.
    """
    matched = Matched()
    species = _SpeciesNames(scores.detections)
    recordings = _Recordings(scores.recordings)
    there: dict[tuple[str, str], list[Scored]] = defaultdict(list)
    for detection in scores.detections:
        there[detection.audio_path, species.of_detection(detection)].append(detection)

    verdicts: dict[Scored, list[Review]] = defaultdict(list)
    for review in reviews:
        if review.right is None:
            _leave_out(matched, OPEN, review)
            continue
        found = recordings.of(review.file)
        if len(found) != 1:
            _leave_out(matched, SEVERAL_RECORDINGS if found else NO_RECORDING, review)
            continue
        candidates = [each for name in species.of_review(review) for each in there.get((found[0], name), ())]
        best = max(
            (each for each in candidates if _same_channel(review, each) and _is_overlap(review, each)),
            key=lambda each: (round(_common_seconds(review, each), 3), each.score),
            default=None,
        )
        if best is None:
            _leave_out(matched, NO_DETECTION, review)
        else:
            verdicts[best].append(review)
    for detection, several in verdicts.items():
        if len({review.right for review in several}) > 1:
            for review in several:
                _leave_out(matched, CONTRADICTED, review)
            continue
        matched.detections.append(detection)
        matched.right.append(bool(several[0].right))
        for review in several[1:]:
            _leave_out(matched, REPEATED, review)
    return matched


def _leave_out(matched: Matched, reason: str, review: Review) -> None:
    matched.unmatched[reason] += 1
    matched.examples.setdefault(reason, review.place)


def _common_seconds(review: Review, detection: Scored) -> float:
    end = min(review.end_seconds, detection.end_seconds)
    return end - max(review.start_seconds, detection.start_seconds)


def _is_overlap(review: Review, detection: Scored) -> bool:
    shorter = min(review.end_seconds - review.start_seconds, detection.end_seconds - detection.start_seconds)
    return _common_seconds(review, detection) >= LEAST_OVERLAP * shorter


def _same_channel(review: Review, detection: Scored) -> bool:
    # The mean of the channels is channel 1 in Raven's tables, and nothing contradicts it.
    return review.channel is None or detection.channel == "mix" or review.channel == detection.channel


class _SpeciesNames:
    """Finds a species by any of its names: as the run has them, or the bundled model's table."""

    def __init__(self, detections: Iterable[Scored]) -> None:
        self._table = SpeciesTable.load()
        self._keys: dict[str, str] = {}
        for each in detections:
            key = (each.scientific_name or each.common_name).casefold()
            for name in (each.scientific_name, each.common_name):
                if name:
                    self._keys[self._canonical(name)] = key

    def of_detection(self, detection: Scored) -> str:
        return (detection.scientific_name or detection.common_name).casefold()

    def of_review(self, review: Review) -> Iterator[str]:
        """Yield the species that a review's names stand for; of two names that differ, both."""
        keys = (self._keys.get(self._canonical(name)) for name in review.names)
        yield from dict.fromkeys(key for key in keys if key is not None)

    def _canonical(self, name: str) -> str:
        found = self._table.find(name)
        return " ".join(name.casefold().split()) if found is None else found.label


class _Recordings:
    """Finds a recording by its path or the end of it, in either way of writing paths."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_name: dict[str, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
        for path in sorted(paths):
            parts = _parts(path)
            for name in {parts[-1], os.path.splitext(parts[-1])[0]}:
                self._by_name[name].append((path, parts))

    def of(self, file: str) -> list[str]:
        """Return the recordings that ``file`` may be: their paths end in it, or it ends in theirs."""
        parts = _parts(file)
        exact, fitting = [], []
        for path, its in self._by_name.get(parts[-1], ()):
            if parts == its:
                exact.append(path)
            shared = min(len(parts), len(its)) - 1  # folders; the names are alike, but for an ending
            if parts[len(parts) - 1 - shared : -1] == its[len(its) - 1 - shared : -1]:
                fitting.append(path)
        return exact or fitting


def _parts(path: str) -> tuple[str, ...]:
    """Return folders and name; what leads out of the folder that a path is relative to is no part of it."""
    normal = os.path.normpath(path.replace("\\", "/")).replace("\\", "/")
    return tuple(part for part in normal.split("/") if part not in ("", "..")) or ("",)
