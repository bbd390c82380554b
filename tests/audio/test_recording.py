from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from NatureLM.audio import RecordingInfo, parse_channel, probe, stream, stream_blocks, ultrasonic_warning
from NatureLM.errors import ConfigError, RecordingError

SHARED_AUDIO = Path(__file__).resolve().parents[3] / "shared" / "audio"


def whole(path: Path, sample_rate: float, **options: object) -> np.ndarray:
    return np.concatenate(list(stream(path, sample_rate, **options)))


def test_probe(make_recording):
    path = make_recording("a.WAV", seconds=1.5, sample_rate=44100, channels=3)
    assert probe(path) == RecordingInfo(path, 44100, 3, 66150, 1.5)
    assert probe(str(path)).path == path


def test_probe_counts_where_the_header_states_no_length(make_recording):
    path = make_recording("a.flac", seconds=1.5)
    content = bytearray(path.read_bytes())
    content[18:26] = (int.from_bytes(content[18:26], "big") >> 36 << 36).to_bytes(8, "big")
    path.write_bytes(content)
    assert probe(path).duration_seconds == 1.5


def test_no_samples(make_recording):
    path = make_recording("a.wav", frames=np.zeros((0, 2), np.float32))
    with pytest.raises(RecordingError, match=r"a\.wav holds no sound"):
        probe(path)
    with pytest.raises(RecordingError, match=r"a\.wav holds no sound"):
        list(stream(path, 16000))


@pytest.mark.parametrize(
    "sample_rate", [8000, 11025, 16000, 22050, 44100, 44101, 48000, 192000, 256000, 383999, 384000]
)
@pytest.mark.parametrize("target", [16000, 48000])
def test_streaming_is_bit_identical_to_resampling_at_once(make_recording, sample_rate, target):
    path = make_recording("a.wav", seconds=1.3, sample_rate=sample_rate)
    frames, _ = soundfile.read(path, dtype="float32")
    expected = soxr.resample(frames, sample_rate, target)
    for block_seconds in (0.0137, 0.5, 100.0):
        assert np.array_equal(whole(path, target, block_seconds=block_seconds), expected)


def test_channels(make_recording):
    path = make_recording("a.wav", sample_rate=44100, channels=3)
    frames, _ = soundfile.read(path, dtype="float32")
    for number in (1, 2, 3):
        expected = soxr.resample(frames[:, number - 1].copy(), 44100, 48000)
        assert np.array_equal(whole(path, 48000, channel=number), expected)
    mixed = (frames[:, 0] + frames[:, 1] + frames[:, 2]) / np.float32(3)
    assert np.array_equal(whole(path, 48000), soxr.resample(mixed, 44100, 48000))
    assert np.array_equal(whole(path, 44100), mixed)
    each = np.concatenate([block.samples for block in stream_blocks(path, 48000, "each")])
    assert np.array_equal(each, soxr.resample(frames, 44100, 48000))


def test_channel_that_is_not_there(make_recording):
    with pytest.raises(RecordingError, match=r"b\.wav has 2 channels, so there is no channel 3; .* up to 2"):
        list(stream(make_recording("b.wav", channels=2), 16000, channel=3))
    with pytest.raises(RecordingError, match=r"a\.wav has 1 channel, so there is no channel 2"):
        list(stream(make_recording("a.wav"), 16000, channel=2))


@pytest.mark.parametrize(("value", "channel"), [("mix", "mix"), ("each", "each"), (2, 2), ("12", 12)])
def test_parse_channel(value, channel):
    assert parse_channel(value) == channel


@pytest.mark.parametrize("value", ["left", 0, "0", -1, True, 1.5, "", None])
def test_parse_channel_refuses(value):
    with pytest.raises(ConfigError, match="give 'mix', 'each' or a channel's number"):
        parse_channel(value)


