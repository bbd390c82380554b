import random
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
import soundfile
import soxr

from NatureLM.audio import Window, array_windows, long_enough, plan_windows, probe, recording_windows
from NatureLM.errors import ConfigError, RecordingError


def ends(windows: list[Window]) -> list[tuple[float, float]]:
    return [(window.start_seconds, window.end_seconds) for window in windows]


@pytest.mark.parametrize(
    ("duration", "length", "hop", "expected"),
    [
        (30.0, 10.0, 10.0, [(0, 10), (10, 20), (20, 30)]),
        (25.0, 10.0, 10.0, [(0, 10), (10, 20), (20, 25)]),
        (20.5, 10.0, 10.0, [(0, 10), (10, 20), (20, 20.5)]),
        (20.49, 10.0, 10.0, [(0, 10), (10, 20)]),
        (4.0, 10.0, 10.0, [(0, 4)]),
        (0.5, 10.0, 10.0, [(0, 0.5)]),
        (12.0, 10.0, 5.0, [(0, 10), (5, 12)]),
        (10.4, 10.0, 5.0, [(0, 10)]),
        (15.0, 10.0, 5.0, [(0, 10), (5, 15)]),
        (10.9, 10.0, 0.3, [(0, 10), (0.3, 10.3), (0.6, 10.6), (0.9, 10.9)]),
        (10.8, 10.0, 0.3, [(0, 10), (0.3, 10.3), (0.6, 10.6)]),
        (25.0, 5.0, 10.0, [(0, 5), (10, 15), (20, 25)]),
        (20.4, 5.0, 10.0, [(0, 5), (10, 15)]),
        (20.5, 5.0, 10.0, [(0, 5), (10, 15), (20, 20.5)]),
        (18.0, 5.0, 10.0, [(0, 5), (10, 15)]),
        (1.0, 0.3, 0.3, [(0, 0.3), (0.3, 0.6), (0.6, 0.9)]),
    ],
)
def test_plan(duration, length, hop, expected):
    assert ends(plan_windows(duration, length, hop)) == expected


def test_plan_does_not_drift_over_a_day():
    windows = plan_windows(86400.0, 3.0, 0.7)
    assert len(windows) == 123425
    assert windows[3] == Window(2.1, 5.1)
    assert windows[111111] == Window(77777.7, 77780.7)
    assert windows[-1] == Window(86396.8, 86399.8)


@pytest.mark.parametrize(
    ("length", "hop", "option"),
    [
        (0, 1, "window length"),
        (-1, 1, "window length"),
        (1, 0, "hop length"),
        (float("nan"), 1, "window length"),
        (1, float("inf"), "hop length"),
        (True, 1, "window length"),
    ],
)
def test_lengths_that_make_no_sense(make_recording, length, hop, option):
    for attempt in (
        lambda: plan_windows(10.0, length, hop),
        lambda: recording_windows(make_recording("a.wav"), 16000, length, hop),
        lambda: array_windows(np.zeros(16000), 16000, 16000, length, hop),
    ):
        with pytest.raises(ConfigError, match=f"{option} is .*; give a positive number of seconds"):
            attempt()


def test_less_than_a_sample(make_recording):
    with pytest.raises(ConfigError, match="window length is 1e-05 s, less than a sample at 16000 Hz"):
        recording_windows(make_recording("a.wav"), 16000, 1e-5, 1)
    with pytest.raises(ConfigError, match="hop length is 1e-05 s"):
        recording_windows(make_recording("a.wav"), 16000, 1, 1e-5)


@pytest.mark.parametrize(
    ("length", "expected"), [(10.0, [(0.0, 0.49)]), (0.2, [(0.0, 0.2), (0.2, 0.4)]), (0.49, [(0.0, 0.49)])]
)
def test_a_short_recording_is_heard_whole(make_recording, length, expected):
    path = make_recording("a.wav", seconds=0.49)
    assert ends(plan_windows(0.49, length, length)) == expected
    assert ends([window for window, _, _ in recording_windows(path, 16000, length, length)]) == expected
    heard = list(array_windows(np.zeros(7840), 16000, 16000, length, length))
    assert ends([window for window, _ in heard]) == expected
    assert len(heard[0][1]) == round(expected[0][1] * 16000)


