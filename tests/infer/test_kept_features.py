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


def run(engine: Engine) -> list[Answer]:
    paths = [ASSETS / name for name in ("dawn_25s.ogg", "great_tit.ogg", "rain.ogg")]
    recordings = [Recording(path.name, QUERIES, path=path) for path in paths]
    return [event for _, event in engine.run(recordings) if isinstance(event, Answer)]


def test_a_run_is_answered_again_as_a_new_run_would_be(
    model: NatureLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Pipeline(model=model, silence_db=-45.0, batch_size=2).engine()
    engine.keep = KeptFeatures(tmp_path / "features")
    answers = run(engine)
    other = replace(engine.settings, min_evidence=0.97)
    expected = run(Pipeline(model=model, silence_db=-45.0, batch_size=2, min_evidence=0.97).engine())
    monkeypatch.setattr(model.audio_encoder, "encode", lambda *_: pytest.fail("encoded again"))
    again = list(answer_again(model, other, 2, answers, engine.keep))
    assert [row.output for row in again] == [row.output for row in expected]
    assert [row.output for row in again] != [row.output for row in answers]
    assert any(row.silent for row in again) or not any(row.silent for row in answers)
    assert [row.confidence for row in again] == pytest.approx([row.confidence for row in expected], abs=1e-4)
