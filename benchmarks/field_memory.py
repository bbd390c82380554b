"""Peak memory of a run over a 24-hour recording, as a ratio to that over 10 minutes; memory of a large plan.

    python benchmarks/field_memory.py --format flac                   # 24 hours, at the model's speed
    python benchmarks/field_memory.py --long-hours 0.5 --files 1000   # a quick look

Recordings of faint noise at 16 kHz are generated in a temporary folder (24 h: about 0.7 GB as FLAC, 2.8 GB as
WAV). Each is heard by ``naturelm infer``'s own code in a process of its own, whose peak resident memory the
system states. The ratio must not exceed 1.2. The plan of ``--files`` recordings is what a run holds of them
from its beginning to its end: paths, keys, queries and the journal's index, each recording of one window.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 16_000
BLOCK_SECONDS = 600
MOST = 1.2
QUERY = "What is the common name for the focal species in the audio?"


def main() -> int:
    """Generate the recordings, measure in other processes, print a line of JSON for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--format", choices=("flac", "wav"), default="flac")
    parser.add_argument("--short-hours", type=float, default=1 / 6)
    parser.add_argument("--long-hours", type=float, default=24.0)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--hear", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--plan", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hear:
        print(json.dumps(hear(options.hear, options.batch_size)))
        return 0
    if options.plan:
        print(json.dumps(plan(options.plan)))
        return 0
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for hours in (options.short_hours, options.long_hours):
            path = Path(folder) / f"{hours:.2f}h.{options.format}"
            write_noise(path, hours)
            measured = measure("--hear", str(path), "--batch-size", str(options.batch_size))
            path.unlink()
            peaks.append(measured["peak_mb"])
            print(json.dumps({"hours": round(hours, 3), **measured}), flush=True)
    ratio = peaks[1] / peaks[0]
    print(json.dumps({"ratio": round(ratio, 3), "at_most": MOST}), flush=True)
    print(json.dumps(measure("--plan", str(options.files))))
    return int(ratio > MOST)


def write_noise(path: Path, hours: float) -> None:
    """Write faint noise, the same ten minutes over and over."""
    block = np.random.default_rng(0).integers(-8, 9, BLOCK_SECONDS * RATE).astype(np.int16)
    left = round(hours * 3600 * RATE)
    with soundfile.SoundFile(path, "w", RATE, 1, subtype="PCM_16") as file:
        while left > 0:
            file.write(block[:left])
            left -= len(block)


def measure(*arguments: str) -> dict[str, Any]:
    """Run this file in a process of its own and return what it prints last."""
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def hear(path: Path, batch_size: int) -> dict[str, Any]:
    """Ask about every window of a recording and return this process's peak memory in MB (10^6 bytes)."""
    from NatureLM.config import InferenceConfig
    from NatureLM.infer.run import RunRequest, run_inference
    from NatureLM.infer.settings import Configuration

    configuration = Configuration(InferenceConfig(device="cpu", batch_size=batch_size))
    output = path.with_suffix(".csv")
    began = time.perf_counter()
    summary = run_inference(RunRequest([path], [QUERY], output, configuration=configuration), Silent())
    return {
        "windows": summary.windows,
        "seconds": round(time.perf_counter() - began, 1),
        "waiting_for_audio_share": summary.waiting_for_audio_share,
        "peak_mb": round(peak_bytes() / 1e6, 1),
    }


class Silent:
    """Hears of a run and says nothing."""

    def say(self, message: str) -> None:
        """Hear something."""

    def planned(self, paths: object) -> None:
        """Hear the plan."""

    def happened(self, index: int, event: object) -> None:
        """Hear an event."""


def plan(files: int) -> dict[str, Any]:
    """Return what a run of so many recordings holds in MB, by its parts."""
    import psutil

    from NatureLM.infer.engine import Recording
    from NatureLM.infer.journal import Journal, Part

    process = psutil.Process()
    held = [process.memory_info().rss]
    paths = [Path(f"/cards/2026/site_{n % 50:02}/SM4_{n:06}_20260601_043000.wav") for n in range(files)]
    keys = {str(path): (57_600_044, 1_780_000_000_000_000_000 + n) for n, path in enumerate(paths)}
    held.append(process.memory_info().rss)
    recordings = [Recording(str(path), (QUERY,), path=path) for path in paths]
    held.append(process.memory_info().rss)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal.create(Path(folder) / "journal", {})
        for start in range(0, files, 16):
            journal.add(
                [
                    Part(recording.name, keys[recording.name], 1, "finished", None, [{"output": "None"}])
                    for recording in recordings[start : start + 16]
                ]
            )
        journal.close()
    held.append(process.memory_info().rss)
    parts = [round((after - before) / 1e6, 1) for before, after in pairwise(held)]
    names = ("paths_and_keys_mb", "recordings_mb", "journal_index_mb")
    return {"files": files, **dict(zip(names, parts, strict=True)), "plan_mb": round(sum(parts), 1)}


def peak_bytes() -> int:
    """Return this process's peak resident memory."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    sys.exit(main())
