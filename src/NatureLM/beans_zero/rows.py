"""The rows of a run: which of the data's rows are asked about, and what each of them is asked."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from NatureLM.beans_zero.components import COMPONENTS, component
from NatureLM.beans_zero.data import Fields, Source
from NatureLM.errors import ConfigError
from NatureLM.json_text import parse_json

__all__ = ["Plan", "Row", "check_queries", "plan_rows"]

Key = tuple[int, int]

_KNOWN = {each.name for each in COMPONENTS}


@dataclass(frozen=True)
class Row:
    """A row to be asked about.

    Attributes
    ----------
    place : int
        In the data.
    component : str
    id : str
        The data's, or the place; told apart within the component.
    query : str
        What is asked.
    label : str
        The true answer.
    sample_rate : int or None
        Rate in Hz of bare samples, where the metadata name it.
    seconds : float
        Length of the sound that is heard.
    key : tuple of int
        Changes when the row, or the file that holds it, does.
    problem : str or None
        Why the row cannot be asked about.
    """

    place: int
    component: str
    id: str
    query: str
    label: str
    sample_rate: int | None
    seconds: float
    key: Key
    problem: str | None = None

    @property
    def name(self) -> str:
        """How a run calls the row."""
        return f"{self.component}/{self.id}"


@dataclass
class Plan:
    """The rows of a run in the data's order, and how many rows were passed over of what is no component."""

    rows: list[Row] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)


def plan_rows(source: Source, components: Sequence[str] = (), limit: int | None = None) -> Plan:
    """Choose the rows to be asked about, without their sound.

    Parameters
    ----------
    source : Source
    components : sequence of str
        Of these only; none takes all that the benchmark has.
    limit : int, optional
        The first so many rows of each component.

    Raises
    ------
    ConfigError
        A component is unknown, or has no rows; a column is missing.
    DataError
        The text of the data cannot be read.
    """
    for name in components:
        component(name)
    wanted = set(components)
    plan, seen, counts = Plan(), Counter[str](), Counter[str]()
    for fields in source.fields(wanted):
        name = str(fields.values.get("dataset_name"))
        if name not in _KNOWN and not wanted:
            plan.unknown[name] += 1
        if name not in _KNOWN or (wanted and name not in wanted) or counts[name] == limit:
            continue
        counts[name] += 1
        plan.rows.append(_row(fields, name, seen))
        if limit is not None and wanted and all(counts[each] == limit for each in wanted):
            break
    for name in components:
        if not counts[name]:
            there = ", ".join(each.name for each in COMPONENTS if counts[each.name])
            others = f"; of those asked for there are {there}" if there else ""
            raise ConfigError(
                f"--components {name}: {source.name} holds no row of it{others}. Leave it out, or name "
                "other data."
            )
    if not plan.rows:
        found = f"; found {', '.join(sorted(plan.unknown))}" if plan.unknown else ""
        raise ConfigError(
            f"--data-path {source.name}: holds no row of a component of BEANS-Zero{found}; "
            "beans info lists them."
        )
    return plan


def _row(fields: Fields, name: str, seen: Counter[str]) -> Row:
    values = fields.values
    about = component(name)
    problem = None
    query = about.query or _instruction(values)
    if not query:
        problem = "it has no instruction, so there is nothing to ask."
    label = values.get("output")
    if not isinstance(label, str) or not label:
        problem, label = "it has no output, the true label.", ""
    given = values.get("id")
    identity = str(fields.place) if given is None or given == "" else str(given)
    seen[f"{name}/{identity}"] += 1
    if (number := seen[f"{name}/{identity}"]) > 1:
        identity = f"{identity} ({number})"
    return Row(
        place=fields.place,
        component=name,
        id=identity,
        query=query,
        label=label,
        sample_rate=_sample_rate(values.get("metadata")),
        seconds=about.seconds,
        key=_key(fields),
        problem=problem,
    )


def _instruction(values: Mapping[str, Any]) -> str:
    for column in ("instruction", "instruction_text"):
        text = values.get(column)
        if isinstance(text, str) and text.strip():
            return text.strip()
    return ""


def check_queries(rows: Sequence[Row], check_query: Callable[[str], object]) -> list[Row]:
    """Return the rows, those with a problem that the model cannot be asked.

    Parameters
    ----------
    rows : sequence of Row
    check_query : callable
        Raises ConfigError for what cannot be asked.
    """
    problems: dict[str, str | None] = {}
    for row in rows:
        if row.query and row.query not in problems:
            try:
                check_query(row.query)
            except ConfigError as error:
                problems[row.query] = f"it cannot be asked: {error}"
            else:
                problems[row.query] = None
    return [replace(row, problem=problem) if (problem := problems.get(row.query)) else row for row in rows]


def _sample_rate(metadata: object) -> int | None:
    """Return the ``sample_rate`` that the metadata, JSON text or an object, name; None where they do not."""
    if isinstance(metadata, str):
        try:
            metadata = parse_json(metadata)
        except ValueError:
            return None
    rate = metadata.get("sample_rate") if isinstance(metadata, Mapping) else None
    if not isinstance(rate, (int, float)) or isinstance(rate, bool) or not 0 < rate < 2**31:
        return None
    return int(rate) if rate == int(rate) else None


def _key(fields: Fields) -> Key:
    size, changed = fields.stamp
    content = json.dumps([size, {name: str(value) for name, value in fields.values.items()}], sort_keys=True)
    return int(hashlib.sha256(content.encode("utf-8", "backslashreplace")).hexdigest()[:15], 16), changed
