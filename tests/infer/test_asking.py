from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import soxr

from NatureLM.infer.asking import ask, calls
from NatureLM.models.answering import AnswerSettings

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

ASSETS = Path(__file__).parents[2] / "assets"
FOCAL = "What is the common name for the focal species in the audio?"
CAPTION = "Caption the audio"


def test_equal_queries_go_together() -> None:
    assert calls([("a?", "b?")] * 3, 3) == [[(0, 0), (1, 0), (2, 0)], [(0, 1), (1, 1), (2, 1)]]


def test_queries_of_about_equal_length_share_a_call_and_others_do_not() -> None:
    asked = [("x" * 40,), ("y" * 10,), ("z" * 14,), ("x" * 40,), ("w" * 16,)]
    assert calls(asked, 16) == [[(1, 0), (2, 0)], [(4, 0)], [(0, 0), (3, 0)]]
    assert calls(asked, 1) == [[(1, 0)], [(2, 0)], [(4, 0)], [(0, 0)], [(3, 0)]]
    assert calls([], 4) == [] and calls([(), ()], 4) == []


def test_answers_belong_to_their_windows_and_queries(
    model: NatureLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    waveforms = []
    for name in ("boreal_owl.flac", "great_tit.ogg"):
        samples, rate = soundfile.read(ASSETS / name, dtype="float32")
        waveforms.append(soxr.resample(samples, rate, model.config.sample_rate).astype(np.float32))
    encoded = []
    encode = model.encode_audio
    monkeypatch.setattr(model, "encode_audio", lambda heard: encoded.append(len(heard)) or encode(heard))
    answers = ask(model, AnswerSettings(), 16, waveforms, [(FOCAL,), (CAPTION, FOCAL)])
    assert encoded == [2]
    assert [len(row) for row in answers] == [1, 2]
    assert (answers[0][0].text, answers[1][1].text) == ("Boreal Owl", "Great Tit")
    assert "Great Tit" in answers[1][0].text or "Parus major" in answers[1][0].text
    assert ask(model, AnswerSettings(), 16, [], []) == []
