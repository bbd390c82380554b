"""A run, its detections reviewed, a calibration of them, and a run with it: as a user goes about it."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from NatureLM.cli import main
from NatureLM.cli.running import run

Naturelm = Callable[..., Any]

ASSETS = Path(__file__).parents[2] / "assets"
QUERY = "What are the common names for the species in the audio, if any?"
HEARD = {
    "great_tit_and_common_cuckoo.ogg": {"Great Tit", "Common Cuckoo"},
    "pewee_and_cricket.ogg": {"Snowy Tree Cricket", "Eastern Wood-Pewee"},
}
WINDOWS = ("--query", QUERY, "--window-length-seconds", "3", "--min-evidence", "0.02")


def test_from_a_run_to_its_probabilities(naturelm: Naturelm, folder: Path) -> None:
    paths = [argument for name in HEARD for argument in ("--audio-path", str(ASSETS / name))]
    done = naturelm("infer", *paths, *WINDOWS, "--output-path", "run", "--format", "jsonl,csv", "--long")
    assert done.returncode == 0, done.stderr
    with (folder / "run.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["common_name"]]
    assert "probability" not in rows[0]
    assert "probability" not in (folder / "run.jsonl").read_text()
    with (folder / "reviewed.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["File", "Start (s)", "End (s)", "Scientific name", "Correct"])
        for row in rows:
            name = Path(row["audio_path"]).name
            right = "yes" if row["common_name"] in HEARD[name] else "no"
            writer.writerow([name, row["start_seconds"], row["end_seconds"], row["scientific_name"], right])
        writer.writerow(["elsewhere.wav", 0, 3, "Parus major", "yes"])

    done = naturelm("calibrate", "reviewed.csv", "--scores", "run.jsonl")
    assert done.returncode == 2
    assert "needs at least 10 reviews that are right and 10 that are wrong" in done.stderr
    arguments = ["calibrate", "reviewed.csv", "--scores", "run.jsonl", "--min-reviews", "3"]
    done = naturelm(*arguments, "--resamples", "50")
    assert done.returncode == 0
    assert done.stdout.startswith(f"{len(rows)} reviews of detections by naturelm-lite: ")
    assert (
        f"Not counted: 1, recording not among the scores (first: reviewed.csv, line {len(rows) + 2})."
        in done.stdout
    )
    assert "  95% right: from score 0." in done.stdout
    assert done.stderr.startswith("Calibration in reviewed.calibration.json.\n")
    done = naturelm(*arguments)
    assert done.returncode == 2
    assert "reviewed.calibration.json: exists already" in done.stderr
    made = json.loads((folder / "reviewed.calibration.json").read_text())
    record = json.loads((folder / "run.jsonl.run.json").read_text())
    assert made["model_fingerprint"] == record["model"]["fingerprint"]
    assert made["window_length_seconds"] == 3.0

    done = naturelm(
        *("infer", *paths[:2], *WINDOWS, "--calibration", "reviewed.calibration.json"),
        *("--output-path", "with", "--format", "jsonl,csv", "--long"),
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in (folder / "with.jsonl").read_text().splitlines()]
    found = [detection for answer in answers for detection in answer["detections"]]
    assert len(found) > 5
    fits = {each["scientific_name"]: each["fit"] or made["pooled"] for each in made["species"]}
    for detection in found:
        fit, score = fits[detection["scientific_name"]], detection["score"]
        logit = fit["intercept"] + fit["slope"] * math.log(score / (1 - score))
        assert detection["probability"] == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-6)
    with (folder / "with.csv").open(encoding="utf-8", newline="") as file:
        long = [row for row in csv.DictReader(file) if row["common_name"]]
    assert [float(row["probability"]) for row in long] == [each["probability"] for each in found]
    record = json.loads((folder / "with.jsonl.run.json").read_text())
    assert record["calibration"]["file"] == "reviewed.calibration.json"
    assert len(record["calibration"]["fingerprint"]) == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["calibrate"], "Missing argument 'REVIEWED...'"),
        (["calibrate", "a.csv"], "Missing option '--scores'"),
        (["calibrate", "a.csv", "--scores", "absent.jsonl"], "--scores absent.jsonl: no such file"),
        (
            ["calibrate", "a.csv", "--scores", "b.jsonl", "--output-path", "c.txt"],
            "let the name end in .json",
        ),
        (
            ["calibrate", "a.csv", "--scores", "b.jsonl", "--output-path", "no/c.json"],
            "folder does not exist",
        ),
    ],
)
def test_bad_usage_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(main.app, "naturelm", arguments) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and said.out == ""
