"""Score the bundled model on questions of BEANS-Zero about a few real recordings, with noise. Not BEANS-Zero.

    python benchmarks/beans_real_recordings.py --shared RECORDINGS

The benchmark's own recordings are not used: this is a handful of others whose content is known, cut into
windows of ten seconds. Each window gets pink noise at several signal-to-noise ratios (the signal's power is
the mean square of the whole window, its own background with it) and becomes two rows: one is asked for the
focal species, under the name of the component cbi, one for all species, under enabirds, since it is by these
names that the questions and metrics are chosen. Recordings without animals, and noise alone, become rows of
the second kind with the true answer None. What a recording holds is said of the whole of it: whether every
window holds a call was not checked. ``beans`` runs and scores the rows; the table has a line per ratio.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from real_recordings import SAMPLE_RATE, SEED, WINDOW_SECONDS, Array, changed, windows_of

from NatureLM.beans_zero.predictions import Answers
from NatureLM.beans_zero.scoring import score
from NatureLM.cli.beans import app
from NatureLM.cli.running import run

SPECIES = {
    "great_plains_toad.wav": "Great Plains Toad",
    "green_treefrog.mp3": "Green Treefrog",
    "lazuli_bunting.mp3": "Lazuli Bunting",
    "sandhill_crane.mp3": "Sandhill Crane",
    "turtle_dove_16khz.flac": "European Turtle-Dove",
}
WITHOUT_ANIMALS = ("stream_noise.mp3", "jazz_music.mp3")
RATIOS = (np.inf, 20.0, 10.0, 0.0, -5.0, -10.0)
FOCAL = "What is the common name for the focal species in the audio?"
SHORTEST_SECONDS = 3.0
COLUMNS = ("dataset_name", "id", "audio", "instruction", "output")


def main() -> None:
    """Write the rows, run them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--output", type=Path, help="keeps the predictions under this name (.jsonl)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_rows(options.shared, Path(folder))
        predictions = options.output or Path(folder) / "predictions.jsonl"
        status = run(
            app,
            "beans",
            ["--data-path", f"{folder}/rows.csv", "--output-path", str(predictions), "--overwrite"],
        )
        if status:
            raise SystemExit(status)
        print(table([json.loads(line) for line in predictions.read_text().splitlines()]))


def write_rows(shared: Path, folder: Path) -> None:
    """Write the windows as audio files, and the table of rows."""
    with (folder / "rows.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for number, (name, truth, samples) in enumerate(windows(shared)):
            for ratio in RATIOS:
                identity = f"{name} {number} {ratio:g}"
                heard = changed(samples, 0.0, ratio, "pink", SEED + number)
                soundfile.write(folder / f"{identity}.wav", heard, SAMPLE_RATE, subtype="FLOAT")
                if truth != "None":
                    rows.writerow(["cbi", identity, f"{identity}.wav", FOCAL, truth])
                rows.writerow(["enabirds", identity, f"{identity}.wav", "replaced by the benchmark's", truth])


def windows(shared: Path) -> Iterator[tuple[str, str, Array]]:
    """Yield name, true answer and samples of each window."""
    for name, truth in [*SPECIES.items(), *((name, "None") for name in WITHOUT_ANIMALS)]:
        for start, end, samples in windows_of(shared / name):
            if end - start >= SHORTEST_SECONDS:
                yield Path(name).stem, truth, samples
    faint = np.random.default_rng(SEED).normal(0, 1e-4, round(WINDOW_SECONDS * SAMPLE_RATE))
    yield "faint_noise", "None", faint.astype(np.float32)


def table(predictions: list[dict[str, str]]) -> str:
    """Return the figures, a line per ratio, in Markdown."""
    by_ratio: dict[str, dict[str, Answers]] = defaultdict(lambda: defaultdict(Answers))
    for row in predictions:
        answers = by_ratio[row["id"].rpartition(" ")[2]][row["dataset_name"]]
        answers.predictions.append(row["prediction"])
        answers.labels.append(row["label"])
    lines = [
        "| Noise, SNR | Focal species: accuracy | word for word | All species: macro F1 "
        "| False names without animals |",
        "|---|---|---|---|---|",
    ]
    for ratio, answers in by_ratio.items():
        scores = score(answers)
        focal, detection = answers["cbi"], answers["enabirds"]
        exact = sum(map(str.__eq__, focal.predictions, focal.labels))
        without = [
            said for said, true in zip(detection.predictions, detection.labels, strict=True) if true == "None"
        ]
        accuracy, f1 = scores["cbi"], scores["enabirds"]
        lines.append(
            f"| {'none' if ratio == 'inf' else f'{ratio} dB'} "
            f"| {_figure(accuracy.metrics['Accuracy'], accuracy.intervals['Accuracy'])} "
            f"| {exact} of {len(focal.labels)} "
            f"| {_figure(f1.metrics['F1'], f1.intervals['F1'])} "
            f"| {sum(said != 'None' for said in without)} of {len(without)} |"
        )
    return "\n".join(lines)


def _figure(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


if __name__ == "__main__":
    main()
