import re

import numpy as np
import pytest

from NatureLM.audio.ogg import ogg_frames_before_damage

SECONDS = 40


def pages(content):
    starts = [match.start() for match in re.finditer(rb"OggS\0", content)]
    return [content[start:end] for start, end in zip(starts, [*starts[1:], len(content)], strict=True)]


def of_another_stream(page, number):
    """The page with another serial number; the checksum is made bit by bit, as RFC 3533 says it."""
    page = page[:14] + b"elsewhere"[:4] + number.to_bytes(4, "little") + bytes(4) + page[26:]
    checksum = 0
    for byte in page:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x04C11DB7 if checksum & 2**31 else 0)) & 2**32 - 1
    return page[:22] + checksum.to_bytes(4, "little") + page[26:]


@pytest.mark.parametrize("name", ["a.ogg", "a.opus"])
@pytest.mark.parametrize(
    "damage", ["byte", "page overwritten", "page missing", "bytes missing", "page twice"]
)
def test_damage_inside_ends_the_sound(make_recording, name, damage, decode):
    path = make_recording(name, SECONDS)
    parts = pages(path.read_bytes())
    whole, reader = decode(path)
    assert reader.fault is None
    middle = len(parts) // 2
    before, page, after = b"".join(parts[:middle]), parts[middle], b"".join(parts[middle + 1 :])
    path.write_bytes(
        before
        + {
            "byte": page[:500] + bytes((page[500] ^ 1,)) + page[501:],
            "page overwritten": bytes(len(page)),
            "page missing": b"",
            "bytes missing": page[:500] + page[900:],
            "page twice": page + page,
        }[damage]
        + after
    )
    sound, reader = decode(path)
    assert np.array_equal(sound, whole[: len(sound)])
    ended = parts[middle - (damage != "page twice")]  # the last page before the damage
    granule = int.from_bytes(ended[6:14], "little")
    skipped = int.from_bytes(parts[0][38:40], "little") if name == "a.opus" else 0
    assert len(sound) == (granule - skipped) // (3 if name == "a.opus" else 1)
    assert SECONDS / 4 < len(sound) / 16000 < SECONDS * 3 / 4
    assert reader.fault == "something is missing or was overwritten there"
    assert reader.frames == SECONDS * 16000


def test_what_is_no_damage(make_recording):
    path = make_recording("a.ogg", SECONDS)
    content = path.read_bytes()
    parts = pages(content)
    others = [of_another_stream(parts[0], 0), of_another_stream(parts[3], 7)]
    for whole in (
        content[:-100],  # breaks off
        content + b"OggS, but no page",
        content + bytes(100_000) + content,
        b"".join([parts[0], others[0], *parts[1:4], others[1], *parts[4:]]),
        b"OggS" + bytes(5000),
        b"",
    ):
        path.write_bytes(whole)
        assert ogg_frames_before_damage(path, 16000, SECONDS * 16000) is None
    flac = make_recording("b.ogg", subtype="VORBIS").with_name("c.ogg")
    flac.write_bytes(content.replace(b"\1vorbis", b"\x7fFLAC\1\0"))
    assert ogg_frames_before_damage(flac, 16000, SECONDS * 16000) is None


def test_damage_before_any_sound_leaves_none(make_recording, decode):
    path = make_recording("a.ogg", SECONDS)
    parts = pages(path.read_bytes())
    first = next(at for at, page in enumerate(parts) if int.from_bytes(page[6:14], "little") > 0)
    path.write_bytes(b"".join(parts[:first] + parts[first + 1 :]))
    assert ogg_frames_before_damage(path, 16000, SECONDS * 16000) == 0
    assert len(decode(path)[0]) == 0
