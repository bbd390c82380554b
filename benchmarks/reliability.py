"""Draw how often the bundled model's answers follow the evidence, over the confidence that it states.

    python benchmarks/reliability.py --windows 2000 --picture docs/reliability.png

The questions and windows are those of faithfulness.py: fresh synthetic evidence, an answer is right if it
equals, word for word, what the evidence demands. So this tells whether ``confidence`` knows when the language
model misreads the question or the evidence. It says nothing about whether the species was there: the evidence
itself is taken as the truth. Printed are the counts behind every point, and the expected calibration error
(Naeini, Cooper & Hauskrecht 2015): the mean distance of confidence and share right, weighted by answers.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from faithfulness import Asked, answer_all, make_questions, wilson_interval

from NatureLM.models.naturelm import NatureLM

EDGES = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0)
"""Bounds of the bins: most answers lie close to 1, so the bins do."""

SPLITS = {
    "trained wordings": ("train", "lists", "train turns", "train pairs", "train rich pairs"),
    "held-out wordings": ("held_out", "held_out turns", "held_out pairs", "held_out rich pairs"),
    "freely worded": ("free",),
}
COLOURS = ("#0072B2", "#E69F00", "#009E73")


@dataclass(frozen=True)
class Bin:
    """Answers of about equal confidence.

    Attributes
    ----------
    low, high : float
        Bounds of the confidence; the upper one belongs to the last bin only.
    confidence : float
        Mean of the answers.
    right, count : int
        Answers that equal what the evidence demands, and all.
    """

    low: float
    high: float
    confidence: float
    right: int
    count: int


def bins_of(asked: Sequence[Asked]) -> list[Bin]:
    """Return the bins that hold any answers."""
    confidence = np.array([item.confidence for item in asked])
    right = np.array([item.right for item in asked])
    place = np.clip(np.searchsorted(EDGES, confidence, side="right") - 1, 0, len(EDGES) - 2)
    bins = []
    for number, (low, high) in enumerate(pairwise(EDGES)):
        here = place == number
        if here.any():
            bins.append(
                Bin(low, high, float(confidence[here].mean()), int(right[here].sum()), int(here.sum()))
            )
    return bins


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error."""
    total = sum(each.count for each in bins)
    return sum(abs(each.right - each.confidence * each.count) for each in bins) / total


def table(splits: dict[str, list[Bin]]) -> list[str]:
    """Return the counts behind the picture, as Markdown."""
    lines = [
        "| confidence | " + " | ".join(f"{name}: right of all (share)" for name in splits) + " |",
        "|---" * (1 + len(splits)) + "|",
    ]
    for low, high in pairwise(EDGES):
        cells = []
        for bins in splits.values():
            found = [each for each in bins if each.low == low]
            cells.append(
                f"{found[0].right} of {found[0].count} ({found[0].right / found[0].count:.3f})"
                if found
                else "-"
            )
        lines.append(f"| {low:g} to {high:g} | " + " | ".join(cells) + " |")
    errors = [f"{calibration_error(bins):.4f}" for bins in splits.values()]
    return [*lines, "| expected calibration error | " + " | ".join(errors) + " |"]


def draw(splits: dict[str, list[Bin]], path: Path) -> None:
    """Draw the share right over the confidence, with 95 % intervals, and the answers per bin below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    ticks = np.arange(len(EDGES))
    positions = {name: [] for name in splits}
    for number, (name, bins) in enumerate(splits.items()):
        places = [EDGES.index(each.low) + 0.5 + 0.22 * (number - 1) for each in bins]
        positions[name] = places
        shares = [each.right / each.count for each in bins]
        ends = [wilson_interval(each.right, each.count) for each in bins]
        errors = [
            [max(0.0, share - low) for share, (low, _) in zip(shares, ends, strict=True)],
            [max(0.0, high - share) for share, (_, high) in zip(shares, ends, strict=True)],
        ]
        above.errorbar(
            places, shares, yerr=errors, fmt="o", ms=4, capsize=2, color=COLOURS[number], label=name
        )
        below.bar(places, [each.count for each in bins], width=0.2, color=COLOURS[number])
    # Where confidence and share agree: within a bin, the diagonal from its lower to its upper bound.
    above.plot(ticks, EDGES, color="0.6", linewidth=1, zorder=0, label="confidence = share right")
    above.set_ylabel("share of answers that follow the evidence")
    above.set_ylim(0, 1.03)
    above.legend(frameon=False, loc="upper left", fontsize=8)
    above.set_title("Faithfulness to the encoder on synthetic evidence, not field accuracy", fontsize=9)
    below.set_yscale("log")
    below.set_ylabel("answers")
    below.set_xticks(ticks, [f"{edge:g}" for edge in EDGES])
    below.set_xlabel("confidence (bounds of the bins)")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)


def main() -> None:
    """Ask, print the table, draw the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--windows", type=int, default=2000)
    parser.add_argument("--backgrounds", type=int, default=60, help="windows of fresh background")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--picture", type=Path, help="draw it there, a .png (needs matplotlib)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = NatureLM.from_pretrained(options.model)
    asked = make_questions(model, options.windows, options.backgrounds)
    answer_all(model, asked)
    splits = {
        name: bins_of([item for item in asked if item.section in sections])
        for name, sections in SPLITS.items()
    }
    print("\n".join(table(splits)))
    if options.picture:
        draw(splits, options.picture)


if __name__ == "__main__":
    main()
