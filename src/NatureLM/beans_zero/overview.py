"""What ``beans info`` says of the benchmark and of its components."""

from __future__ import annotations

import textwrap

from NatureLM.beans_zero.components import COMPONENTS, component

__all__ = ["everything", "one"]

_WIDTH = 100


def everything() -> str:
    """Return a table of all components."""
    rows = [("component", "task", "labels", "audio", "metric", "paper")]
    for each in COMPONENTS:
        labels = "-" if each.label_count is None else str(each.label_count)
        figure = f"{each.published:.3f}"
        rows.append((each.name, each.task, labels, f"{each.seconds:g} s", each.headline, figure))
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def one(name: str) -> str:
    """Return all facts about a component.

    Raises
    ------
    ConfigError
        There is no such component.
    """
    each = component(name)
    longest = "none named, " if each.max_seconds is None else ""
    facts = {
        "task": each.task,
        "recordings": f"{each.about}; licence: {each.licence}",
        "longest audio": f"{longest}cut and padded to {each.seconds:g} s",
        "question": each.query or "each row's own instruction",
        "metric": f"{each.headline}; NatureLM-audio's in the paper: {each.published:.3f}",
    }
    if each.labels:
        facts[f"{each.label_count} labels"] = "; ".join(each.labels)
    width = max(map(len, facts))
    lines = [each.name]
    for title, text in facts.items():
        first, later = f"  {title.ljust(width)}  ", " " * (width + 4)
        lines += textwrap.wrap(
            text, _WIDTH, initial_indent=first, subsequent_indent=later, break_on_hyphens=False
        )
    return "".join(f"{line}\n" for line in lines)
