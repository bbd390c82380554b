"""Measure on real recordings whether answers follow the encoder, and how often animals are named falsely.

    python benchmarks/collect_sounds.py sounds
    python benchmarks/real_recordings.py --sounds sounds                       # both tables
    python benchmarks/real_recordings.py --sounds sounds --shared more_animals # with recordings of one's own
    python benchmarks/real_recordings.py --sounds sounds --only false-names    # needs no language model

``--sounds`` has the folders ``animals/`` and ``animal_free/<category>/`` (as collect_sounds.py makes them);
recordings in ``--shared`` count as animals, but for names with music, stream or noise in them, which count as
free of animals.

(a) Agreement. Every window of 10 s of the recordings of animals is changed in nine ways: white (or pink)
Gaussian noise is added at a signal-to-noise ratio of infinity, 20 or 10 dB, where the signal's power is the
mean square of the whole window before any change; then all of it is multiplied by -20, 0 or +20 dB and
clipped to [-1, 1]. Decided is what the encoder says of exactly these samples: animals whose logit (the mean
of the two largest over the window's segments) reaches the floor, strongest first, at most ``max_species``.
The answers are right if they say just that.

(b) False names. On recordings without animals, every pair of a window of 10 s and an animal that is decided
is a false name; they are counted per hour, for floors of 0.1 to 0.9. Further rows show rules that a decision
could follow beside the floor, with the share of the same pairs on the recordings of animals that they keep.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from NatureLM.audio import find_recordings, recording_windows
from NatureLM.errors import RecordingError
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.encoders.birdnet_windows import BirdNetWindowEncoder, segment_starts
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import pooled_logits

if TYPE_CHECKING:
    from NatureLM.models.naturelm import NatureLM

SAMPLE_RATE = 48_000
WINDOW_SECONDS = 10.0
SEGMENT_SECONDS = 3.0
BATCH_SIZE = 16
SEED = 48_000
GAINS = (-20.0, 0.0, 20.0)
NOISES = (np.inf, 20.0, 10.0)
FLOORS = tuple(round(0.1 * step, 1) for step in range(1, 10))
WITHOUT_ANIMALS = re.compile(r"music|stream|noise", re.IGNORECASE)
UNUSABLE = re.compile(r"empty|stereo\.wav")
SILENCE = -120.0
"""dBFS given to digital silence."""

QUESTIONS = {
    "focal": "What is the common name for the focal species in the audio?",
    "list": "What are the common names for the species in the audio, if any?",
    "caption": "Caption the audio.",
    "scientific": "What is the scientific name for the focal species in the audio?",
}

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class HeardWindow:
    """What the encoder says of one window.

    Attributes
    ----------
    recording : Path
    category : str
    start, end : float
        Seconds from the recording's start.
    logits : float32 [segments, classes]
    levels : float32 [segments]
        Root mean square of each segment in dB of full scale.
    """

    recording: Path
    category: str
    start: float
    end: float
    logits: Array
    levels: Array


def level(samples: Array) -> float:
    """Return the root mean square of samples in dB of full scale."""
    power = float((samples.astype(np.float64) ** 2).mean()) if len(samples) else 0.0
    return max(SILENCE, 10.0 * np.log10(power)) if power > 0 else SILENCE


def changed(samples: Array, gain_db: float, snr_db: float, noise: str, seed: int) -> Array:
    """Return a window with noise added, then amplified, then clipped to [-1, 1].

    Parameters
    ----------
    samples : float32 [samples]
    gain_db : float
        Factor on samples and noise, in dB.
    snr_db : float
        Mean square of the window over that of the noise, in dB; infinite for none.
    noise : {"white", "pink"}
        Power of the same density at all frequencies, or falling as 1/f from 20 Hz on.
    seed : int
    """
    result = samples.astype(np.float64)
    if np.isfinite(snr_db):
        added = np.random.default_rng(seed).standard_normal(len(samples))
        if noise == "pink":
            frequencies = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
            added = np.fft.irfft(np.fft.rfft(added) / np.sqrt(np.maximum(frequencies, 20.0)), len(samples))
        scale = np.sqrt((result**2).mean() / (added**2).mean()) * 10 ** (-snr_db / 20)
        result = result + scale * added
    return np.clip(result * 10 ** (gain_db / 20), -1.0, 1.0).astype(np.float32)


def windows_of(path: Path) -> Iterator[tuple[float, float, Array]]:
    """Yield start, end and samples of a recording's windows of 10 s, mono at 48 kHz."""
    try:
        windows = recording_windows(path, SAMPLE_RATE, WINDOW_SECONDS, WINDOW_SECONDS, "mix")
        for window, _, samples in windows:
            yield window.start_seconds, window.end_seconds, samples
    except RecordingError as error:
        print(f"left out: {error}")


