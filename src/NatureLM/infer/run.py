"""A run over files: plan, model, answers into files; what the command line shows is told to an observer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from NatureLM import __version__
from NatureLM.audio import find_recordings
from NatureLM.errors import ConfigError, RecordingError
from NatureLM.infer.answers import Answer, Failure
from NatureLM.infer.building import build_engine
from NatureLM.infer.engine import Engine, Event, Recording
from NatureLM.infer.fingerprint import model_fingerprint, recordings_fingerprint
from NatureLM.infer.settings import Configuration
from NatureLM.infer.sinks import open_sink

if TYPE_CHECKING:
    from NatureLM.models import NatureLM


@dataclass(frozen=True)
class RunRequest:
    """What is to be done.

    Attributes
    ----------
    audio_paths : sequence of Path
        Files, and folders to be searched.
    queries : sequence of str
        All of them are asked of every window.
    output : Path or None
        Where the results go; None takes the default, ``-`` is standard output.
    overwrite : bool
        Whether a named output may be replaced.
    formats : sequence of str
        Formats of the results; none takes what the output's name ends with.
    long : bool
        Whether csv and parquet have a row per species and window.
    merge_consecutive : bool
        Whether windows that follow one another become one row, where rows are per species.
    strict : bool
        Whether the run stops at the first recording that cannot be read (any further).
    configuration : Configuration
        Everything that a configuration file can say, with what was typed; the defaults unless given.
    """

    audio_paths: Sequence[Path]
    queries: Sequence[str]
    output: Path | None = None
    overwrite: bool = False
    formats: Sequence[str] = ()
    long: bool = False
    merge_consecutive: bool = False
    strict: bool = False
    configuration: Configuration = field(default_factory=Configuration)


@dataclass(frozen=True)
class Summary:
    """Counts of a finished run, and where its files are (no failures: no such file).

    ``outputs`` are all files and folders of results, ``results`` the first of them; none, and ``-``, for
    standard output.
    """

    recordings: int
    windows: int
    failures: int
    results: Path
    failures_path: Path | None
    outputs: tuple[Path, ...]


class Observer(Protocol):
    """Told what happens during a run."""

    def say(self, message: str) -> None:
        """Hear something that the user must know."""

    def planned(self, paths: Sequence[Path]) -> None:
        """Hear which files will be read, in order."""

    def happened(self, index: int, event: Event) -> None:
        """Hear an event of the file ``paths[index]``."""


def run_inference(request: RunRequest, observer: Observer, engine: Engine | None = None) -> Summary:
    """Ask the queries about the files and write the answers; the results say which model gave them.

    The engine is made as the request's configuration says, unless one is given.

    Raises
    ------
    ConfigError
        Something asked for is wrong, or cannot be honoured by the model; nothing was done.
    ModelUnavailableError, CheckpointError
        The model cannot be had or loaded.
    RecordingError
        With ``strict``, a recording cannot be read; the answers so far are kept.
    NatureLMError
        The results cannot be written; those so far are kept.
    """
    queries = check_queries(request.queries)
    paths = plan_files(request.audio_paths)
    files = open_sink(
        request.output,
        request.formats,
        overwrite=request.overwrite,
        long=request.long,
        merge_consecutive=request.merge_consecutive,
    )
    engine = build_engine(request.configuration) if engine is None else engine
    for query in queries:
        engine.model.check_query(query)
    observer.say(f"Model: {engine.model.config.name} on {engine.model.device}.")
    parameters = _parameters(request, engine, paths, queries)
    started = _now()
    recordings = [Recording(str(path), queries, path=path) for path in paths]
    windows = 0
    place: tuple[int, str, float] | None = None

    def counts() -> dict[str, Any]:
        return {
            "device": str(engine.model.device),
            "batch_size": engine.batch_size,
            "started_at": started,
            "finished_at": _now(),
            "recordings_planned": len(paths),
            "windows": windows,
            "answers": files.answers,
            "failures": files.failures,
        }

    try:
        files.begin(parameters)
        observer.planned(paths)
        with closing(engine.run(recordings)) as events:
            for index, event in events:
                if isinstance(event, Answer):
                    files.write_answer(event)
                    here = (index, event.channel, event.start_seconds)
                    windows += here != place
                    place = here
                elif isinstance(event, Failure):
                    files.write_failure(event)
                observer.happened(index, event)
                if request.strict and isinstance(event, Failure):
                    raise RecordingError(
                        f"stopped at the first recording that cannot be read (--strict): {event.reason}"
                    )
        moved = files.finish(counts())
    except BaseException:
        partial = files.keep_partial(counts())
        if partial is not None:
            observer.say(f"Stopped: the {files.answers} answers so far are kept in {partial}.")
        raise
    if moved is not None:
        observer.say(f"{files.results} held another run; its files are now {moved} and beside it.")
    failures_path = files.failures_path() if files.failures else None
    return Summary(len(paths), windows, files.failures, files.results, failures_path, tuple(files.paths()))


def plan_files(audio_paths: Sequence[Path]) -> list[Path]:
    """Return the files to be read, in order.

    Raises
    ------
    ConfigError
        A path does not exist or cannot be opened, or there is no recording at all.
    """
    if not audio_paths:
        raise ConfigError("Nothing to listen to: give --audio-path, a file or folder, for example assets.")
    try:
        paths = find_recordings(audio_paths)
    except RecordingError as error:
        raise ConfigError(f"--audio-path: {error}") from None
    if not paths:
        folders = ", ".join(str(path) for path in audio_paths)
        raise ConfigError(
            f"--audio-path {folders}: no recordings in there; expected files such as .wav, .mp3, .flac, .ogg."
        )
    return paths


def check_queries(queries: Sequence[str]) -> tuple[str, ...]:
    """Return the queries, each once.

    Raises
    ------
    ConfigError
        There is none, or one is empty.
    """
    if not queries or not all(query.strip() for query in queries):
        raise ConfigError(
            "Nothing to ask: give --query, for example "
            '--query "What is the common name for the focal species in the audio?"'
        )
    return tuple(dict.fromkeys(queries))


def _parameters(
    request: RunRequest, engine: Engine, paths: Sequence[Path], queries: Sequence[str]
) -> dict[str, Any]:
    """Return everything that can change an answer: what a second run must share to be the same."""
    model: NatureLM = engine.model
    return {
        "version": __version__,
        "model": {
            "requested": request.configuration.config.model,
            "name": model.config.name,
            "fingerprint": model_fingerprint(model),
        },
        "queries": list(queries),
        "audio_paths": [str(path) for path in request.audio_paths],
        "recordings_fingerprint": recordings_fingerprint(paths),
        "window_length_seconds": engine.window_length_seconds,
        "hop_length_seconds": engine.hop_length_seconds,
        "channel": engine.channel,
        "silence_db": engine.silence_db,
        "time_expansion": engine.time_expansion,
        "settings": asdict(engine.settings),
    }


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
