"""Files of metrics: what ``beans score`` writes and ``beans report`` reads.

``<name>_metrics.json`` holds an object per component, its metrics by the names of the benchmark's own
program, and beside them ``rows``, ``intervals``, ``skipped`` and ``problem``; how they came about is in
``about``.
``<name>_metrics.jsonl`` holds the same, a component a line.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from NatureLM.beans_zero.components import component
from NatureLM.beans_zero.scoring import Score
from NatureLM.errors import ConfigError, NatureLMError, PredictionsError
from NatureLM.infer.output_names import RUN, beside
from NatureLM.json_text import parse_json
from NatureLM.whole_files import write_whole

__all__ = [
    "Results",
    "check_kept",
    "check_replaceable",
    "metrics_paths",
    "read_results",
    "run_of",
    "write_files",
    "write_results",
]

ABOUT = "about"
BENCHMARK = "BEANS-Zero"
"""What the record of a run calls it."""
_NAMES = {"spider_score": "SPIDEr"}
"""What the benchmark's own program calls a metric that we name as the paper does."""
_OURS = ("rows", "intervals", "skipped", "problem")


@dataclass(frozen=True)
class Results:
    """The scores of one model.

    Attributes
    ----------
    model : str
        What the model is called in reports.
    scores : dict
        By component.
    about : dict
        How they came about: predictions, label set, resamples, seed, version.
    """

    model: str
    scores: dict[str, Score]
    about: dict[str, Any] = field(default_factory=dict)


def metrics_paths(predictions: Path, output: Path | None = None) -> tuple[Path, Path]:
    """Return where the metrics of a file of predictions go: ``_metrics.json`` and ``_metrics.jsonl``.

    Parameters
    ----------
    predictions : path
    output : path, optional
        Another name for the first, ending in ``.json``; the second is named after it.

    Raises
    ------
    ConfigError
        The name ends otherwise, the metrics would overwrite the predictions, or these are a folder.
    """
    if not predictions.name:
        raise ConfigError(f"{predictions}: is a folder; name a file of predictions.")
    if output is None:
        output = predictions.with_name(f"{predictions.stem}_metrics.json")
    elif output.suffix.lower() != ".json":
        raise ConfigError(f"--output-path {output}: metrics are written as JSON; let the name end in .json.")
    paths = output, output.with_suffix(".jsonl")
    check_kept(predictions, "predictions", paths)
    return paths


def check_replaceable(paths: Iterable[Path]) -> None:
    """Check, before any work, that metrics replace nothing but metrics.

    Raises
    ------
    ConfigError
        A file holds something else.
    """
    for path in paths:
        if not _is_replaceable(path):
            raise ConfigError(
                f"{path}: exists already and holds something else than metrics; choose another --output-path."
            )


def _is_replaceable(path: Path) -> bool:
    """Whether a file is not there, or holds metrics as far as its beginning tells, or nothing."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return True
    except (OSError, UnicodeDecodeError):
        return False
    try:
        if path.suffix == ".jsonl":
            return not text or "component" in _object(parse_json(text.splitlines()[0]))
        whole = _object(parse_json(text or "{}"))
    except ValueError:
        return False
    return all(isinstance(each, dict) for each in whole.values())


def run_of(predictions: Path) -> dict[str, Any]:
    """Return what the record of the run that made predictions says of them; nothing where there is none.

    Returns
    -------
    dict
        ``model`` (its name), ``data_path`` and ``limit``.
    """
    try:
        record = _object(parse_json(beside(predictions, RUN).read_text(encoding="utf-8")))
        if record.get("benchmark") != BENCHMARK:
            return {}
        limit = record.get("limit")
        return {
            "model": _text("model", _object(record.get("model")).get("name")),
            "data_path": _text("data_path", record.get("data_path")),
            "limit": None if limit is None else int(_number("limit", limit)),
        }
    except (OSError, ValueError):
        return {}


def check_kept(kept: Path, what: str, written: Sequence[Path]) -> None:
    """Check, before any work, that no file that is to be written is the one it is made from.

    Parameters
    ----------
    kept : path
    what : str
        What it holds.
    written : sequence of path

    Raises
    ------
    ConfigError
        One is.
    """
    if any(_same_file(path, kept) for path in written):
        *first, last = map(str, written)
        raise ConfigError(
            f"Writing {', '.join(first)} and {last} would overwrite the {what} in {kept}; choose another "
            "--output-path."
        )


def _same_file(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)


def write_results(results: Results, paths: tuple[Path, Path]) -> None:
    """Write both files of metrics; neither is ever seen half-written."""
    about = {"model": results.model, **results.about}
    scores = {name: _to_json(each) for name, each in results.scores.items()}
    limit = results.about.get("limit")
    same = {"model": results.model, **({} if limit is None else {"limit": limit})}
    lines = [json.dumps({"component": name, **same, **each}) for name, each in scores.items()]
    whole = json.dumps({ABOUT: about, **scores}, indent=1)
    write_files({paths[0]: f"{whole}\n".encode(), paths[1]: "".join(f"{line}\n" for line in lines).encode()})


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write files, all of them whole or none.

    Raises
    ------
    NatureLMError
        One cannot be written.
    """
    try:
        write_whole(contents)
    except OSError as error:
        raise NatureLMError(f"{error.filename}: cannot be written ({error.strerror}).") from None