def sort_recordings(sounds: Path, shared: Path | None) -> tuple[list[Path], dict[str, list[Path]]]:
    """Return the recordings of animals, and by category those without."""
    animals = find_recordings(sounds / "animals")
    free = {folder.name: find_recordings(folder) for folder in sorted((sounds / "animal_free").iterdir())}
    for path in find_recordings(shared) if shared else []:
        if UNUSABLE.search(path.name):
            continue
        if WITHOUT_ANIMALS.search(path.name):
            free.setdefault("shared", []).append(path)
        else:
            animals.append(path)
    return animals, free


def hear(
    encoder: BirdNetWindowEncoder, recordings: Sequence[Path], category: str, cache: Path | None
) -> list[HeardWindow]:
    """Encode every window of recordings, each recording once if there is a folder for the logits."""
    heard: list[HeardWindow] = []
    for path in recordings:
        kept = cache / f"{category}--{path.stem}--{state_of(path)}.npz" if cache else None
        if kept and kept.exists():
            stored = dict(np.load(kept))
        else:
            stored = encode_recording(encoder, path)
            if kept:
                np.savez(kept, **stored)
        for number, (start, end) in enumerate(stored["times"]):
            rows = stored["window"] == number
            heard.append(
                HeardWindow(path, category, start, end, stored["logits"][rows], stored["levels"][rows])
            )
    return heard


def encode_recording(encoder: BirdNetWindowEncoder, path: Path) -> dict[str, Array]:
    """Return a recording's window times and, segment by segment, window, logits and level."""
    times: list[tuple[float, float]] = []
    owners: list[int] = []
    levels: list[float] = []
    logits: list[Array] = []
    batch: list[Array] = []
    for start, end, samples in windows_of(path):
        for place in segment_starts(len(samples), encoder.segment, encoder.hop):
            owners.append(len(times))
            levels.append(level(samples[place : place + encoder.segment]))
        times.append((start, end))
        batch.append(samples)
        if len(batch) == BATCH_SIZE:
            logits += [rows.numpy() for rows in encode(encoder, batch)]
            batch = []
    if batch:
        logits += [rows.numpy() for rows in encode(encoder, batch)]
    return {
        "times": np.array(times).reshape(-1, 2),
        "window": np.array(owners, dtype=np.int64),
        "levels": np.array(levels, dtype=np.float32),
        "logits": np.concatenate(logits) if logits else np.zeros((0, 1), dtype=np.float32),
    }


def state_of(path: Path) -> str:
    """Return letters that stand for a file as it is now."""
    state = path.stat()
    return hashlib.sha256(f"{path.resolve()} {state.st_size} {state.st_mtime_ns}".encode()).hexdigest()[:16]


@torch.inference_mode()
def encode(encoder: BirdNetWindowEncoder, batch: Sequence[Array]) -> list[torch.Tensor]:
    """Return the logits of windows."""
    return encoder.encode(batch)


def score(logits: Array) -> Array:
    """Return BirdNET's confidence: the sigmoid of a logit."""
    return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))


def capped(passing: Array, logits: Array, animal: Array, most: int) -> list[int]:
    """Return the animals among the classes that pass, strongest first, at most so many."""
    found = np.flatnonzero(passing & animal)
    pooled = pooled_logits(logits)[found]
    return [int(index) for index in found[np.argsort(-pooled, kind="stable")][:most]]


def decided(logits: Array, animal: Array, settings: AnswerSettings) -> list[int]:
    """Return the animals that the encoder decides for, strongest first."""
    passing = score(pooled_logits(logits)) >= settings.min_evidence
    return capped(passing, logits, animal, settings.max_species)


# Agreement.


