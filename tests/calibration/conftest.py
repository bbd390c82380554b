"""A run's results with detections of two species, and tables that review them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from NatureLM.calibration.file import logit
from NatureLM.calibration.logistic import sigmoid

TIT = ("Great Tit", "Parus major")
CUCKOO = ("Common Cuckoo", "Cuculus canorus")
RUN = {
    "model": {"name": "naturelm-lite", "fingerprint": "0123456789abcdef"},
    "window_length_seconds": 10.0,
    "time_expansion": 1.0,
}

Found = tuple[str, float, tuple[str, str], float]
"""Recording, start in seconds, species, score."""

WriteRun = Callable[..., Path]
MakeRow = Callable[..., dict[str, Any]]


def row(
    audio_path: str, start: float, *detections: tuple[tuple[str, str], float], **changed: Any
) -> dict[str, Any]:
    """Return a row of results about ten seconds."""
    return {
        "audio_path": audio_path,
        "channel": "mix",
        "start_seconds": start,
        "end_seconds": start + 10.0,
        "query": "Species?",
        "output": ", ".join(names[0] for names, _ in detections) or "None",
        "confidence": 0.99,
        "mean_logprob": -0.01,
        "model": "naturelm-lite",
        "recorded_at": None,
        "site": None,
        "silent": False,
        "detections": [
            {"common_name": names[0], "scientific_name": names[1], "score": score}
            for names, score in detections
        ],
    } | changed


@pytest.fixture
def make_row() -> MakeRow:
    """Make a row of results: recording, start, then pairs of a species' names and a score."""
    return row


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """Write the results of a run, with its record."""

    def write(rows: list[dict[str, Any]], run: dict[str, Any] | None = RUN, name: str = "run.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
        if run is not None:
            path.with_name(f"{name}.run.json").write_text(json.dumps(run), encoding="utf-8")
        return path

    return write


def made_detections(count: int = 60, recordings: int = 30, seed: int = 1) -> list[tuple[Found, bool]]:
    """Return detections of two species whose verdicts follow known curves, with them."""
    rng = np.random.default_rng(seed)
    made: list[tuple[Found, bool]] = []
    for species, intercept, slope in ((TIT, -0.5, 1.2), (CUCKOO, 0.5, 0.8)):
        for number in range(count):
            score = round(float(rng.uniform(0.25, 0.99)), 4)
            right = bool(rng.random() < sigmoid(np.array(intercept + slope * logit(score))))
            place = number % recordings
            made.append(((f"card/r{place:02d}.wav", 10.0 * (number // recordings), species, score), right))
    return made


@pytest.fixture
def reviewed_run(write_run: WriteRun, tmp_path: Path) -> tuple[Path, Path, list[tuple[Found, bool]]]:
    """The results of a run, a table that reviews all of them, and what is in both."""
    made = made_detections()
    scores = write_run([row(path, start, (names, score)) for (path, start, names, score), _ in made])
    lines = ["file,start,end,species,correct"]
    lines += [
        f"{path},{start},{start + 10},{names[0]},{'yes' if right else 'no'}"
        for (path, start, names, _), right in made
    ]
    reviewed = tmp_path / "reviewed.csv"
    reviewed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return reviewed, scores, made
