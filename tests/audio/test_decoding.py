import contextlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from NatureLM.audio import decoding
from NatureLM.audio.decoding import SoundReader, display_path
from NatureLM.errors import RecordingError

pytestmark = pytest.mark.filterwarnings("error")


def with_wav_sizes(path: Path, riff: int, data: int, rest: bytes = b"") -> Path:
    content = path.read_bytes()
    at = content.index(b"data")
    damaged = path.with_name(f"sizes_{riff:x}_{data:x}.wav")
    damaged.write_bytes(
        content[:4]
        + struct.pack("<I", riff)
        + content[8 : at + 4]
        + struct.pack("<I", data)
        + content[at + 8 :]
        + rest
    )
    return damaged


def without_first_mp3_frame(path: Path) -> Path:
    """Drop the frame that holds the Xing header and so the frame count."""
    content = path.read_bytes()
    assert b"Xing" in content[:200] or b"Info" in content[:200]
    second = content.index(content[:2], 4)
    bare = path.with_name("bare_" + path.name)
    bare.write_bytes(content[second:])
    return bare


@pytest.mark.parametrize("name", ["a.wav", "a.WAV", "a.flac", "a.aiff", "a.au", "a.caf", "a.w64", "a.rf64"])
def test_lossless_formats_come_back_exactly(make_recording, name, decode):
    path = make_recording(name, channels=2)
    expected, _ = soundfile.read(path, dtype="float32")
    samples, reader = decode(path)
    assert np.array_equal(samples, expected)
    assert (reader.sample_rate, reader.channels, reader.frames) == (16000, 2, 32000)
    assert reader.promised_frames == 32000
    assert reader.fault is None


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.opus"])
def test_lossy_formats_are_what_libsndfile_reads_at_once(make_recording, name, decode):
    path = make_recording(name, channels=2)
    expected, _ = soundfile.read(path, dtype="float32")
    samples, reader = decode(path, frames_at_once=777)
    assert samples.shape == expected.shape == (32000, 2)
    np.testing.assert_allclose(samples, expected, atol=1e-6)
    assert reader.fault is None


def test_truncated_wav_gives_what_is_there_and_knows_what_is_missing(make_recording, decode):
    path = make_recording("a.wav", seconds=4)
    whole, _ = decode(path)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 16000])
    samples, reader = decode(path)
    assert np.array_equal(samples, whole[:16000])
    assert reader.frames == 16000
    assert reader.promised_frames == 64000


@pytest.mark.parametrize("name", ["a.aiff", "a.w64", "a.rf64"])
def test_other_truncated_headers_tell_what_is_missing(make_recording, name, decode):
    path = make_recording(name, seconds=4)
    path.write_bytes(path.read_bytes()[:64000])
    samples, reader = decode(path)
    assert 31900 <= len(samples) <= 32000
    assert reader.promised_frames == pytest.approx(64000, rel=0.01) or name == "a.rf64"


