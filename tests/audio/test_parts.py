"""Parts of recordings: the samples asked for, and what is said where there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from NatureLM.audio import part_of_recording
from NatureLM.errors import ConfigError, RecordingError

RATE = 1000


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """Ten seconds whose samples say where they are."""
    path = tmp_path / "ramp.wav"
    soundfile.write(path, np.arange(10 * RATE, dtype=np.float32) / (10 * RATE), RATE, subtype="FLOAT")
    return path


def test_a_part_is_cut_to_the_sample(ramp: Path) -> None:
    part = part_of_recording(ramp, RATE, "mix", 2.5, 4.0, 10.0)
    assert part.dtype == np.float32
    np.testing.assert_allclose(part, np.arange(2500, 4000) / 10_000, atol=1e-6)
    np.testing.assert_allclose(part_of_recording(ramp, RATE, 1, 9.0, None, 10.0)[[0, -1]], [0.9, 0.9999])


def test_bounds_are_seconds_of_the_recording_where_it_is_slowed(ramp: Path) -> None:
    assert len(part_of_recording(ramp, RATE, "mix", 2.0, 3.0, 30.0, time_expansion=10.0)) == 10 * RATE


@pytest.mark.parametrize(
    ("start", "end", "error", "sentence"),
    [
        (3.0, 3.0, ConfigError, "The part from 3 to 3.0 s is empty"),
        (-1.0, None, ConfigError, "The part from -1 to None s is empty"),
        (0.0, None, ConfigError, "ramp.wav is longer than the 8 s that a conversation can be about"),
        (9.8, None, RecordingError, "ramp.wav has less than 0.5 s after 9.8 s; choose another part"),
        (12.0, 14.0, RecordingError, "ramp.wav has less than 0.5 s after 12 s; choose another part"),
    ],
)
def test_what_is_no_part_is_refused(
    ramp: Path, start: float, end: float | None, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        part_of_recording(ramp, RATE, "mix", start, end, 8.0)


def test_a_whole_recording_may_be_short(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.full(300, 0.5, dtype=np.float32), RATE, subtype="FLOAT")
    part = part_of_recording(path, RATE, "mix", 0.0, None, 8.0)
    np.testing.assert_allclose(part, [0.5] * 300 + [0.0] * 200, atol=1e-6)
    with pytest.raises(RecordingError, match=r"clip\.wav has less than 0\.5 s after 0\.1 s"):
        part_of_recording(path, RATE, "mix", 0.1, None, 8.0)


def test_sound_before_damage_is_used_and_the_damage_told(ramp: Path) -> None:
    ramp.write_bytes(ramp.read_bytes()[: 6 * RATE * 4])
    told: list[str] = []
    part = part_of_recording(ramp, RATE, "mix", 2.0, None, 8.0, warn=told.append)
    assert 3.9 * RATE < len(part) <= 4 * RATE
    assert (
        len(told) == 1 and "ramp.wav" in told[0] and told[0].endswith("The sound before the damage is used.")
    )
    with pytest.raises(RecordingError, match=r"Before that there is less than 0\.5 s of the part"):
        part_of_recording(ramp, RATE, "mix", 5.9, None, 8.0)
