"""Peak memory of ``beans`` on a generated data set, as a ratio to that on one 20 times smaller.

    python benchmarks/beans_memory.py                      # 2 GB, both forms
    python benchmarks/beans_memory.py --gigabytes 0.2      # a quick look

Rows of faint noise, two minutes at 48 kHz (23 MB each, of which ten seconds are heard), in the data set's
features, are written to a temporary folder: as one Arrow file, as ``save_to_disk`` writes it, and as one file
of Parquet with all rows in one row group. Each is run with the bundled model in a process of its own, whose
peak resident memory the system states; mapped pages of files count.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

RATE = 48_000
SECONDS = 120
BATCH_SIZE = 4
SMALLER = 20


def main() -> None:
    """Write the data, run each form in another process, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--form", choices=("arrow", "parquet"), action="append", help="default: both")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.run)
        return
    rows = round(options.gigabytes * 1e9 / (4 * RATE * SECONDS))
    with tempfile.TemporaryDirectory() as folder:
        for form in options.form or ("arrow", "parquet"):
            peaks = {}
            for count in (max(1, rows // SMALLER), rows):
                path = Path(folder) / f"rows.{form}"
                write(path, form, count)
                done = subprocess.run(
                    [sys.executable, __file__, "--run", path], check=True, capture_output=True, text=True
                )
                peaks[count] = json.loads(done.stdout.splitlines()[-1])
                print(
                    f"{form}: {count} rows, {path.stat().st_size / 1e9:.2f} GB: "
                    f"peak {peaks[count] / 1e6:.0f} MB",
                    flush=True,
                )
                path.unlink()
            small, large = peaks.values()
            print(f"{form}: ratio {large / small:.2f}", flush=True)


def write(path: Path, form: str, count: int) -> None:
    """Write so many rows, one in memory at a time where the form allows it."""
    import pyarrow as pa
    import pyarrow.parquet

    noise = np.random.default_rng(0).normal(0, 0.01, RATE * SECONDS).astype(np.float32)
    tables = (_table(pa, noise, place) for place in range(count))
    if form == "parquet":
        rows = pa.concat_tables(tables)
        pyarrow.parquet.write_table(rows, path, row_group_size=count, use_dictionary=False)
        return
    first = next(tables)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _table(pa: Any, noise: np.ndarray, place: int) -> Any:
    audio = pa.ListArray.from_arrays(pa.array([0, len(noise)], pa.int32()), pa.array(np.roll(noise, place)))
    text = {
        "id": str(place),
        "metadata": json.dumps({"sample_rate": RATE}),
        "instruction": "What is the common name for the focal species in the audio?",
        "output": "Great Tit",
        "dataset_name": "cbi",
    }
    return pa.table({"audio": audio, **{name: pa.array([value]) for name, value in text.items()}})


def run(path: Path) -> None:
    """Run the benchmark on the data and print this process's peak memory in bytes."""
    from NatureLM.cli.beans import app
    from NatureLM.cli.running import run as run_command

    output = path.with_name(f"{path.name}.predictions.jsonl")
    status = run_command(
        app,
        "beans",
        [
            "--data-path",
            str(path),
            "--output-path",
            str(output),
            "--batch-size",
            str(BATCH_SIZE),
            "--overwrite",
        ],
    )
    if status:
        sys.exit(status)
    print(peak_memory())


def peak_memory() -> int:
    """Return this process's peak resident memory in bytes.

    Linux's ``ru_maxrss`` will not do: a process begins with that of the one that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
