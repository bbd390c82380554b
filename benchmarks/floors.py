"""Show what floors of evidence do: species found and missed on known recordings, false names without animals.

    python benchmarks/floors.py --shared my_recordings                    # known recordings alone
    python benchmarks/floors.py --shared my_recordings --sounds sounds    # with sounds of collect_sounds.py

``TRUTH`` names the recordings in ``--shared`` that count, and the species known to be in each. Whether a
species is heard in every window of its recording is not known, so recall is counted by recording: a species
is found if any window names it. What else is named in a recording of animals may be there or not: it is
counted, but called neither right nor wrong; the lowest precision takes all of it for wrong. Only names in
recordings without animals are known to be wrong. ``--sounds`` and ``--cache`` are those of
real_recordings.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from real_recordings import HeardWindow, at_floor, capped, count_names, hear, hours, score, sort_recordings

from NatureLM.audio import find_recordings
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.encoders.birdnet_windows import BirdNetWindowEncoder
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import pooled_logits

TRUTH = {
    "lazuli_bunting": "Lazuli Bunting",
    "green_treefrog": "Green Treefrog",
    "sandhill_crane": "Sandhill Crane",
    "great_plains_toad": "Great Plains Toad",
    "turtle_dove_16khz": "European Turtle-Dove",
    "stream_noise": None,
    "jazz_music": None,
}
"""Recordings by the stem of their names, and what is known to be in them; None for no animals."""

FLOORS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass
class Counts:
    """What a floor lets through.

    Attributes
    ----------
    found : int
        Recordings in which the known species is named.
    windows_right : int
        Windows of them that name it.
    others : int
        Pairs of a window and another animal, in recordings of animals: there or not, nobody knows.
    false : int
        The same in recordings without animals.
    """

    found: int = 0
    windows_right: int = 0
    others: int = 0
    false: int = 0


def count(heard: dict[str, list[HeardWindow]], floor: float, table: SpeciesTable) -> Counts:
    """Count what a floor lets through, at most as many species a window as by default."""
    animal = np.array([species.is_animal for species in table])
    most = AnswerSettings().max_species
    counts = Counts()
    for stem, windows in heard.items():
        truth = TRUTH[stem]
        known = None if truth is None else table.find(truth)
        right = 0
        for window in windows:
            passing = score(pooled_logits(window.logits)) >= floor
            named = capped(passing, window.logits, animal, most)
            if known is None:
                counts.false += len(named)
            else:
                right += known.class_index in named
                counts.others += len(set(named) - {known.class_index})
        counts.windows_right += right
        counts.found += right > 0
    return counts


def table_of_floors(
    heard: dict[str, list[HeardWindow]], free: Sequence[HeardWindow], table: SpeciesTable
) -> list[str]:
    """Return the counts at each floor as Markdown."""
    animal = np.array([species.is_animal for species in table])
    most = AnswerSettings().max_species
    known = [stem for stem in heard if TRUTH[stem] is not None]
    windows = sum(len(heard[stem]) for stem in known)
    without = sum(len(found) for stem, found in heard.items() if TRUTH[stem] is None)
    lines = [
        f"| floor | known species found, of {len(known)} recordings | windows naming it, of {windows} "
        f"| other names in these windows | names in {without} windows without animals | lowest precision | "
        f"false names an hour{f', on {hours(free):.2f} hours' if free else ''} |",
        "|---|---|---|---|---|---|---|",
    ]
    for floor in FLOORS:
        counts = count(heard, floor, table)
        named = counts.windows_right + counts.others + counts.false
        lowest = f"{counts.windows_right / named:.2f}" if named else "-"
        rate = f"{count_names(free, at_floor(floor), animal, most) / hours(free):.1f}" if free else "-"
        lines.append(
            f"| {floor:g} | {counts.found} | {counts.windows_right} | {counts.others} | {counts.false} "
            f"| {lowest} | {rate} |"
        )
    return lines


def strongest(heard: dict[str, list[HeardWindow]], table: SpeciesTable) -> list[str]:
    """Return, for each known recording, the strongest evidence for its species over the windows."""
    lines = ["| recording | known species | windows | its evidence, window by window |", "|---|---|---|---|"]
    for stem, windows in heard.items():
        truth = TRUTH[stem]
        if truth is None:
            continue
        species = table.find(truth)
        assert species is not None
        values = [float(score(pooled_logits(window.logits))[species.class_index]) for window in windows]
        lines.append(
            f"| {stem} | {truth} | {len(windows)} | {', '.join(f'{value:.2f}' for value in values)} |"
        )
    return lines


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, required=True, help="folder with the recordings of TRUTH")
    parser.add_argument("--sounds", type=Path, help="folder of collect_sounds.py")
    parser.add_argument("--cache", type=Path, help="folder in which logits are kept between runs")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    encoder = BirdNetWindowEncoder(48_000)
    encoder.load_frozen()
    if options.cache:
        options.cache.mkdir(parents=True, exist_ok=True)
    heard = {
        path.stem: hear(encoder, [path], "known", options.cache)
        for path in find_recordings(options.shared)
        if path.stem in TRUTH
    }
    free: list[HeardWindow] = []
    if options.sounds:
        for category, paths in sort_recordings(options.sounds, options.shared)[1].items():
            free += hear(encoder, paths, category, options.cache)
    table = SpeciesTable.load()
    print("\n".join(strongest(heard, table)) + "\n")
    print("\n".join(table_of_floors(heard, free, table)))


if __name__ == "__main__":
    main()
