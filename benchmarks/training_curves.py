"""Draw the curves of training runs: loss, and exact answers in trained and held-out wordings.

    python benchmarks/training_curves.py docs/training_curves.png naturelm_lite another_seed

Each argument after the picture is a folder that `naturelm train` wrote.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np


def read_log(folder: Path) -> tuple[list[dict[str, float]], list[tuple[int, float, float]]]:
    """Return the lines with losses, and (step, exact in trained, exact in held-out wordings)."""
    losses, exact = [], []
    for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "exact" in entry:
            held_out = [value for name, value in entry["exact"].items() if name.startswith("held_out/")]
            trained = [value for name, value in entry["exact"].items() if not name.startswith("held_out/")]
            exact.append((entry["step"], float(np.mean(trained)), float(np.mean(held_out))))
        else:
            losses.append(entry)
    # A run that went on from a checkpoint has some steps twice; the later ones count.
    by_step = {entry["step"]: entry for entry in losses}
    return [by_step[step] for step in sorted(by_step)], exact


def main() -> None:
    """Draw the picture that the command line names."""
    picture, *folders = map(Path, sys.argv[1:])
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for folder in folders:
        losses, exact = read_log(folder)
        left.plot([entry["step"] for entry in losses], [entry["loss"] for entry in losses], label=folder.name)
        steps, trained, held_out = zip(*exact, strict=True)
        (line,) = right.plot(steps, trained, marker="o", label=f"{folder.name}, trained wordings")
        right.plot(steps, held_out, marker="s", ls="--", color=line.get_color(), label="held-out wordings")
    left.set(xlabel="step", ylabel="loss", yscale="log")
    right.set(xlabel="step", ylabel="exact answers, mean of the tasks")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main()