def right_answer(question: str, text: str, chosen: Sequence[int], table: SpeciesTable) -> bool:
    """Tell whether an answer says just what the encoder decided.

    A focal name must be that name alone, a list the names in any order, each once, parted by commas; a
    caption must mention the species decided for and no other.
    """
    species = [table.species[index] for index in chosen]
    if question == "focal":
        return text == (species[0].common_name if species else "None")
    if question == "scientific":
        return text == (species[0].scientific_name if species else "None")
    if question == "list":
        said = sorted(text.split(", "))
        return said == (sorted(item.common_name for item in species) if species else ["None"])
    mentioned = {mention.class_index for mention in table.mentions(text)}
    return {index for index in mentioned if table.species[index].is_animal} == set(chosen)


def agreement(model: NatureLM, recordings: Sequence[Path], noise: str, show: int) -> None:
    """Print how many answers agree with the encoder's decision in each way of changing the windows."""
    table: SpeciesTable = model.adapter.table  # type: ignore[assignment]
    animal = np.array([species.is_animal for species in table.species])
    settings = AnswerSettings()
    right: Counter[tuple[float, float, str]] = Counter()
    asked: Counter[tuple[float, float]] = Counter()
    named: Counter[tuple[float, float]] = Counter()
    wrong: list[str] = []
    seconds = 0.0
    for number, path in enumerate(recordings):
        windows = list(windows_of(path))
        seconds += sum(end - start for start, end, _ in windows)
        ways = [(gain, snr) for snr in NOISES for gain in GAINS for _ in windows]
        waves = [
            changed(samples, gain, snr, noise, SEED + 1000 * number + place)
            for snr in NOISES
            for gain in GAINS
            for place, (_, _, samples) in enumerate(windows)
        ]
        for first in range(0, len(waves), BATCH_SIZE):
            features = model.encode_audio(waves[first : first + BATCH_SIZE])
            choices = [decided(item.numpy(), animal, settings) for item in features]
            for way, chosen in zip(ways[first:], choices, strict=False):
                asked[way] += 1
                named[way] += bool(chosen)
            for question, query in QUESTIONS.items():
                answers = model.answer(features, [query] * len(features), settings)
                for way, chosen, answer in zip(ways[first:], choices, answers, strict=False):
                    if right_answer(question, answer.text, chosen, table):
                        right[(*way, question)] += 1
                    else:
                        form = "scientific_name" if question == "scientific" else "common_name"
                        names = ", ".join(getattr(table.species[index], form) for index in chosen) or "None"
                        wrong.append(
                            f"  {path.name}, gain {way[0]:+g} dB, SNR {way[1]:g} dB, {question}: "
                            f"decided {names!r}, answered {answer.text!r}"
                        )
    print(
        f"(a) Answers that agree with the encoder: {len(recordings)} recordings, {seconds / 60:.1f} minutes,"
    )
    print(f"    {noise} noise, floor {settings.min_evidence:g}")
    print(f"  {'gain':>6s} {'SNR':>6s} {'windows':>8s} {'with animals':>13s}", end="")
    print("".join(f"{question:>14s}" for question in QUESTIONS))
    for way, count in asked.items():
        shares = [f"{right[(*way, question)]}/{count}" for question in QUESTIONS]
        print(
            f"  {way[0]:+6g} {way[1]:6g} {count:8d} {named[way]:13d}" + "".join(f"{x:>14s}" for x in shares)
        )
    total = sum(asked.values())
    for question in QUESTIONS:
        agreed = sum(count for key, count in right.items() if key[2] == question)
        print(f"  {question:12s} {agreed} of {total} ({100 * agreed / max(1, total):.2f} %)")
    print(f"  {len(wrong)} disagreements" + (":" if wrong else ""))
    print("\n".join(wrong[:show]))


# False names.

Rule = Callable[[HeardWindow, Array], Array]
"""From a window and the non-animal classes to the classes that pass [classes]."""


def at_floor(floor: float) -> Rule:
    """Return the rule in use: the mean of the two largest logits reaches the floor."""
    return lambda window, sounds: score(pooled_logits(window.logits)) >= floor


def in_one(floor: float) -> Rule:
    """Return the rule that some segment reaches the floor."""
    return lambda window, sounds: score(window.logits.max(axis=0)) >= floor


