"""A picture of one or several models: bars with intervals, the published figures as marks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from NatureLM.beans_zero.report import PUBLISHED, lines
from NatureLM.beans_zero.results import Results, write_files
from NatureLM.errors import ConfigError

__all__ = ["check_picture", "draw"]

FORMATS = (".png", ".svg")
LEGEND_LETTERS = 95
"""As many stand side by side above the picture."""

# Of Okabe and Ito, *Color Universal Design* (2008): told apart by the colour-blind, too.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")


def check_picture(path: Path) -> None:
    """Check, before any work, that a picture can be drawn under that name.

    Raises
    ------
    ConfigError
        Another format, or matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"--picture {path}: pictures are .png or .svg; let the name end so.")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ConfigError(
            "--picture needs matplotlib, which is not installed: pip install -e '.[picture]'."
        ) from None


def draw(results: Sequence[Results], path: Path) -> None:
    """Draw a bar per component and model.

    Parameters
    ----------
    results : sequence of Results
    path : path
        ``.png`` or ``.svg``; written whole or not at all.
    """
    import matplotlib
    from matplotlib.figure import Figure

    shown = [line for line in lines(results) if any(cell is not None for cell in line.cells)]
    thickness = 0.8 / len(results)
    figure = Figure(figsize=(8, 1.6 + 0.3 * len(shown) * max(1, 0.55 * len(results))), layout="constrained")
    axes = figure.subplots()
    for place, each in enumerate(results):
        drawn = [(row, cell) for row, line in enumerate(shown) if (cell := line.cells[place]) is not None]
        offset = (place - (len(results) - 1) / 2) * thickness
        values = [cell.value for _, cell in drawn]
        ends = [cell.interval or (cell.value, cell.value) for _, cell in drawn]
        # A percentile interval may lie to one side of the value.
        errors = [
            [max(0.0, value - low) for value, (low, _) in zip(values, ends, strict=True)],
            [max(0.0, high - value) for value, (_, high) in zip(values, ends, strict=True)],
        ]
        axes.barh(
            [row + offset for row, _ in drawn],
            values,
            height=thickness * 0.9,
            xerr=errors,
            color=_COLOURS[place % len(_COLOURS)],
            error_kw={"elinewidth": 1, "capsize": 2},
            label=each.model,
        )
    marks = [(line.published, row) for row, line in enumerate(shown) if line.published is not None]
    places = zip(*marks, strict=True) if marks else ([], [])
    # White within, to be seen on bars and on the lines of intervals.
    axes.plot(*places, "kD", markersize=5, markerfacecolor="white", zorder=4, label=PUBLISHED)
    axes.set_yticks(range(len(shown)), [f"{line.component.name} ({line.metric})" for line in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("value, with its 95 % bootstrap interval")
    axes.spines[["top", "right"]].set_visible(False)
    longest = max(len(each.model) for each in results)
    columns = max(1, min(4, LEGEND_LETTERS // (longest + 7)))  # a name's key is as wide as 7 letters
    legend = figure.legend(loc="outside upper left", ncols=columns, frameon=False)
    for name in legend.get_texts():
        name.set_parse_math(False)  # dollars in a model's name are dollars
    written = io.BytesIO()
    kind = path.suffix.lower().removeprefix(".")
    # Without the date and with a fixed salt, the same metrics give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "beans"}):
        figure.savefig(written, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    write_files({path: written.getvalue()})
