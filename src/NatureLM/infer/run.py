"""A run over files: plan, model, answers into files; what the command line shows is told to an observer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from NatureLM import __version__
from NatureLM.audio import find_recordings
from NatureLM.config import InferenceConfig
from NatureLM.errors import ConfigError, RecordingError
from NatureLM.infer.building import build_engine
from NatureLM.infer.engine import Engine, Recording
from NatureLM.infer.fingerprint import model_fingerprint, recordings_fingerprint, request_fingerprint
from NatureLM.infer.journal import Key, file_key
from NatureLM.infer.journaled import Observer, answer_recordings
from NatureLM.infer.settings import Configuration
from NatureLM.infer.sinks import Sink, open_sink
from NatureLM.infer.worker_process import Setup
from NatureLM.infer.workers import Workers

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
    workers : int
        CPU processes that share the work, and the threads; 1 does it all in this process.
    devices : sequence of str
        Devices with a process each, such as ``cuda:0`` and ``cuda:1``; none takes the configuration's.
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
    workers: int = 1
    devices: Sequence[str] = ()
    configuration: Configuration = field(default_factory=Configuration)


@dataclass(frozen=True)
class Summary:
    """Counts of a finished run, and where its files are (no failures: no such file).

    ``outputs`` are all files and folders of results, ``results`` the first of them; none, and ``-``, for
    standard output. ``reused`` recordings of all were done by an earlier run. The model has waited for audio
    for ``waiting_for_audio_share`` of the time, in [0, 1].
    """

    recordings: int
    windows: int
    failures: int
    results: Path
    failures_path: Path | None
    outputs: tuple[Path, ...]
    reused: int = 0
    waiting_for_audio_share: float = 0.0


def run_inference(request: RunRequest, observer: Observer, engine: Engine | None = None) -> Summary:
    """Ask the queries about the files and write the answers; the results say which model gave them.

    The engine is made as the request's configuration says, unless one is given. Where the same request of the
    bundled model has been answered whole before, no model is loaded.

    Raises
    ------
    ConfigError
        Something asked for is wrong, or cannot be honoured by the model; nothing was done.
    ModelUnavailableError, CheckpointError
        The model cannot be had or loaded.
    RecordingError
        With ``strict``, a recording cannot be read; the answers so far are kept.
    NatureLMError
        The results cannot be written; those so far are kept, for the same request to go on from.
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
    with closing(files):
        placed = _placed(request, request.configuration.config)
        keys = {str(path): file_key(path) for path in paths}
        asked = None if engine is not None else request_fingerprint(request.configuration, queries)
        record, before = files.record_if_all_done(keys), files.parameters_before()
        if record and before and asked is not None and record.get("asked") == asked:
            told = {"asked": asked, "device": record["device"], "batch_size": record["batch_size"]}
            observer.say(f"Model: {before['model']['name']} on {told['device']}.")
            parameters = {**before, **_about(request, paths)}
            return _answer_files(request, None, parameters, told, keys, files, observer)
        given = engine is not None
        if engine is None:
            configuration = _without_fallback(request, queries, before)
            config = configuration.config.model_copy(update={"device": placed})
            engine = build_engine(replace(configuration, config=config))
        for query in queries:
            engine.check_query(query)
        parameters = _parameters(request, engine, paths, queries)
        with _workers(request, engine, parameters["model"]["fingerprint"], keep=given) as devices:
            told = {"asked": asked, "device": devices, "batch_size": engine.batch_size}
            observer.say(f"Model: {engine.model.config.name} on {devices}.")
            return _answer_files(request, engine, parameters, told, keys, files, observer)


def _answer_files(
    request: RunRequest,
    engine: Engine | None,
    parameters: Mapping[str, Any],
    told: Mapping[str, Any],
    keys: Mapping[str, Key],
    files: Sink,
    observer: Observer,
) -> Summary:
    """Answer what is not answered yet, for which there must be an engine; ``told`` goes into the record."""
    recordings = [Recording(name, tuple(parameters["queries"]), path=Path(name)) for name in keys]
    done = answer_recordings(
        engine, recordings, keys, files, parameters, observer, told=told, strict=request.strict
    )
    return Summary(
        recordings=len(keys),
        windows=files.windows,
        failures=files.failures,
        results=files.results,
        failures_path=files.failures_path() if files.failures else None,
        outputs=tuple(files.paths()),
        reused=done.reused,
        waiting_for_audio_share=done.waiting_for_audio_share,
    )


