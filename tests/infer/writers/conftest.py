"""Rows as the bundled model gives them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from NatureLM.infer.answers import Answer
from NatureLM.models.answering import Detection

SPECIES = "What are the common names for the species in the audio, if any?"
TIT = Detection("Great Tit", "Parus major", 0.9623)
CUCKOO = Detection("Common Cuckoo", "Cuculus canorus", 0.5)

MakeAnswer = Callable[..., Answer]


@pytest.fixture
def answer() -> MakeAnswer:
    """Make an answer about ten seconds from ``start``."""

    def make(audio_path: str, start: float, output: str, *detections: Detection, **changed: Any) -> Answer:
        values: dict[str, Any] = {
            "audio_path": audio_path,
            "channel": "mix",
            "start_seconds": start,
            "query": SPECIES,
            "end_seconds": start + 10.0,
            "output": output,
            "confidence": 0.998131,
            "mean_logprob": -0.00187,
            "model": "naturelm-lite",
            "detections": list(detections),
        }
        return Answer(**(values | changed))

    return make


@pytest.fixture
def rows(answer: MakeAnswer) -> list[Answer]:
    """Two recordings that are not at hand any more: two species, one, none; a caption."""
    return [
        answer("card1/a.wav", 0.0, "Great Tit, Common Cuckoo", TIT, CUCKOO),
        answer("card1/a.wav", 10.0, "Great Tit", Detection("Great Tit", "Parus major", 0.98)),
        answer("card1/a.wav", 20.0, "None", end_seconds=25.0),
        answer("card2/a.wav", 0.0, 'Caption: "a\tbird",\nsinging.', query="Caption the audio", channel="2"),
    ]


@pytest.fixture
def jsonl(rows: list[Answer], tmp_path: Path) -> Path:
    """The rows as a run wrote them."""
    path = tmp_path / "run.jsonl"
    path.write_text("".join(json.dumps(row.as_row()) + "\n" for row in rows), encoding="utf-8")
    return path