@pytest.mark.parametrize("sample_rate", [16000, 48000, 384000])
def test_a_single_sample_is_a_window(make_recording, sample_rate):
    path = make_recording("a.wav", frames=np.full((1, 1), 0.5, np.float32), sample_rate=sample_rate)
    ((window, _, waveform),) = recording_windows(path, 48000, 10.0, 10.0)
    assert window == Window(0.0, 1 / sample_rate)
    heard = long_enough(waveform, 48000)
    assert len(heard) == 24000 and not heard[len(waveform) :].any()


def test_long_enough_leaves_longer_waveforms_alone():
    waveform = np.ones(24000, np.float32)
    assert long_enough(waveform, 48000) is waveform


@pytest.mark.parametrize("duration", [0.0, -1.0, float("nan"), float("inf")])
def test_durations_that_make_no_sense(duration):
    with pytest.raises(RecordingError, match=r"the recording's duration is .*; give a positive number"):
        plan_windows(duration, 10.0, 10.0)


def test_plan_agrees_with_the_windows_of_recordings(make_recording):
    chance = random.Random(3)
    for trial in range(120):
        rate = chance.choice([8000, 11025, 16000, 22050])
        target = chance.choice([rate, 16000, 12345])
        frames = (
            np.random.default_rng(trial).standard_normal(chance.randrange(rate // 2, 9 * rate)).astype("f4")
            / 9
        )
        seconds = len(frames) / rate
        length = chance.choice(
            [round(chance.uniform(0.05, 5), 3), 1.0, 3.0, seconds, 1 / 3, chance.uniform(0.05, 5)]
        )
        hop = chance.choice([length, length / 2, round(chance.uniform(0.05, 6), 2), chance.uniform(0.05, 6)])
        path = make_recording("a.wav", frames=frames, sample_rate=rate, subtype="FLOAT")
        expected = frames if target == rate else soxr.resample(frames, rate, target)
        windows = list(recording_windows(path, target, length, hop))
        plan = plan_windows(probe(path).duration_seconds, length, hop)
        assert [window for window, _, _ in windows] == plan
        assert plan[-1].end_seconds <= seconds
        for index, (window, label, waveform) in enumerate(windows):
            assert label == "mix"
            assert waveform.dtype == np.float32
            start = round(index * Fraction(str(hop)) * target)
            assert abs(len(waveform) - (window.end_seconds - window.start_seconds) * target) <= 2
            part = expected[start : start + len(waveform)]
            assert len(waveform) - len(part) <= 2
            assert np.array_equal(waveform[: len(part)], part)
        from_array = list(array_windows(frames, rate, target, length, hop))
        assert [window for window, _ in from_array] == plan
        for (_, _, waveform), (_, same) in zip(windows, from_array, strict=True):
            assert np.array_equal(waveform, same)


@pytest.mark.parametrize("factor", [10.0, 4, 3, 0.5])
@pytest.mark.parametrize(("length", "hop"), [(10.0, 10.0), (3.0, 2.5), (0.7, 1.3)])
def test_slowed_sound_is_that_of_a_file_of_a_lower_rate(make_recording, factor, length, hop):
    frames = np.random.default_rng(1).standard_normal(12345).astype(np.float32) / 9
    slowed = make_recording("slowed.wav", frames=frames, sample_rate=4000, subtype="FLOAT")
    fast = make_recording("fast.wav", frames=frames, sample_rate=int(4000 * factor), subtype="FLOAT")
    expected = list(recording_windows(slowed, 5000, length, hop))
    found = list(recording_windows(fast, 5000, length, hop, "mix", factor))
    from_array = list(array_windows(frames, int(4000 * factor), 5000, length, hop, factor))
    assert len(found) == len(expected) == len(from_array)
    for (window, _, waveform), (other, _, same), (third, again) in zip(
        found, expected, from_array, strict=True
    ):
        assert window.start_seconds == pytest.approx(other.start_seconds / factor, abs=1e-12)
        assert window.end_seconds == pytest.approx(other.end_seconds / factor, abs=1e-12)
        assert third == window
        np.testing.assert_allclose(waveform, same, atol=1e-6)
        assert np.array_equal(again, waveform)
    assert max(window.end_seconds for window, _, _ in found) <= probe(fast).duration_seconds


@pytest.mark.parametrize("factor", [0, -10, float("nan"), float("inf"), True])
def test_time_expansion_that_makes_no_sense(make_recording, factor):
    for attempt in (
        lambda: recording_windows(make_recording("a.wav"), 16000, 10.0, 10.0, "mix", factor),
        lambda: array_windows(np.zeros(16000), 16000, 16000, 10.0, 10.0, factor),
    ):
        with pytest.raises(ConfigError, match=r"time expansion is .*; give a positive factor"):
            attempt()


def test_full_windows_have_one_length(make_recording):
    path = make_recording("a.wav", seconds=8, sample_rate=44100)
    lengths = [len(waveform) for _, _, waveform in recording_windows(path, 16000, 1.00003, 0.777)]
    assert lengths[:-1] == [16000] * (len(lengths) - 1)


def test_each_channel_in_one_pass(make_recording):
    path = make_recording("a.wav", seconds=2.6, channels=3)
    frames, _ = soundfile.read(path, dtype="float32")
    windows = list(recording_windows(path, 16000, 1.0, 1.0, "each"))
    assert [(window.start_seconds, label) for window, label, _ in windows] == [
        (start, label) for start in (0.0, 1.0, 2.0) for label in "123"
    ]
    for window, label, waveform in windows:
        start = int(window.start_seconds * 16000)
        assert np.array_equal(waveform, frames[start : start + 16000, int(label) - 1])
        assert waveform.flags.c_contiguous


def test_one_channel_and_its_label(make_recording):
    path = make_recording("a.wav", channels=2)
    frames, _ = soundfile.read(path, dtype="float32")
    window, label, waveform = next(recording_windows(path, 16000, 10.0, 10.0, 2))
    assert (window, label) == (Window(0.0, 2.0), "2")
    assert np.array_equal(waveform, frames[:, 1])
    with pytest.raises(RecordingError, match="has 2 channels, so there is no channel 3"):
        next(recording_windows(path, 16000, 10.0, 10.0, 3))
    with pytest.raises(ConfigError, match="channel is 'left'"):
        recording_windows(path, 16000, 10.0, 10.0, "left")


def test_windows_are_the_callers_own_and_not_clipped(make_recording):
    frames = np.full((32000, 1), 3.0, np.float32)
    windows = recording_windows(make_recording("a.wav", frames=frames, subtype="FLOAT"), 16000, 1.0, 0.5)
    _, _, first = next(windows)
    assert first.max() == 3.0
    first[:] = 0
    assert all(waveform.min() == 3.0 for _, _, waveform in windows)


def test_windows_never_end_behind_what_was_decoded(make_recording):
    path = make_recording("a.flac", seconds=20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert probe(path).duration_seconds == 20
    windows = []
    with pytest.raises(
        RecordingError, match=r"a\.flac is cut off or damaged: [\d.]+ s of the expected 20\.0 s"
    ):
        for heard in recording_windows(path, 16000, 3.0, 3.0):
            windows.append(heard)
    last, _, waveform = windows[-1]
    assert last.start_seconds == 9.0
    assert 9.5 < last.end_seconds < 10.0
    assert len(waveform) == round((last.end_seconds - 9.0) * 16000)


@pytest.mark.parametrize("sample_rate", [16000, 48000])
@pytest.mark.parametrize(
    ("damaged", "expected"),
    [
        (6 * 16000, [(0.0, 3.0), (3.0, 6.0)]),
        (6 * 16000 + 5, [(0.0, 3.0), (3.0, 6.0)]),
        (7 * 16000, [(0.0, 3.0), (3.0, 6.0), (6.0, 7.0)]),
        (8000, [(0.0, 0.5)]),
        (0, []),
    ],
)
def test_all_sound_before_the_damage_is_yielded(make_recording, damaged, expected, sample_rate):
    frames = np.random.default_rng(0).standard_normal(10 * 16000).astype(np.float32) / 9
    frames[damaged] = np.nan
    path = make_recording("a.wav", frames=frames, subtype="FLOAT")
    before = make_recording("b.wav", frames=frames[: max(damaged, 1)], subtype="FLOAT")
    for windows in (
        ((window, waveform) for window, _, waveform in recording_windows(path, sample_rate, 3.0, 3.0)),
        array_windows(frames, 16000, sample_rate, 3.0, 3.0),
    ):
        heard = []
        with pytest.raises(RecordingError, match=rf"the sample at {damaged / 16000:.3f} s is nan"):
            for window in windows:
                heard.append(window)
        assert ends([window for window, _ in heard]) == expected
        whole = recording_windows(before, sample_rate, 3.0, 3.0)
        for (_, waveform), (_, _, same) in zip(heard, whole, strict=False):
            assert np.array_equal(waveform, same)


def test_hours_of_sound_in_little_memory(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(0, np.int16), 8000)
    hours, content = 3, bytearray(path.read_bytes())
    size = hours * 3600 * 8000 * 2
    content[40:44] = size.to_bytes(4, "little")
    path.write_bytes(content)
    with open(path, "r+b") as stream:
        stream.truncate(44 + size)  # sparse: takes no room
    tracemalloc.start()
    try:
        count = sum(1 for _ in recording_windows(path, 16000, 10.0, 9.0))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == hours * 400
    assert peak < 8 * 2**20  # the whole would be 660 MiB


@pytest.mark.parametrize(
    ("array", "first", "second"),
    [
        (np.tile(np.array([16384, -32768], np.int16), 8000), 0.5, -1.0),
        (np.tile(np.array([192, 0], np.uint8), 8000), 0.5, -1.0),
        (np.tile(np.array([2**30, -(2**31)], np.int32), 8000), 0.5, -1.0),
        (np.tile(np.array([0.5, -1.0]), 8000), 0.5, -1.0),
        (np.tile(np.array([0.5, -1.0], np.float16), 8000), 0.5, -1.0),
        (np.tile(np.array([[0.25], [0.75]], np.float32), 16000), 0.5, 0.5),  # (channels, samples)
        (np.tile(np.array([[0.25, 0.75]], np.float32), (16000, 1)), 0.5, 0.5),  # (samples, channels)
        (np.full((1, 16000), 0.5), 0.5, 0.5),
    ],
)
def test_arrays_of_all_kinds(array, first, second):
    ((window, waveform),) = array_windows(array, 16000, 16000, 10.0, 10.0)
    assert window == Window(0.0, 1.0)
    assert waveform.dtype == np.float32
    assert waveform.shape == (16000,)
    assert (waveform[0], waveform[1], waveform[-1]) == (first, second, second)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(0), r"the array has shape \(0,\)"),
        (np.zeros((2, 3, 4)), r"the array has shape \(2, 3, 4\)"),
        (np.array(1.0), r"the array has shape \(\)"),
        (np.zeros(16000, np.int64), "the array holds int64, whose full scale is unknown"),
        (np.zeros(16000, bool), "the array holds bool"),
        (np.zeros(16000, complex), "the array holds complex128"),
        (np.array(["a", "b"]), "the array holds <U1"),
        (np.full(16000, np.nan), "the array is damaged: the sample at 0.000 s is nan"),
        (np.full(16000, 1e300), "the array is damaged: the sample at 0.000 s is inf"),
    ],
)
def test_arrays_that_are_refused(array, reason):
    with pytest.raises(RecordingError, match=reason):
        list(array_windows(array, 16000, 16000, 10.0, 10.0))


@pytest.mark.parametrize("rates", [(0, 16000), (16000, 0), (float("nan"), 16000), (16000, -1)])
def test_arrays_at_impossible_rates(rates):
    with pytest.raises(ConfigError, match=r"sample rate is .*; give a positive number of Hz"):
        array_windows(np.zeros(16000), *rates, 10.0, 10.0)


def test_impossible_rate(make_recording):
    with pytest.raises(ConfigError, match="sample rate is 0; give a positive number of Hz"):
        recording_windows(make_recording("a.wav"), 0, 10.0, 10.0)
