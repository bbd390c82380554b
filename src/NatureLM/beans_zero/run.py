"""A run of the benchmark: rows through the engine, predictions into a file, and their scores beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from NatureLM import __version__
from NatureLM.beans_zero.components import COMPONENTS, LONGEST_SECONDS, unknown_component
from NatureLM.beans_zero.data import Sounds, Source, open_source
from NatureLM.beans_zero.data.source import Signal
from NatureLM.beans_zero.predictions import Answers, read_predictions
from NatureLM.beans_zero.results import (
    BENCHMARK,
    Results,
    check_kept,
    check_replaceable,
    metrics_paths,
    write_results,
)
from NatureLM.beans_zero.rows import Plan, Row, check_queries, plan_rows
from NatureLM.beans_zero.scoring import Score, score
from NatureLM.errors import ConfigError, RecordingError
from NatureLM.infer.answers import Answer
from NatureLM.infer.building import build_engine
from NatureLM.infer.engine import Engine, Recording
from NatureLM.infer.fingerprint import model_fingerprint
from NatureLM.infer.journaled import Observer, answer_recordings
from NatureLM.infer.settings import Configuration
from NatureLM.infer.sinks import Sink, open_sink

__all__ = ["Request", "Run", "run_benchmark"]

PROTOCOL: Mapping[str, Any] = {
    "window_length_seconds": LONGEST_SECONDS,
    "hop_length_seconds": None,
    "channel": "mix",
    "time_expansion": 1.0,
    "silence_db": None,
}
"""Settings that the benchmark fixes, whatever the configuration says: each row is heard once, whole."""


@dataclass(frozen=True)
class Request:
    """What is to be done.

    Attributes
    ----------
    data_path : str
        Hub id, folder or file.
    output : Path
        Predictions, a ``.jsonl``; the other files are named after it.
    components : sequence of str
        Of these only; none takes all.
    limit : int or None
        The first so many rows of each component.
    overwrite : bool
        Whether an output that another run wrote may be replaced.
    decoders : int or None
        Threads that read and resample sound; None takes the engine's default.
    resamples, seed : int
        Of the bootstrap.
    configuration : Configuration
        Of the model and its answers.
    """

    data_path: str
    output: Path
    components: Sequence[str] = ()
    limit: int | None = None
    overwrite: bool = False
    decoders: int | None = None
    resamples: int = 1000
    seed: int = 0
    configuration: Configuration = field(default_factory=Configuration)


@dataclass(frozen=True)
class Run:
    """What came of it.

    Attributes
    ----------
    results : Results
        Scores by component.
    metrics : tuple of Path
        Where they are.
    rows, reused : int
        Rows of the run, and those of them that were answered by an earlier run.
    failed : Counter
        Rows without an answer, by component.
    failures_path : Path or None
        Where they are listed, with reasons.
    """

    results: Results
    metrics: tuple[Path, Path]
    rows: int
    reused: int
    failed: Counter[str]
    failures_path: Path | None


def run_benchmark(request: Request, observer: Observer, engine: Engine | None = None) -> Run:
    """Ask the model about the rows, write its predictions and score them.

    The engine is made as the request's configuration says, unless one is given.

    Raises
    ------
    ConfigError
        Something asked for is wrong; nothing was done.
    DataError
        The text of the data cannot be read; nothing was done.
    ModelUnavailableError, CheckpointError
        The model cannot be had or loaded.
    NatureLMError
        A file cannot be written; the predictions so far are kept, for the same request to go on from.
    """
    if request.output.suffix.lower() != ".jsonl":
        raise ConfigError(
            f"--output-path {request.output}: predictions are JSON lines; let the name end in .jsonl."
        )
    metrics = metrics_paths(request.output)
    source = open_source(request.data_path)
    check_kept(Path(source.name), "rows", (request.output, *metrics))
    check_replaceable(metrics)
    with closing(open_sink(request.output, overwrite=request.overwrite)) as sink:
        observer.say(f"Reading which rows {source.name} holds ...")
        plan = plan_rows(source, request.components, request.limit)
        if engine is None:
            config = request.configuration.config.model_copy(update=dict(PROTOCOL))
            engine = build_engine(replace(request.configuration, config=config))
        engine.whole_windows = True  # _Ears has brought each to its component's length
        if request.decoders is not None:
            engine.decoders = max(1, request.decoders)
        observer.say(f"Model: {engine.model.config.name} on {engine.model.device}.")
        rows = check_queries(plan.rows, engine.check_query)
        by_name = {row.name: row for row in rows}
        ears = _Ears()
        done = answer_recordings(
            engine,
            [Recording(row.name, (row.query,), read=ears.of(row)) for row in rows],
            {row.name: row.key for row in rows},
            sink,
            _parameters(request, engine),
            observer,
            told={"device": str(engine.model.device), "batch_size": engine.batch_size},
            to_row=lambda answer: _prediction(answer, by_name[answer.audio_path]),
            before=lambda left: ears.open(source, [by_name[each.name] for each in left]),
        )
    failed = Counter(row.component for row in plan.rows if sink.progress(row.name).state == "failed")
    results = _results(request, engine, plan, failed, sink)
    write_results(results, metrics)
    return Run(
        results,
        metrics,
        rows=len(plan.rows),
        reused=done.reused,
        failed=failed,
        failures_path=sink.failures_path() if failed else None,
    )


class _Ears:
    """Reads rows' sound, once it is known which of them are left."""

    def __init__(self) -> None:
        self._sounds: Sounds | None = None

    def open(self, source: Source, rows: Sequence[Row]) -> None:
        self._sounds = source.sounds([row.place for row in rows if row.problem is None])

    def of(self, row: Row) -> _Ear:
        return _Ear(self, row)

    def hear(self, row: Row) -> Signal:
        """Return a row's sound as the benchmark has it heard: cut, or padded with zeros, to its length."""
        import numpy as np

        assert self._sounds is not None, "open() comes first"
        try:
            if row.problem is not None:
                raise RecordingError(row.problem)
            samples, rate = self._sounds.read(row.place, row.seconds, row.sample_rate)
        except RecordingError as error:
            raise RecordingError(f"{row.name} (row {row.place}): {error}") from None
        missing = round(row.seconds * rate) - len(samples)
        return np.pad(samples, (0, max(0, missing))), rate


