"""Files of metrics: what ``beans score`` writes and ``beans report`` reads.

``<name>_metrics.json`` holds an object per component, its metrics by the names of the benchmark's own
program, and beside them ``rows``, ``intervals``, ``skipped`` and ``problem``; how they came about is in
``about``.
``<name>_metrics.jsonl`` holds the same, a component a line.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from NatureLM.beans_zero.components import component
from NatureLM.beans_zero.scoring import Score
from NatureLM.errors import ConfigError, NatureLMError, PredictionsError
from NatureLM.whole_files import write_whole

__all__ = ["Results", "metrics_paths", "read_results", "write_files", "write_results"]

ABOUT = "about"
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
    """
    if output is None:
        output = predictions.with_name(f"{predictions.stem}_metrics.json")
    elif output.suffix.lower() != ".json":
        raise ConfigError(f"--output-path {output}: metrics are written as JSON; let the name end in .json.")
    return output, output.with_suffix(".jsonl")


def write_results(results: Results, paths: tuple[Path, Path]) -> None:
    """Write both files of metrics; neither is ever seen half-written."""
    about = {"model": results.model, **results.about}
    scores = {name: _to_json(each) for name, each in results.scores.items()}
    lines = [json.dumps({"component": name, "model": results.model, **each}) for name, each in scores.items()]
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
        scores = {name: _from_json(name, each) for name, each in components}
        if not scores:
            raise ValueError("it has no component")
    except (ValueError, TypeError) as error:
        raise PredictionsError(
            f"{path}: is not a file of metrics ({error}); name one that beans score wrote."
        ) from None
    return Results(about.get("model") or path.stem.removesuffix("_metrics"), scores, about)


def _from_object(text: str) -> tuple[dict[str, Any], Iterable[tuple[str, Any]]]:
    whole = _object(json.loads(text))
    about = _object(whole.pop(ABOUT, {}))
    return about, whole.items()


def _from_lines(text: str) -> tuple[dict[str, Any], Iterable[tuple[str, Any]]]:
    lines = [_object(json.loads(line)) for line in text.splitlines() if line.strip()]
    models = [line.pop("model", None) for line in lines]
    return {"model": models[0]} if models else {}, [
        (str(line.pop("component", None)), line) for line in lines
    ]


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
    if written.get("problem") is None:
        try:
            component(name)
        except ConfigError as error:
            raise ValueError(str(error).rstrip(".")) from None
    metrics = {
        _NAMES.get(metric, metric): number for metric, number in written.items() if metric not in _OURS
    }
    intervals = _object(written.get("intervals", {}))
    return Score(
        rows=int(written.get("rows", 0)),
        metrics={metric: float(number) for metric, number in metrics.items()},
        intervals={metric: (float(low), float(high)) for metric, (low, high) in intervals.items()},
        skipped=_object(written.get("skipped", {})),
        problem=written.get("problem"),
    )