def test_truncated_flac_gives_every_sample_before_the_damage(make_recording, decode):
    path = make_recording("a.flac", seconds=4)
    whole, _ = decode(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    samples, reader = decode(path)
    assert 28000 <= len(samples) <= 32000
    assert np.array_equal(samples, whole[: len(samples)])
    assert reader.promised_frames == 64000


def test_damage_inside_a_flac_ends_it(make_recording, decode):
    path = make_recording("a.flac", seconds=4)
    whole, _ = decode(path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 60] = bytes(60)
    path.write_bytes(content)
    samples, reader = decode(path)
    assert np.array_equal(samples, whole[: len(samples)])
    assert 24000 <= len(samples) <= 32000
    assert reader.fault


def test_flac_of_unknown_length_is_read_to_its_end(make_recording, decode):
    path = make_recording("a.flac", seconds=4)
    whole, _ = decode(path)
    content = bytearray(path.read_bytes())
    stream_info = int.from_bytes(content[18:26], "big")  # the last 36 of these bits count the samples
    content[18:26] = (stream_info >> 36 << 36).to_bytes(8, "big")
    path.write_bytes(content)
    samples, reader = decode(path)
    assert np.array_equal(samples, whole)
    assert reader.frames is None
    assert reader.promised_frames is None
    assert reader.fault is None


@pytest.mark.parametrize(
    ("riff", "data"), [(0, 0), (36, 0), (8, 0), (0xFFFFFFFF, 0xFFFFFFFF), (2**31 - 1, 2**31 - 37)]
)
def test_wav_header_that_was_never_finished(make_recording, riff, data, decode):
    path = make_recording("a.wav", channels=2)
    whole, _ = decode(path)
    samples, reader = decode(with_wav_sizes(path, riff, data))
    assert np.array_equal(samples, whole)
    assert reader.frames == 32000
    assert reader.promised_frames in (None, 32000)


@pytest.mark.parametrize("size", [0, 2**64 - 8])  # zeroed, and what libsndfile writes before the first sample
def test_rf64_header_that_was_never_finished(make_recording, size, decode):
    path = make_recording("a.rf64", channels=2)
    whole, reader = decode(path)
    assert reader.unclaimed_frames == 0
    content = path.read_bytes()
    at = content.index(b"ds64") + 8
    path.write_bytes(content[:at] + struct.pack("<QQQ", size, 0, 0) + content[at + 24 :])
    samples, reader = decode(path)
    assert np.array_equal(samples, whole)
    assert reader.frames == 32000
    path.write_bytes(path.read_bytes()[:-4000])
    assert decode(path)[1].frames == 31000


def test_sound_behind_what_the_header_states_is_counted(make_recording, decode):
    path = make_recording("a.wav", channels=2)
    whole, reader = decode(path)
    assert (reader.frames, reader.unclaimed_frames) == (32000, 0)
    data = len(path.read_bytes()) - 44
    samples, reader = decode(with_wav_sizes(path, 36 + 4000, 4000))
    assert np.array_equal(samples, whole[:1000])
    assert (reader.frames, reader.unclaimed_frames) == (1000, 31000)
    note = b"guan" + struct.pack("<I", 6) + b"GUANO|"
    for stated, rest in ((data, note), (data, bytes(8000)), (data - 1, b""), (data + 1, b"s" + note)):
        reader = decode(with_wav_sizes(path, 36 + data, stated, rest))[1]
        assert reader.unclaimed_frames == 0


def test_empty_wav_with_a_chunk_behind_stays_empty(make_recording, decode):
    path = make_recording("a.wav", frames=np.zeros((0, 1), np.float32))
    note = b"LIST" + struct.pack("<I", 200) + bytes(200)
    samples, reader = decode(with_wav_sizes(path, 36 + len(note), 0, note))
    assert len(samples) == 0
    assert reader.frames == 0


@pytest.mark.skipif(os.name == "nt", reason="the file would take its 4 GiB on Windows")
@pytest.mark.parametrize("stated", [96000, 0xFFFFFFFF, 0])
def test_wav_of_more_than_4_gib_is_read_to_its_end(make_recording, stated):
    path = make_recording("a.wav", seconds=1, sample_rate=48000)
    present = 2**32 + 96000
    long = with_wav_sizes(path, stated, stated)
    os.truncate(long, 44 + present)  # a sparse file: takes no room
    with SoundReader(long) as reader:
        assert reader.frames == present // 2
        buffer = np.empty((48000, 1), np.float32)
        assert reader.read_into(buffer) == 48000
        assert np.abs(buffer).max() > 0.05
        assert reader.read_into(buffer) == 48000
        assert np.abs(buffer).max() == 0
    with open(long, "r+b") as stream:  # a chunk of notes behind the samples that the header states
        stream.seek(44 + 96000)
        stream.write(b"LIST" + struct.pack("<I", 1000))
    with SoundReader(long) as reader:
        assert reader.frames == (48000 if stated == 96000 else present // 2)


@pytest.mark.parametrize("loud_first", [True, False])
def test_mp3_without_frame_count_is_read_to_its_end(make_recording, loud_first, decode):
    silence, sound = np.zeros(160000, np.float32), np.random.default_rng(1).standard_normal(160000) / 10
    parts = (sound, silence) if loud_first else (silence, sound)
    frames = np.concatenate(parts).astype(np.float32)
    path = without_first_mp3_frame(make_recording("a.mp3", frames=frames, bitrate_mode="VARIABLE"))
    wrong = soundfile.info(path).frames
    assert not 300000 < wrong < 340000  # libsndfile's guess from the first frame's bit rate
    samples, reader = decode(path)
    assert 320000 <= len(samples) <= 325000
    assert reader.frames == wrong
    assert reader.promised_frames is None
    assert reader.fault is None


def test_truncated_mp3_with_frame_count(make_recording, decode):
    path = make_recording("a.mp3", seconds=20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    samples, reader = decode(path)
    assert 150000 < len(samples) < 162000
    assert reader.promised_frames == 320000


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("text.wav", b"These are my notes", 'is not audio .*begins with "These are my not".*convert'),
        ("empty.wav", b"", r"is empty \(0 bytes\)"),
        ("headerless.raw", b"\0" * 5000, "is raw audio without a header"),
        ("cut.caf", b"caff\0\1\0\0desc", "begins with the bytes 63 61 66 66 00 01 00 00 64 65 73 63"),
        ("noise.flac", b"fLaC" + b"\xff" * 400, "is not audio that can be read"),
    ],
)
def test_what_is_not_audio(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordingError, match=reason) as caught:
        SoundReader(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_what_is_not_a_file(tmp_path):
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(RecordingError, match=r"folder\.wav is a folder"):
        SoundReader(tmp_path / "folder.wav")
    with pytest.raises(RecordingError, match=r"gone\.wav does not exist; check the path"):
        SoundReader(tmp_path / "gone.wav")
    with pytest.raises(RecordingError, match="null byte"):
        SoundReader("a\0b.wav")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have names on POSIX systems only")
def test_pipes_and_link_loops_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(RecordingError, match="not a regular file"):
        SoundReader(tmp_path / "pipe.wav")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    with pytest.raises(RecordingError, match=r"loop\.wav cannot be opened"):
        SoundReader(tmp_path / "loop.wav")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX systems")
def test_no_permission(make_recording):
    path = make_recording("secret.wav")
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root reads everything, so read as nobody
        os.seteuid(65534)
    try:
        with pytest.raises(RecordingError, match=r"secret\.wav cannot be read: permission denied"):
            SoundReader(path)
    finally:
        os.seteuid(user)


def test_a_file_named_dash_is_not_standard_input(make_recording, monkeypatch, decode):
    path = make_recording("a.wav")
    path.rename(path.with_name("-"))
    monkeypatch.chdir(path.parent)
    assert len(decode(Path("-"))[0]) == 32000


@pytest.mark.skipif(os.name == "nt", reason="names on Windows are text")
def test_names_that_are_no_text(make_recording, decode):
    plain = make_recording("plain.wav")
    odd = Path(os.fsdecode(os.fsencode(plain.parent) + b"/caf\xe9\nnew.wav"))
    plain.rename(odd)
    assert len(decode(odd)[0]) == 32000
    assert display_path(odd).endswith(r"caf\xe9\nnew.wav")
    odd.write_bytes(b"")
    with pytest.raises(RecordingError) as caught:
        SoundReader(odd)
    assert str(caught.value).encode("utf-8").count(b"\n") == 0


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to count open files")
@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError()])
def test_file_whose_disk_fails_after_opening_is_closed(make_recording, monkeypatch, error):
    path = make_recording("a.wav")

    def fail(*_):
        raise error

    monkeypatch.setattr(decoding, "wav_data", fail)
    with pytest.raises((RecordingError, MemoryError)) as caught:
        SoundReader(path)
    if isinstance(error, OSError):
        assert str(caught.value) == f"{path} cannot be read: Input/output error; check the disk it is on."
    opened = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists them is gone by now
            opened.append(os.readlink(descriptor))
    assert str(path) not in opened