def read_results(paths: Iterable[Path]) -> list[Results]:
    """Read files of metrics, of ours or of the benchmark's own program.

    Models of one name are told apart by their files.

    Raises
    ------
    ConfigError
        No such file.
    PredictionsError
        It holds something else than metrics.
    """
    read = [(path, _read(path)) for path in paths]
    names = Counter(each.model for _, each in read)
    return [
        replace(each, model=f"{each.model} ({path})") if names[each.model] > 1 else each
        for path, each in read
    ]


def _read(path: Path) -> Results:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; name a file of metrics that beans score wrote.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PredictionsError(f"{path}: cannot be read as UTF-8 text ({error}).") from None
    try:
        about, components = _from_lines(text) if path.suffix.lower() == ".jsonl" else _from_object(text)
        model = about.get("model")
        model = path.stem.removesuffix("_metrics") if model in (None, "") else _text("model", model)
        scores = {name: _from_json(name, each) for name, each in components}
        if not scores:
            raise ValueError("it has no component")
    except ValueError as error:
        raise PredictionsError(
            f"{path}: is not a file of metrics ({error}); name one that beans score wrote."
        ) from None
    return Results(model, scores, about)


def _from_object(text: str) -> tuple[dict[str, Any], Iterable[tuple[str, Any]]]:
    whole = _object(parse_json(text))
    about = _object(whole.pop(ABOUT, {}))
    return about, whole.items()


def _from_lines(text: str) -> tuple[dict[str, Any], Iterable[tuple[str, Any]]]:
    lines = [_object(parse_json(line)) for line in text.splitlines() if line.strip()]
    told: list[dict[str, Any]] = [
        {name: line.pop(name) for name in ("model", "limit") if name in line} for line in lines
    ]
    return told[0] if told else {}, [(str(line.pop("component", None)), line) for line in lines]


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__} stands where an object should")
    return value


def _to_json(score: Score) -> dict[str, Any]:
    written: dict[str, Any] = {**score.metrics, "rows": score.rows}
    if score.intervals:
        written["intervals"] = {name: list(ends) for name, ends in score.intervals.items()}
    if score.skipped:
        written["skipped"] = score.skipped
    if score.problem is not None:
        written["problem"] = score.problem
    return written


def _from_json(name: str, value: Any) -> Score:
    written = _object(value)
    problem = written.get("problem")
    if problem is None:
        try:
            component(name)
        except ConfigError as error:
            raise ValueError(str(error).rstrip(".")) from None
    rows = _number("rows", written.get("rows", 0))
    if not (rows >= 0 and rows.is_integer()):
        raise ValueError(f"rows is {rows} where a whole number should stand")
    return Score(
        rows=int(rows),
        metrics={
            _NAMES.get(metric, metric): _number(metric, number)
            for metric, number in written.items()
            if metric not in _OURS
        },
        intervals={
            metric: _interval(metric, ends) for metric, ends in _object(written.get("intervals", {})).items()
        },
        skipped={
            metric: _text(f"skipped {metric}", reason)
            for metric, reason in _object(written.get("skipped", {})).items()
        },
        problem=None if problem is None else _text("problem", problem),
    )


def _interval(metric: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"the interval of {metric} is not a pair of numbers")
    return _number(metric, value[0]), _number(metric, value[1])


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} is a JSON {type(value).__name__} where a number should stand")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} is too large a number") from None


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is a JSON {type(value).__name__} where text should stand")
    return value
