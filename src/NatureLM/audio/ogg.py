"""Where an Ogg file is damaged inside.

libvorbis and libopus go on with the next whole page without a word, so that all that follows would be heard
too early by what was lost.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

CLOCKS = {b"\x01vorbis\0": None, b"OpusHead": 48000}
"""The first 8 bytes of the streams that are looked into, and what their granule positions count: frames, or
48000ths of a second (RFC 7845, section 4)."""

BEGINS, ENDS = 0x02, 0x04
"""Bits of a page's flags (RFC 3533, section 6)."""

NO_PACKET_ENDS = 2**64 - 1
"""Granule position of a page on which no packet ends."""

HEADER_BYTES = 27

SEARCHED_AT_ONCE = 2**16

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Page(NamedTuple):
    """A whole page.

    Attributes
    ----------
    follows : bool
        Whether it begins where the page before it ended.
    serial, number : int
        Of its stream, and within it.
    flags : int
    granule : int
        What of the stream is complete at the end of the page.
    beginning : bytes
        Of its content.
    """

    follows: bool
    serial: int
    number: int
    flags: int
    granule: int
    beginning: bytes


def ogg_frames_before_damage(path: Path, sample_rate: int, frames: int) -> int | None:
    """Find the first place in an Ogg file (Vorbis, Opus) where a page is missing or is not what was written.

    Parameters
    ----------
    path : Path
    sample_rate : int
        In Hz.
    frames : int
        Of the whole file, as libsndfile takes them from its last page.

    Returns
    -------
    int or None
        Frames before that place; None for whole files, for those that only break off, and for other streams.
    """
    with open(path, "rb") as stream:
        first = next(_pages(stream), None)
        if first is None or not first.flags & BEGINS or first.beginning not in CLOCKS:
            return None
        complete = last = expected = 0
        is_damaged, follows = False, True
        for page in _pages(stream):
            follows = follows and page.follows
            if page.serial != first.serial:
                continue
            is_damaged = is_damaged or not follows or page.number != expected
            expected, follows = page.number + 1, True
            if page.granule != NO_PACKET_ENDS:
                last = page.granule
                complete = complete if is_damaged else last
            if page.flags & ENDS:
                break
    if not is_damaged:
        return None
    return max(0, frames - (last - complete) * sample_rate // (CLOCKS[first.beginning] or sample_rate))


def _pages(stream: BinaryIO) -> Iterator[Page]:
    """Whole pages from the file's beginning on (RFC 3533, section 6); what is none is passed over."""
    position, follows = 0, True
    while True:
        stream.seek(position)
        header = stream.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            return
        if header.startswith(b"OggS\0"):
            sizes = stream.read(header[26])
            body = stream.read(sum(sizes))
            if _checksum(header[:22] + bytes(4) + header[26:] + sizes + body) == header[22:26]:
                granule, serial, number = (
                    int.from_bytes(header[start:end], "little")
                    for start, end in ((6, 14), (14, 18), (18, 22))
                )
                yield Page(follows, serial, number, header[5], granule, body[:8])
                position, follows = position + HEADER_BYTES + len(sizes) + len(body), True
                continue
        found = _find(stream, position + 1, b"OggS")
        if found is None:
            return
        position, follows = found, False


def _checksum(page: bytes) -> bytes:
    """CRC-32 (0x04C11DB7) from 0 on, highest bit first; zlib's is from 2**32 - 1 on, lowest bit first."""
    lowest_first = zlib.crc32(page.translate(_MIRRORED), 2**32 - 1) ^ (2**32 - 1)
    return lowest_first.to_bytes(4, "big").translate(_MIRRORED)


def _find(stream: BinaryIO, position: int, wanted: bytes) -> int | None:
    """Return the position of the first `wanted` from `position` on."""
    stream.seek(position)
    block = b""
    while piece := stream.read(SEARCHED_AT_ONCE):
        block += piece
        at = block.find(wanted)
        if at >= 0:
            return position + at
        kept = len(wanted) - 1
        position += len(block) - kept
        block = block[-kept:]
    return None