def _placed(request: RunRequest, config: InferenceConfig) -> str:
    """Return the device that the run's own model is loaded on.

    Raises
    ------
    ConfigError
        Workers and devices that contradict one another.
    """
    devices, named = request.devices, ",".join(request.devices)
    if request.workers > 1 and devices:
        raise ConfigError("--workers and --devices exclude each other; leave one out.")
    if request.workers > 1 and config.device not in ("auto", "cpu"):
        raise ConfigError(
            "--workers is for CPUs; for several GPUs name them with --devices, for example cuda:0,cuda:1."
        )
    if devices and config.device != "auto":
        raise ConfigError(f"--device {config.device} and --devices exclude each other; leave one out.")
    if not all(devices):
        raise ConfigError(
            f"--devices {named}: expected devices with commas between, for example cuda:0,cuda:1."
        )
    for device in devices:
        if devices.count(device) > 1:
            raise ConfigError(f"--devices {named}: names {device} twice; name each device once.")
    if devices:
        return devices[0]
    return "cpu" if request.workers > 1 else config.device


@contextmanager
def _workers(request: RunRequest, engine: Engine, fingerprint: str, keep: bool) -> Iterator[str]:
    """Have processes answer, where the request asks for that; yield the devices that the model is on.

    The engine's own model is emptied to make room for theirs, unless it is to be kept.
    """
    devices = list(request.devices) or ["cpu"] * request.workers
    if not request.devices and request.workers == 1:
        yield str(engine.model.device)
        return
    import torch

    setup = Setup(
        model=str(engine.model.requested_as),
        device=devices[0],
        llama_path=engine.model.llama_path,
        precision=engine.model.precision,
        fixed_alpha=engine.model.fixed_alpha,
        threads=max(1, torch.get_num_threads() // len(devices)),
        settings=engine.settings,
        most=engine.batch_size,
    )
    for parameter in () if keep else engine.model.parameters():
        parameter.data = parameter.data.new_empty(0)  # its memory is the workers' now
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    with closing(Workers(setup, devices, fingerprint)) as engine.workers:
        yield ", ".join(devices)


def _without_fallback(
    request: RunRequest, queries: tuple[str, ...], before: Mapping[str, Any] | None
) -> Configuration:
    """Return the configuration; a run that the model asked for has begun is not gone on with by another."""
    configuration = request.configuration
    config = configuration.config
    if config.fallback is None or before is None:
        return configuration
    model = before.get("model", {})
    settings = ("window_length_seconds", "channel")  # what is known before the model is loaded
    same = before.get("queries") == list(queries) and all(
        before.get(name) == getattr(config, name) for name in settings
    )
    if not same or not config.model == model.get("requested") == model.get("loaded"):
        return configuration
    return replace(configuration, config=config.model_copy(update={"fallback": None}))


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
    """Return what a run is: everything that can change an answer, and what it was about."""
    model: NatureLM = engine.model
    calibration = engine.calibration
    # Only where there is one, so that journals of earlier versions are gone on with.
    calibrated = (
        {}
        if calibration is None
        else {
            "calibration": {
                "file": request.configuration.config.calibration,
                "fingerprint": calibration.fingerprint,
            }
        }
    )
    return {
        "version": __version__,
        "model": {
            "requested": request.configuration.config.model,
            "loaded": getattr(model, "requested_as", None),
            "name": model.config.name,
            "fingerprint": model_fingerprint(model),
        },
        "queries": list(queries),
        **_about(request, paths),
        "window_length_seconds": engine.window_length_seconds,
        "hop_length_seconds": engine.hop_length_seconds,
        "channel": engine.channel,
        "silence_db": engine.silence_db,
        "time_expansion": engine.time_expansion,
        "candidates": None if engine.candidates is None else engine.candidates.parameters,
        "settings": asdict(engine.settings),
        **calibrated,
    }


def _about(request: RunRequest, paths: Sequence[Path]) -> dict[str, Any]:
    """Return what a run is about."""
    return {
        "audio_paths": [str(path) for path in request.audio_paths],
        "recordings_fingerprint": recordings_fingerprint(paths),
    }