def test_options_are_checked_at_once(make_recording):
    path = make_recording("a.wav")
    with pytest.raises(ConfigError, match="several signals"):
        stream(path, 16000, "each")
    for rate in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="sample rate is"):
            stream(path, rate)
    with pytest.raises(ConfigError, match="block_seconds is 0"):
        stream(path, 16000, block_seconds=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(make_recording, bad):
    frames = np.zeros((32000, 2), np.float32)
    frames[24000, 1] = bad
    path = make_recording("a.wav", frames=frames, subtype="FLOAT")
    for rate in (16000, 48000):
        blocks = stream(path, rate)
        samples = 0
        with pytest.raises(RecordingError, match=rf"a\.wav is damaged: the sample at 1\.500 s is {bad}"):
            for block in blocks:
                samples += len(block)
        assert samples == 1.5 * rate  # every one before the damage
    assert len(whole(path, 16000, channel=1)) == 32000  # the damaged channel is not asked for


def test_truncated_file_gives_its_sound_and_names_both_lengths(make_recording):
    path = make_recording("a.wav", seconds=20)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 16000 * 12])
    *blocks, last = stream_blocks(path, 48000)
    assert sum(len(block.samples) for block in (*blocks, last)) == 12 * 48000
    assert {block.damage for block in blocks} == {None}
    assert last.decoded_seconds == 12.0
    assert last.damage == (
        f"{path} is cut off or damaged: 12.0 s of the expected 20.0 s could be decoded; "
        "replace it by an intact copy to have the rest."
    )
    with pytest.raises(RecordingError, match=r"12\.0 s of the expected 20\.0 s"):
        list(stream(path, 16000))


@pytest.mark.parametrize("name", ["a.flac", "a.mp3"])
def test_truncated_flac_and_mp3(make_recording, name):
    path = make_recording(name, seconds=20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    *_, last = stream_blocks(path, 16000)
    assert 9 < last.decoded_seconds <= 10
    assert "s of the expected 20.0 s" in last.damage


def test_file_that_goes_on_behind_its_header_gives_what_is_stated_and_says_so(make_recording):
    path = make_recording("a.wav", seconds=20)
    content = path.read_bytes()
    path.write_bytes(content[:40] + (2 * 16000 * 12).to_bytes(4, "little") + content[44:])
    *blocks, last = stream_blocks(path, 48000)
    assert sum(len(block.samples) for block in (*blocks, last)) == 12 * 48000
    assert last.damage == (
        f"{path} is damaged behind 12.0 s: its header states no more, but 8.0 s follow, sound or remains of "
        "other files; if they are sound, have the header corrected to have the rest."
    )


def test_whole_files_are_not_damaged(make_recording):
    for name in ("a.wav", "a.flac", "a.mp3", "a.ogg", "a.opus", "a.aiff"):
        assert len(whole(make_recording(name, seconds=3), 16000)) == 48000


def test_ultrasonic_warning_names_what_the_model_hears():
    bat = RecordingInfo(Path("bat.wav"), 384000, 1, 384000, 1.0)
    bird = RecordingInfo(Path("bird.wav"), 96000, 1, 96000, 1.0)
    assert ultrasonic_warning(bird, 31999) is None
    said = ultrasonic_warning(bat, 31999)
    assert said is not None
    assert said.startswith("bat.wav is sampled at 384 kHz, but the model hears only up to 15.9995 kHz")
    assert "None means none of the classes" in said
    assert "--time-expansion 13 slows them until all is heard" in said
    assert ultrasonic_warning(bat, 31999) == said
    assert ultrasonic_warning(bat, 384000) is None
    assert "up to 31.999 kHz (slowed 2 times)" in (ultrasonic_warning(bat, 31999, 2.0) or "")
    assert ultrasonic_warning(bat, 31999, 13) is None


@pytest.mark.skipif(not SHARED_AUDIO.is_dir(), reason="needs the recordings of shared/audio")
@pytest.mark.parametrize(
    ("name", "sample_rate", "channels", "seconds"),
    [
        ("lazuli_bunting.mp3", 48000, 2, 12.936),
        ("green_treefrog.mp3", 44100, 1, 9.9788),
        ("sandhill_crane.mp3", 44100, 1, 24.0588),
        ("turtle_dove_16khz.flac", 16000, 1, 24.1476),
        ("bat_256khz.wav", 384000, 1, 0.5),
        ("stereo.wav", 16000, 2, 0.625),
    ],
)
def test_real_recordings(name, sample_rate, channels, seconds):
    path = SHARED_AUDIO / name
    info = probe(path)
    assert (info.sample_rate, info.channels) == (sample_rate, channels)
    assert info.duration_seconds == pytest.approx(seconds, rel=0.03)  # MP3 headers estimate
    samples = whole(path, 48000)
    assert len(samples) / 48000 == pytest.approx(seconds, abs=1e-4)
    assert 0.001 < np.abs(samples).max() < 1.5
