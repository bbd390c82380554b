from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from NatureLM.errors import ConfigError, RecordingError
from NatureLM.infer import Pipeline
from NatureLM.infer.interview import Interview
from NatureLM.infer.listening import Listening, Stretch, listen

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

ASSETS = Path(__file__).parents[2] / "assets"


@pytest.fixture
def pipeline(model: NatureLM) -> Pipeline:
    return Pipeline(model=model)


def test_what_cannot_be_heard_is_said(pipeline: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no recording"):
        pipeline.interview([])
    with pytest.raises(ConfigError, match=r"rain\.ogg has no sound from 12 to 20 s; it is 10\.0 s long"):
        pipeline.interview([ASSETS / "rain.ogg"], start_seconds=12, end_seconds=20)
    (tmp_path / "no.wav").write_bytes(b"no sound")
    with pytest.raises(RecordingError, match=r"no\.wav"):
        pipeline.interview([tmp_path / "no.wav"])


def heard(listening: Generator[Listening, None, Interview]) -> tuple[list[Listening], Interview]:
    """Return what was told on the way, and the interview."""
    told: list[Listening] = []
    try:
        while True:
            told.append(next(listening))
    except StopIteration as end:
        interview: Interview = end.value
        return told, interview


def damaged_at(path: Path, seconds: float, length: float = 30.0) -> Path:
    """Write noise with samples that are no numbers from some second on."""
    samples = np.random.default_rng(0).normal(0, 0.02, round(length * 16000)).astype(np.float32)
    samples[round(seconds * 16000) :] = np.nan
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    return path


def test_others_have_the_model_while_a_long_recording_is_heard(
    pipeline: Pipeline, make_noise: Callable[..., Path]
) -> None:
    turn = threading.Lock()
    told = []
    listening = listen(pipeline.engine(), [make_noise("long.wav", 95.0)], turn=turn)
    try:
        while True:
            told.append(next(listening))
            assert turn.acquire(blocking=False)
            turn.release()
    except StopIteration as end:
        assert len(end.value.parts) == 10
    assert [(each.heard, each.windows) for each in told] == [(0, 10), (4, 10), (8, 10), (10, 10)]


def test_too_many_windows_are_refused_before_they_are_heard(
    pipeline: Pipeline, make_noise: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("NatureLM.infer.listening.MOST_WINDOWS", 3)
    monkeypatch.setattr(pipeline.model.audio_encoder, "encode", lambda *_: pytest.fail("encoded"))
    with pytest.raises(ConfigError, match="more than 3 windows"):
        pipeline.interview([make_noise("long.wav", 35.0)])


def test_what_cannot_be_heard_is_left_out(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "no.wav").write_bytes(b"no sound")
    good = ASSETS / "great_tit.ogg"
    paths = [tmp_path / "no.wav", good, damaged_at(tmp_path / "early.wav", 0.1)]
    _, interview = heard(listen(pipeline.engine(), paths, leave_out=True))
    assert [part.audio_paths for part in interview.parts] == [[good]]
    assert ["no.wav" in interview.warnings[0], "early.wav" in interview.warnings[1]] == [True, True]
    with pytest.raises(RecordingError, match=r"no\.wav .*early\.wav is damaged"):
        heard(listen(pipeline.engine(), [paths[0], paths[2]], leave_out=True))
    _, interview = heard(listen(pipeline.engine(), [good, good], Stretch(2.0, 4.0), leave_out=True))
    assert interview.parts[0].audio_paths == [good, good]
    long = ASSETS / "dawn_25s.ogg"
    _, interview = heard(listen(pipeline.engine(), [good, long], Stretch(15.0, 20.0), leave_out=True))
    assert [part.audio_paths for part in interview.parts] == [[long]]
    assert "great_tit.ogg has no sound from 15 to 20 s" in interview.warnings[0]


def test_the_damage_is_named(pipeline: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"early\.wav is damaged: .* less than 0\.5 s of the part"):
        pipeline.interview([damaged_at(tmp_path / "early.wav", 0.1, 10.0)])
    short = pipeline.interview([damaged_at(tmp_path / "short.wav", 5.0, 10.0)])
    assert "The sound before the damage is used." in short.warnings[0]
    late = pipeline.interview([damaged_at(tmp_path / "late.wav", 15.0, 60.0)])
    assert [(part.start_seconds, part.end_seconds) for part in late.parts] == [(0.0, 10.0), (10.0, 15.0)]
    assert "late.wav is damaged" in late.warnings[0]
    with pytest.raises(RecordingError, match=r"late\.wav is damaged.*cut the damaged part away\. Nothing"):
        pipeline.interview([tmp_path / "late.wav"], start_seconds=20.0)


@pytest.mark.parametrize("part", [(5.0, 3.0), (-1.0, None), (2.0, 2.0)])
def test_a_part_that_makes_no_sense_is_said(pipeline: Pipeline, part: tuple[float, float | None]) -> None:
    with pytest.raises(ConfigError, match=f"There is no part from {part[0]:g} s to "):
        pipeline.interview([ASSETS / "rain.ogg"], start_seconds=part[0], end_seconds=part[1])
