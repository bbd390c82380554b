"""The first seconds of what an ``audio`` cell holds."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from NatureLM.beans_zero.data.sound import read_file, sound_of
from NatureLM.errors import RecordingError

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra eval)")

TONE = np.sin(np.arange(8000) / 10).astype(np.float32)


def file_of(samples: np.ndarray, rate: int = 8000, form: str = "WAV", subtype: str = "FLOAT") -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format=form, subtype=subtype)
    return content.getvalue()


@pytest.mark.parametrize(
    "cell",
    [
        pa.scalar(TONE, pa.list_(pa.float32())),
        pa.scalar(TONE, pa.large_list(pa.float64())),
        pa.scalar({"array": TONE, "sampling_rate": 8000, "path": None}),
        pa.scalar({"bytes": file_of(TONE), "path": "a.wav"}),
        pa.scalar(file_of(TONE)),
        pa.scalar(file_of(np.stack([TONE, TONE], axis=1))),
    ],
    ids=["list", "list of doubles", "decoded feature", "feature", "bytes", "stereo"],
)
def test_every_form_of_sound_is_read_up_to_the_seconds_asked_for(cell: Any) -> None:
    for seconds, count in ((0.25, 2000), (5.0, 8000)):
        samples, rate = sound_of(cell, seconds, 8000, None)
        assert rate == 8000
        np.testing.assert_allclose(samples, TONE[:count], atol=1e-7)


def test_paths_begin_at_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(file_of(TONE))
    for cell in (pa.scalar("a.wav"), pa.scalar({"bytes": None, "path": "a.wav"})):
        np.testing.assert_array_equal(sound_of(cell, 0.1, None, tmp_path)[0], TONE[:800])
    with pytest.raises(
        RecordingError, match=r"its audio is the path a\.wav, which leads nowhere from the hub"
    ):
        sound_of(pa.scalar("a.wav"), 0.1, None, None)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (pa.scalar(None, pa.list_(pa.float32())), "its audio is null"),
        (pa.scalar([], pa.list_(pa.float32())), "its audio has no samples"),
        (
            pa.scalar([[0.5]], pa.list_(pa.list_(pa.float32()))),
            "expected a list of samples, or an audio file",
        ),
        (pa.scalar(3), "its audio is int64; expected a list of samples"),
        (pa.scalar(b"no audio"), "its audio is not audio that can be read"),
        (pa.scalar(b""), "its audio is empty"),
        (pa.scalar(file_of(TONE[:0])), "its audio holds no sound"),
        (pa.scalar([0.5, None, 0.5], pa.list_(pa.float32())), "its sample 1 is no finite number"),
        (pa.scalar([0.5, 0.5, np.inf], pa.list_(pa.float64())), "its sample 2 is no finite number"),
        (pa.scalar([0.5, 1e300], pa.list_(pa.float64())), "its sample 1 is no finite number"),
        (pa.scalar([5, None], pa.list_(pa.int16())), "its sample 1 is no finite number"),
        (
            pa.scalar(file_of(np.array([0.5, np.nan], np.float32))),
            r"its audio is damaged: the sample at 0\.000 s is nan",
        ),
        (pa.scalar(file_of(TONE, 20_000_000)), "its sampling rate is 20000000; expected a whole"),
        *(
            (
                pa.scalar({"array": TONE, "sampling_rate": rate}),
                re.escape(f"its sampling rate is {rate!r}; expected a whole number of Hz from 1 to"),
            )
            for rate in (0, -8000, 0.5, float("nan"), True, "8000", 10**18, 1e300)
        ),
    ],
    ids=[
        *("null", "empty", "nested", "number", "no audio", "no bytes", "empty file", "a null", "infinity"),
        *("beyond float32", "null among integers", "nan in a file", "rate of a file"),
        *("rate of 0", "rate below 0", "rate below 1", "rate nan", "rate true", "rate as text"),
        *("rate beyond int64", "rate beyond that"),
    ],
)
def test_what_is_no_sound_says_so(cell: Any, message: str) -> None:
    with pytest.raises(RecordingError, match=message):
        sound_of(cell, 1.0, 8000, None)


def test_bare_samples_need_a_rate() -> None:
    samples = pa.scalar(TONE, pa.list_(pa.float32()))
    with pytest.raises(RecordingError, match="its metadata name no sample_rate"):
        sound_of(samples, 1.0, None, None)
    with pytest.raises(RecordingError, match="its sampling rate is 2000000000; expected a whole"):
        sound_of(samples, 1.0, 2_000_000_000, None)


@pytest.mark.parametrize(("form", "subtype"), [("WAV", "FLOAT"), ("WAV", "PCM_16"), ("FLAC", "PCM_16")])
def test_a_file_that_was_cut_off_is_heard_whole_or_not_at_all(
    form: str, subtype: str, tmp_path: Path
) -> None:
    whole = file_of(np.tile(TONE, 4), form=form, subtype=subtype)
    cut = whole[: len(whole) // 2]
    (tmp_path / "a").write_bytes(cut)
    with pytest.raises(RecordingError) as on_disk:
        read_file(tmp_path / "a", 10.0)
    for cell in (pa.scalar(cut), pa.scalar({"bytes": cut, "path": "a.wav"})):
        with pytest.raises(
            RecordingError, match=r"its audio is cut off or damaged: .* of the expected 4\.0 s"
        ):
            sound_of(cell, 10.0, None, None)
        with pytest.raises(RecordingError) as in_memory:
            sound_of(cell, 10.0, None, None)
        assert str(in_memory.value) == str(on_disk.value).replace(str(tmp_path / "a"), "its audio")
    samples, rate = sound_of(pa.scalar(cut), 1.0, None, None)  # what is missing comes later
    assert rate == 8000
    np.testing.assert_allclose(samples, TONE, atol=2**-15)


def test_only_as_much_of_a_file_is_decoded_as_is_asked_for(tmp_path: Path) -> None:
    damaged = TONE.copy()
    damaged[4000] = np.nan
    (tmp_path / "a.wav").write_bytes(file_of(damaged))
    np.testing.assert_array_equal(read_file(tmp_path / "a.wav", 0.5)[0], TONE[:4000])
    with pytest.raises(RecordingError, match=r"a\.wav is damaged: the sample at 0\.500 s is nan"):
        read_file(tmp_path / "a.wav", 0.6)


def test_what_is_not_heard_may_be_damaged() -> None:
    samples, _ = sound_of(pa.scalar([0.5, 0.25, None], pa.list_(pa.float32())), 0.5, 4, None)
    assert samples.tolist() == [0.5, 0.25]
