"""The frames of an MP3 file, whose length and damage its decoder does not tell.

mpg123 goes on with the next frame that it understands without a word, so that all that follows would be heard
too early by what was lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import BinaryIO

KBITS = {
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates of layer III, indices 1 to 14: of MPEG-1 (ISO 11172-3), and of MPEG-2 (ISO 13818-3) and 2.5."""

SAMPLE_RATES = (44100, 48000, 32000)
"""Of MPEG-1, in Hz; MPEG-2 has half of each, 2.5 a quarter."""

LONGEST_FRAME = 1441
"""Bytes: 144 * 320000 / 32000, and one of padding."""

READ_AT_ONCE = 2**20

ID3V1_BYTES = 128
"""Size of the ID3v1 tag at the end of an MP3 file (id3.org/ID3v1)."""

SURE = 3
"""Frames that must follow one another for a place to count as the beginning of one."""


def mp3_states_frames(path: Path) -> bool:
    """Whether an MP3 begins with a Xing, Info or VBRI frame that states the number of frames."""
    with open(path, "rb") as stream:
        start = stream.read(10)
        stream.seek(10 + _id3_size(start) if start[:3] == b"ID3" and len(start) == 10 else 0)
        beginning = stream.read(2 * LONGEST_FRAME)
    for tag in (b"Xing", b"Info"):
        at = beginning.find(tag)
        if at >= 0 and len(beginning) >= at + 8:
            return bool(beginning[at + 7] & 1)  # bit 0 of the flags: a frame count follows
    return b"VBRI" in beginning


def mp3_frames_before_damage(path: Path) -> int | None:
    """Find the first place in an MP3 file where something else than a frame or a tag lies between frames.

    Returns
    -------
    int or None
        Sound frames (samples of each channel) that surely lie before that place; None for whole files and for
        those that only break off. A piece cut out from one frame's beginning to another's leaves no trace.
    """
    with open(path, "rb", buffering=READ_AT_ONCE) as stream:
        found = _find_frames(stream, 0, _every_kind())
        if found is None:
            return None
        first, kind = found
        stream.seek(first)
        beginning = stream.read(LONGEST_FRAME)
        count, position = _count_frames(stream, first, kind)
        while tag := _tag_bytes(stream, position):
            more, position = _count_frames(stream, position + tag, kind)
            count += more
        if _find_frames(stream, position, dict.fromkeys(kind.lengths, kind)) is None:
            return None
    # The first may hold no sound but the count; the last may be damaged, and gapless decoding leaves out the
    # encoder's delay, about one frame.
    unsure = 2 + any(tag in beginning for tag in (b"Xing", b"Info", b"VBRI"))
    return max(0, count - unsure) * kind.samples


@dataclass(frozen=True)
class _Kind:
    """What all frames of a file have in common.

    Attributes
    ----------
    lengths : dict
        Bytes of a frame by the second and third byte of its header; the first byte is always 0xFF.
    samples : int
        Of each channel, in a frame.
    """

    lengths: dict[bytes, int]
    samples: int


@lru_cache(maxsize=1)
def _every_kind() -> dict[bytes, _Kind]:
    kinds = {}
    for version, divisor in ((3, 1), (2, 2), (0, 4)):  # MPEG-1, 2 and 2.5
        samples = 1152 if divisor == 1 else 576
        for rate, hertz in enumerate(SAMPLE_RATES):
            lengths = {}
            for index, kbits in enumerate(KBITS[divisor == 1], start=1):
                length = samples // 8 * kbits * 1000 // (hertz // divisor)
                for unprotected, padding, private in product((0, 1), repeat=3):
                    second = 0xE2 | version << 3 | unprotected
                    third = index << 4 | rate << 2 | padding << 1 | private
                    lengths[bytes((second, third))] = length + padding
            kinds.update(dict.fromkeys(lengths, _Kind(lengths, samples)))
    return kinds


def _count_frames(stream: BinaryIO, position: int, kind: _Kind) -> tuple[int, int]:
    """Count the frames that follow one another from `position` on; return where they end as well."""
    count = 0
    while True:
        stream.seek(position)
        head = stream.read(3)
        length = kind.lengths.get(head[1:]) if head[:1] == b"\xff" else None
        if length is None:
            return count, position
        position += length
        count += 1


def _find_frames(stream: BinaryIO, position: int, kinds: dict[bytes, _Kind]) -> tuple[int, _Kind] | None:
    """Find the first place from `position` on where frames of one kind follow one another."""
    while tag := _tag_bytes(stream, position):
        position += tag
    stream.seek(position)
    while len(block := stream.read(READ_AT_ONCE)) >= 3:
        at = -1
        while (at := block.find(b"\xff", at + 1)) >= 0:
            kind = kinds.get(block[at + 1 : at + 3])
            if kind is not None and _count_frames(stream, position + at, kind)[0] >= SURE:
                return position + at, kind
        position += len(block) - 2
        stream.seek(position)
    return None


def _tag_bytes(stream: BinaryIO, position: int) -> int:
    """Bytes of the tag at a position; 0 where there is none."""
    stream.seek(position)
    head = stream.read(32)
    if head.startswith(b"ID3") and len(head) >= 10:
        return 10 + _id3_size(head)
    if head.startswith(b"TAG"):
        return ID3V1_BYTES
    if head.startswith(b"APETAGEX") and len(head) == 32:
        is_header = head[23] & 0x20  # else a footer, whose items lie before it (APEv2)
        return 32 + (int.from_bytes(head[12:16], "little") if is_header else 0)
    return 0


def _id3_size(head: bytes) -> int:
    """Bytes behind the header of an ID3v2 tag: four times 7 bits (id3.org/id3v2.4.0-structure, 6.2)."""
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return size
