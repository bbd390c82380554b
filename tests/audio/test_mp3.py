import struct

import numpy as np
import pytest

from NatureLM.audio.mp3 import mp3_frames_before_damage

SECONDS = 20


def overwritten(content, at):
    return content[:at] + bytes(900) + content[at + 900 :]


def cut_out(content, at):
    return content[:at] + content[at + 4096 :]


@pytest.mark.parametrize("sample_rate", [11025, 16000, 48000])  # MPEG-2.5, 2 and 1
@pytest.mark.parametrize("states_frames", [True, False])
@pytest.mark.parametrize("damage", [overwritten, cut_out])
def test_damage_inside_ends_the_sound(make_recording, sample_rate, states_frames, damage, decode):
    path = make_recording("a.mp3", SECONDS, sample_rate)
    content = path.read_bytes()
    if not states_frames:
        content = content[content.index(content[:2], 4) :]
        path.write_bytes(content)
    assert mp3_frames_before_damage(path) is None
    whole, reader = decode(path)
    assert reader.fault is None
    at = len(content) // 2 + 5
    path.write_bytes(damage(content, at))
    sound, reader = decode(path)
    assert np.array_equal(sound, whole[: len(sound)])
    assert len(sound) == mp3_frames_before_damage(path)
    assert SECONDS / 2 - 0.5 < len(sound) / sample_rate <= SECONDS / 2
    assert reader.fault == "something is missing or was overwritten there"


def test_what_is_no_damage(make_recording):
    path = make_recording("a.mp3", SECONDS)
    content = path.read_bytes()
    id3v1 = b"TAG" + bytes(125)
    id3v2 = b"ID3\4\0\0" + bytes((0, 0, 2, 3)) + b"\xff" * 259
    ape = struct.pack("<8sIIII8x", b"APETAGEX", 2000, 40, 1, 0xA0000000) + b"\xff\xfb\x90" * 640 + bytes(80)
    for whole in (
        content[:-100],  # breaks off
        content + id3v1 + content,
        id3v2 + id3v2 + content,
        content + id3v2 + content,
        content + ape + id3v1,
        content + b"no tag that is known, \xff\xfb\x90, and no frames behind it",
        bytes(3000) + content,
        b"RIFF" + bytes(5000),
        b"",
    ):
        path.write_bytes(whole)
        assert mp3_frames_before_damage(path) is None
    path.write_bytes(id3v2 + content[:10000] + b"junk" + content[10000:] + id3v1)
    assert mp3_frames_before_damage(path) is not None
