from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from NatureLM.infer import Answer, Pipeline
from NatureLM.infer.engine import Engine, Recording
from NatureLM.infer.kept_features import KeptFeatures, answer_again

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

ASSETS = Path(__file__).parents[2] / "assets"
QUERIES = ("What are the common names for the species in the audio, if any?", "How many species are there?")


def recordings(queries: tuple[str, ...] = QUERIES) -> list[Recording]:
    paths = [ASSETS / name for name in ("dawn_25s.ogg", "great_tit.ogg", "rain.ogg")]
    return [Recording(path.name, queries, path=path) for path in paths]


def run(engine: Engine, queries: tuple[str, ...] = QUERIES) -> list[Answer]:
    return [event for _, event in engine.run(recordings(queries)) if isinstance(event, Answer)]


def test_a_run_is_answered_again_as_a_new_run_would_be(
    model: NatureLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Pipeline(model=model, silence_db=-45.0, batch_size=2).engine()
    engine.keep = KeptFeatures(tmp_path / "features")
    answers = run(engine)
    other = replace(engine.settings, min_evidence=0.97)
    expected = run(Pipeline(model=model, silence_db=-45.0, batch_size=2, min_evidence=0.97).engine())
    monkeypatch.setattr(model.audio_encoder, "encode", lambda *_: pytest.fail("encoded again"))
    again = list(answer_again(engine, other, recordings(), answers, engine.keep))
    assert [row.output for row in again] == [row.output for row in expected]
    assert [row.output for row in again] != [row.output for row in answers]
    assert any(row.silent for row in again) or not any(row.silent for row in answers)
    assert [row.confidence for row in again] == pytest.approx([row.confidence for row in expected], abs=1e-4)


def test_candidates_and_the_least_confidence_hold_again(model: NatureLM, tmp_path: Path) -> None:
    options = {"candidates": "Coal Tit, Great Tit, Eastern Wood-Pewee", "min_confidence": 0.99}
    focal = ("What is the common name for the focal species in the audio?",)
    engine = Pipeline(model=model, **options).engine()
    engine.keep = KeptFeatures(tmp_path / "features")
    answers = run(engine, focal)
    other = replace(engine.settings, min_evidence=0.97)
    expected = run(Pipeline(model=model, min_evidence=0.97, **options).engine(), focal)
    again = list(answer_again(engine, other, recordings(focal), answers, engine.keep))
    assert [row.output for row in answers] == ["None", "None", "Eastern Wood-Pewee", "Great Tit", "None"]
    assert [row.output for row in again] == ["None"] * 5
    for row, new in zip(again, expected, strict=True):
        assert (row.output, row.withheld, row.detections) == (new.output, new.withheld, new.detections)
        assert row.scores == pytest.approx(new.scores, abs=1e-4)