def in_segments(floor: float, least: int, second: float | None = None, alone: float = 2.0) -> Rule:
    """Return the rule that more segments than one must agree.

    One reaches ``floor`` and ``least`` in all reach ``second`` (the floor, unless given), or one reaches
    ``alone``. Windows of fewer segments need all of theirs.
    """

    def passing(window: HeardWindow, sounds: Array) -> Array:
        scores = score(window.logits)
        needed = min(least, len(scores))
        agree = (scores >= (floor if second is None else second)).sum(axis=0) >= needed
        peaks = scores.max(axis=0)
        return ((peaks >= floor) & agree) | (peaks >= alone)

    return passing


def above_level(floor: float, least_dbfs: float) -> Rule:
    """Return the rule that segments below a level do not count."""

    def passing(window: HeardWindow, sounds: Array) -> Array:
        loud = window.levels >= least_dbfs
        if not loud.any():
            return np.zeros(window.logits.shape[1], dtype=bool)
        return score(window.logits[loud].max(axis=0)) >= floor

    return passing


def above_sounds(floor: float, margin: float = 0.0) -> Rule:
    """Return the rule that segments in which a class that is no animal is the strongest do not count."""

    def passing(window: HeardWindow, sounds: Array) -> Array:
        strongest = window.logits[:, sounds].max(axis=1, keepdims=True)
        present = score(strongest) >= floor
        beaten = present & (window.logits < strongest + margin)
        return ((score(window.logits) >= floor) & ~beaten).any(axis=0)

    return passing


def alone_in_segment(floor: float, most: int) -> Rule:
    """Return the rule that segments in which more classes than ``most`` reach the floor do not count."""

    def passing(window: HeardWindow, sounds: Array) -> Array:
        reach = score(window.logits) >= floor
        return (reach & (reach.sum(axis=1, keepdims=True) <= most)).any(axis=0)

    return passing


def both(first: Rule, second: Rule) -> Rule:
    """Return the rule that both rules must let a class pass."""
    return lambda window, sounds: first(window, sounds) & second(window, sounds)


RULES: dict[str, Rule] = {
    "floor 0.25 (default)": at_floor(0.25),
    **{f"floor {floor:g}": at_floor(floor) for floor in (0.15, 0.35, 0.5, 0.65)},
    **{f"one segment at {floor:g}": in_one(floor) for floor in (0.25, 0.5, 0.65)},
    "2 segments at 0.25": in_segments(0.25, 2),
    "0.25, another segment at 0.1": in_segments(0.25, 2, second=0.1),
    "0.25, another segment at 0.05": in_segments(0.25, 2, second=0.05),
    "2 segments at 0.25, or one at 0.5": in_segments(0.25, 2, alone=0.5),
    "0.25 and another at 0.1, or 0.5": in_segments(0.25, 2, second=0.1, alone=0.5),
    "0.25 and another at 0.1, or 0.7": in_segments(0.25, 2, second=0.1, alone=0.7),
    "segments above -70 dBFS": above_level(0.25, -70.0),
    "segments above -60 dBFS": above_level(0.25, -60.0),
    "segments above -50 dBFS": above_level(0.25, -50.0),
    "stronger than any sound present": above_sounds(0.25),
    "at most 4 classes in a segment": alone_in_segment(0.25, 4),
    "no stronger sound, and 0.25 + 0.1, or 0.5": both(
        above_sounds(0.25), in_segments(0.25, 2, second=0.1, alone=0.5)
    ),
}


def hours(windows: Sequence[HeardWindow]) -> float:
    """Return how long windows are together."""
    return sum(window.end - window.start for window in windows) / 3600


def count_names(windows: Sequence[HeardWindow], rule: Rule, animal: Array, most: int) -> int:
    """Return the number of pairs of a window and an animal that a rule lets pass."""
    return sum(len(capped(rule(window, ~animal), window.logits, animal, most)) for window in windows)