@dataclass(frozen=True)
class _Ear:
    """What a recording is read with."""

    ears: _Ears
    row: Row

    def __call__(self) -> Signal:
        return self.ears.hear(self.row)


def _prediction(answer: Answer, row: Row) -> dict[str, Any]:
    return {"prediction": answer.output, "label": row.label, "id": row.id, "dataset_name": row.component}


def _parameters(request: Request, engine: Engine) -> dict[str, Any]:
    """Return what a run is: everything that can change an answer, and what it was about."""
    candidates = {} if engine.candidates is None else {"candidates": engine.candidates.parameters}
    return {
        "version": __version__,
        "model": {
            "requested": request.configuration.config.model,
            "loaded": getattr(engine.model, "requested_as", None),
            "name": engine.model.config.name,
            "fingerprint": model_fingerprint(engine.model),
        },
        "benchmark": BENCHMARK,
        "data_path": request.data_path,
        "components": list(request.components),
        "limit": request.limit,
        "heard": "at the component's length",
        "settings": asdict(engine.settings),
        **candidates,
    }


def _results(request: Request, engine: Engine, plan: Plan, failed: Counter[str], sink: Sink) -> Results:
    there = {row.component for row in plan.rows}
    answers = {each.name: Answers() for each in COMPONENTS if each.name in there}
    if sink.answers:
        answers |= read_predictions(request.output)
    scored = score(
        {name: given for name, given in answers.items() if given.labels},
        resamples=request.resamples,
        seed=request.seed,
    )
    scores = {}
    for name, given in answers.items():
        scores[name] = scored.get(name) or Score(
            len(given.labels), problem=f"none of its rows could be answered; {failed[name]} failed."
        )
    for name, count in sorted(plan.unknown.items()):
        scores[name] = Score(0, problem=f"{unknown_component(name)} Rows passed over: {count}.")
    about = {
        "predictions": str(request.output),
        "labels": "present",
        "resamples": request.resamples,
        "seed": request.seed,
        "version": __version__,
        "data_path": request.data_path,
        "limit": request.limit,
        "failed_rows": dict(failed),
    }
    return Results(engine.model.config.name, scores, about)
