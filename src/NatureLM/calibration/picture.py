"""The picture beside a calibration: verdicts by score, the fits, and the counts that they rest on."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from NatureLM.calibration.calibrating import Calibrated
from NatureLM.calibration.file import Fit
from NatureLM.errors import ConfigError
from NatureLM.whole_files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 8
MOST_PANELS = 11
"""Beside the pooled fit: the species with the most reviews."""


def draw(made: Calibrated, path: str | os.PathLike[str]) -> None:
    """Draw a panel for the pooled fit and one for each species with a fit of its own.

    Points are the share of right reviews in up to eight bins of equal counts, over the mean score of the bin,
    with 95 % Wilson intervals and their counts; the line is the fit, dotted beyond the reviewed scores.

    Parameters
    ----------
    made : Calibrated
    path : path
        A ``.png`` or ``.svg``; written whole or not at all.

    Raises
    ------
    ConfigError
        matplotlib is not installed.
    OSError
        The file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError(
            "a picture needs matplotlib, which is not installed: pip install matplotlib."
        ) from None
    matched, calibration = made.matched, made.calibration
    own = sorted((each for each in calibration.species if each.fit), key=lambda each: -each.reviews)
    names = np.array([(each.common_name, each.scientific_name) for each in matched.detections])
    panels: list[tuple[str, Fit, npt.NDArray[np.bool_]]] = [
        ("all species", calibration.pooled, np.ones(len(names), dtype=bool))
    ]
    for each in own[:MOST_PANELS]:
        assert each.fit is not None
        here = (names == (each.common_name, each.scientific_name)).all(1)
        panels.append((each.common_name or each.scientific_name, each.fit, here))
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.6 * columns + 0.4, 3.2 * rows + 0.4), layout="constrained")
    scores = np.array([each.score for each in matched.detections])
    right = np.array(matched.right)
    for axes, (title, fit, here) in zip(
        figure.subplots(rows, columns, squeeze=False).flat, panels, strict=False
    ):
        _panel(axes, title, fit, scores[here], right[here])
    for axes in figure.axes[len(panels) :]:
        axes.set_axis_off()
    figure.supxlabel("score")
    figure.supylabel("share that is right")
    final = Path(path)
    written = io.BytesIO()
    figure.savefig(written, format=final.suffix.removeprefix(".").lower() or "png", dpi=120)
    write_whole({final: written.getvalue()})


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927, JASA 22:209-212)."""
    z = 1.959964
    share = right / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * float(np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)))
    return max(0.0, centre - half), min(1.0, centre + half)


def reliability(scores: npt.ArrayLike, right: npt.ArrayLike) -> list[tuple[float, int, int]]:
    """Return mean score, right reviews and all reviews of up to eight bins of equal counts, by score."""
    scores, right = np.asarray(scores), np.asarray(right)
    order = np.argsort(scores, kind="stable")
    bins = np.array_split(order, min(BINS, max(1, len(order) // 5)))
    return [(float(scores[here].mean()), int(right[here].sum()), len(here)) for here in bins]


def _panel(
    axes: Axes, title: str, fit: Fit, scores: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]
) -> None:
    grid = np.linspace(0.001, 0.999, 400)
    chances = np.array([fit.probability(float(score)) for score in grid])
    inside = (grid >= fit.lowest_score) & (grid <= fit.highest_score)
    axes.plot(grid, chances, ":", color="#0072B2", linewidth=1)
    axes.plot(grid[inside], chances[inside], color="#0072B2", linewidth=1.6)
    for place, hits, count in reliability(scores, right):
        low, high = wilson_interval(hits, count)
        share = hits / count
        errors = [[max(0.0, share - low)], [max(0.0, high - share)]]
        axes.errorbar(place, share, yerr=errors, fmt="o", ms=4, capsize=2, color="#D55E00", elinewidth=1)
        axes.annotate(str(count), (place, share), (4, 4), textcoords="offset points", fontsize=7)
    axes.plot(scores[right], np.full(int(right.sum()), 1.03), "|", color="0.4", markersize=5)
    axes.plot(scores[~right], np.full(int((~right).sum()), -0.03), "|", color="0.4", markersize=5)
    for threshold in fit.thresholds:
        if threshold.score is not None:
            axes.plot([threshold.score] * 2, [0, threshold.probability], color="0.7", linewidth=0.8, zorder=0)
    axes.set_title(f"{title}: {fit.right} of {fit.reviews} right, {fit.recordings} recordings", fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.07, 1.07)
    axes.spines[["top", "right"]].set_visible(False)
