"""How much the bundled model's answers cost beside its encoder alone, and how much memory a long file needs.

    python benchmarks/speed.py            # speed on 10 minutes of audio
    python benchmarks/speed.py --memory   # and peak memory, 10 minutes against 3 hours

First it says how long the model takes to load, once Python has imported what it needs, and how long one short
answer about a clip of 10 s takes then.

Both ways run in one process, in turn, on one file made of the example recordings in assets/; the ratio is
the median of the pairs' ratios, so that it holds when the machine's speed drifts.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr

ASSETS = Path(__file__).resolve().parents[1] / "assets"
QUERY = "What is the common name for the focal species in the audio?"
WINDOW_SECONDS = 10.0
BATCH_SIZE = 16


def write_long_recording(path: Path, seconds: float, sample_rate: int) -> None:
    """Write a WAV of the example recordings one after another, again and again."""
    songs = []
    for file in sorted(ASSETS.iterdir()):
        if file.suffix.lower() in (".wav", ".flac", ".ogg", ".mp3"):
            samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
            songs.append(soxr.resample(samples.mean(axis=1), rate, sample_rate))
    song = np.concatenate(songs)
    left = round(seconds * sample_rate)
    with soundfile.SoundFile(path, "w", sample_rate, 1, "PCM_16") as file:
        while left > 0:
            file.write(song[:left])
            left -= len(song[:left])


def encoder_alone(model, recording: Path) -> float:  # type: ignore[no-untyped-def]
    """Decode and encode every window; return the seconds it took."""
    from NatureLM.audio import recording_windows

    started = time.perf_counter()
    batch: list[np.ndarray] = []
    windows = recording_windows(recording, model.config.sample_rate, WINDOW_SECONDS, WINDOW_SECONDS, "mix")
    for _, _, waveform in windows:
        batch.append(waveform)
        if len(batch) == BATCH_SIZE:
            model.encode_audio(batch)
            batch = []
    if batch:
        model.encode_audio(batch)
    return time.perf_counter() - started


def whole_pipeline(pipeline, recording: Path) -> float:  # type: ignore[no-untyped-def]
    """Answer every window; return the seconds it took."""
    started = time.perf_counter()
    for _ in pipeline.answers(recording, QUERY, WINDOW_SECONDS, WINDOW_SECONDS):
        pass
    return time.perf_counter() - started


def compare_speed(minutes: float, pairs: int, threads: int) -> None:
    """Print seconds, times real time and the ratio of the two."""
    import torch

    from NatureLM.infer import Pipeline

    torch.set_num_threads(threads)
    pipeline = Pipeline(device="cpu", batch_size=BATCH_SIZE)
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "recording.wav"
        write_long_recording(recording, minutes * 60, 48_000)
        warm_up = Path(folder) / "warm_up.wav"
        write_long_recording(warm_up, 60, 48_000)
        encoder_alone(pipeline.model, warm_up)
        whole_pipeline(pipeline, warm_up)
        alone, whole = [], []
        for pair in range(pairs):
            # The order changes from pair to pair, so that a drift favours neither.
            for way in (0, 1) if pair % 2 else (1, 0):
                if way == 0:
                    alone.append(encoder_alone(pipeline.model, recording))
                else:
                    whole.append(whole_pipeline(pipeline, recording))
    seconds = minutes * 60
    ratio = statistics.median(b / a for a, b in zip(alone, whole, strict=True))
    print(f"{minutes:g} minutes of audio, windows of {WINDOW_SECONDS:g} s, batch {BATCH_SIZE}, "
          f"{threads} threads, {pairs} pairs (medians)")  # fmt: skip
    for name, times in (("decode and encoder alone", alone), ("whole pipeline", whole)):
        taken = statistics.median(times)
        print(f"  {name:25s} {taken:7.1f} s   {seconds / taken:7.1f} audio-seconds per second")
    print(f"  ratio whole / encoder     {ratio:7.3f}")


def load_and_answer(threads: int) -> None:
    """Print the seconds that loading takes, and one answer from the file to the text."""
    import torch

    from NatureLM.infer import Pipeline
    from NatureLM.models import NatureLM

    torch.set_num_threads(threads)
    started = time.perf_counter()
    model = NatureLM.from_pretrained("bundled")
    loaded = time.perf_counter()
    pipeline = Pipeline(model)
    answers = []
    for _ in range(3):
        asked = time.perf_counter()
        (text,) = pipeline(ASSETS / "great_tit.ogg", QUERY)
        answers.append(time.perf_counter() - asked)
    print(f"model loaded in {loaded - started:.2f} s; answer about 10 s of sound ({text.split()[-2:]}): "
          f"first {answers[0]:.2f} s, then {min(answers[1:]):.2f} s")  # fmt: skip


def peak_memory(recording: Path, threads: int) -> float:
    """Return the peak memory in MB of a process that answers every window of a recording."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    command = [sys.executable, __file__, "--child", str(recording), "--threads", str(threads)]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    return float(output.split()[-1])


def compare_memory(threads: int) -> None:
    """Print the peak memory on 10 minutes and on 3 hours."""
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for minutes in (10, 180):
            recording = Path(folder) / f"{minutes}.wav"
            write_long_recording(recording, minutes * 60, 16_000)
            started = time.perf_counter()
            peaks.append(peak_memory(recording, threads))
            taken = time.perf_counter() - started
            print(f"  {minutes:4d} minutes: peak memory {peaks[-1]:7.0f} MB   ({taken:.0f} s with loading)")
    print(f"  ratio 180 / 10 minutes    {peaks[1] / peaks[0]:7.3f}")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", action="store_true", help="compare peak memory too")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        import torch

        from NatureLM.infer import Pipeline

        torch.set_num_threads(options.threads)
        whole_pipeline(Pipeline(device="cpu", batch_size=BATCH_SIZE), options.child)
        # Kilobytes on Linux, bytes on macOS (getrusage's manual).
        unit = 1e6 if sys.platform == "darwin" else 1e3
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)
        return
    load_and_answer(options.threads)
    compare_speed(options.minutes, options.pairs, options.threads)
    if options.memory:
        compare_memory(options.threads)


if __name__ == "__main__":
    main()