def false_names(
    free: dict[str, list[HeardWindow]],
    animals: Sequence[HeardWindow],
    table: SpeciesTable,
    sources: dict[str, list[tuple[float, float, str]]],
    show: int,
) -> None:
    """Print the rate of false names by category and floor, which they are and where, and the rules' table."""
    animal = np.array([species.is_animal for species in table.species])
    settings = AnswerSettings()
    most = settings.max_species
    free = {name: windows for name, windows in free.items() if windows}
    everything = [window for windows in free.values() for window in windows]
    print("(b) False names per hour on recordings without animals")
    head = "".join(f"{f'at {floor:g}':>8s}" for floor in (*FLOORS[:2], 0.25, *FLOORS[2:]))
    print(f"  {'category':14s}{'files':>6s}{'hours':>8s}{'windows':>9s}{head}")
    for name, windows in (*free.items(), ("all", everything)):
        files = len({window.recording for window in windows})
        rates = [
            count_names(windows, at_floor(floor), animal, most) / hours(windows)
            for floor in (*FLOORS[:2], 0.25, *FLOORS[2:])
        ]
        cells = "".join(f"{rate:8.1f}" for rate in rates)
        print(f"  {name:14s}{files:6d}{hours(windows):8.2f}{len(windows):9d}{cells}")
    print(f"\n  {'rule':44s}{'false/h':>9s}{'kept of false':>15s}{'kept on animals':>17s}")
    before = [
        count_names(windows, RULES["floor 0.25 (default)"], animal, most) for windows in (everything, animals)
    ]
    for name, rule in RULES.items():
        counts = [count_names(windows, rule, animal, most) for windows in (everything, animals)]
        kept = [
            f"{count} ({100 * count / max(1, full):.0f} %)"
            for count, full in zip(counts, before, strict=True)
        ]
        print(f"  {name:44s}{counts[0] / hours(everything):9.1f}{kept[0]:>15s}{kept[1]:>17s}")
    found: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for window in everything:
        for index in decided(window.logits, animal, settings):
            found[index].append(
                (float(score(window.logits[:, index]).max()), source_of(window, index, sources))
            )
    print(f"\n  False names at {settings.min_evidence:g}: {len(found)} species")
    for index, cases in sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))[:show]:
        cases.sort(reverse=True)
        where = "; ".join(f"{evidence:.2f} {place}" for evidence, place in cases[:4])
        print(f"  {len(cases):4d}  {table.species[index].common_name} ({table.species[index].kind}): {where}")


def source_of(window: HeardWindow, index: int, sources: dict[str, list[tuple[float, float, str]]]) -> str:
    """Return what is heard in the segment in which a class is strongest."""
    span = max(0.0, window.end - window.start - SEGMENT_SECONDS)
    start = window.start + span * int(window.logits[:, index].argmax()) / max(1, len(window.logits) - 1)
    key = "/".join(window.recording.parts[-3:])
    parts = [
        path for first, last, path in sources.get(key, []) if first < start + SEGMENT_SECONDS and last > start
    ]
    if not parts:
        return f"{window.recording.name} at {start:.0f} s"
    names = [path.rsplit("/", 1)[-1] for path in parts]
    return f"{window.recording.stem}: {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else "")


def read_sources(folder: Path) -> dict[str, list[tuple[float, float, str]]]:
    """Return what collect_sounds.py wrote down: by recording, the stretches and the files they are from."""
    path = folder / "sources.tsv"
    sources: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                stretch = (float(row["start_seconds"]), float(row["end_seconds"]), row["path"])
                sources[row["recording"]].append(stretch)
    return sources


def main() -> None:
    """Print what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sounds", type=Path, required=True, help="folder of collect_sounds.py")
    parser.add_argument("--shared", type=Path, help="folder of further recordings")
    parser.add_argument("--only", choices=("agreement", "false-names"), help="one of the two")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--noise", choices=("white", "pink"), default="white")
    parser.add_argument("--cache", type=Path, help="folder in which (b) keeps logits between runs")
    parser.add_argument("--show", type=int, default=40, help="disagreements and false species to list")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    animals, free = sort_recordings(options.sounds, options.shared)
    if options.only != "agreement":
        encoder = BirdNetWindowEncoder(SAMPLE_RATE)
        encoder.load_frozen()
        if options.cache:
            options.cache.mkdir(parents=True, exist_ok=True)
        false_names(
            {name: hear(encoder, paths, name, options.cache) for name, paths in free.items()},
            hear(encoder, animals, "animals", options.cache),
            SpeciesTable.load(),
            read_sources(options.sounds),
            options.show,
        )
        print()
    if options.only != "false-names":
        from NatureLM.models.naturelm import NatureLM

        agreement(NatureLM.from_pretrained(options.model).eval(), animals, options.noise, options.show)


if __name__ == "__main__":
    main()
