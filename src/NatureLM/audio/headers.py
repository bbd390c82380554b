"""What libsndfile should see of a sound file whose header states too little.

libsndfile stops at the length that a header states: a WAV header left at zero (power loss) or wrapped round
at 4 GiB, and an MP3 without a frame count, whose length libsndfile guesses from the first frame's bit rate.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from NatureLM.audio.mp3 import ID3V1_BYTES

RF64_FORMAT_TAGS = {0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE}
"""PCM, float, A-law, mu-law, extensible: what libsndfile reads in RF64 files."""

PADDING_LOOKED_AT = 2**16
"""Bytes behind the stated samples that are looked at for whether they are only zeros."""


class CorrectedFile:
    """A file as libsndfile should see it: with another header, or seemingly longer than it is.

    `header` stands for all bytes before `position`. With `phantom_bytes` the file ends as it does, but its
    stated size is larger: libsndfile then overestimates an MP3's length and reads to the real end.
    """

    def __init__(self, path: Path, header: bytes = b"", position: int = 0, phantom_bytes: int = 0) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - closed by close()
        self._header = header
        self._shift = position - len(header)
        self._size = os.path.getsize(path) - self._shift + phantom_bytes
        self._phantom = phantom_bytes > 0
        self._position = 0
        self.fault: str | None = None

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the current position; return the number of bytes, 0 at the end."""
        view = memoryview(buffer).cast("B")
        count: int
        if self._position < len(self._header):
            part = self._header[self._position : self._position + len(view)]
            count = len(part)
            view[:count] = part
            self._position += count
            return count + self.readinto(view[count:]) if count < len(view) else count
        if self._phantom and self._position >= self._size - ID3V1_BYTES:
            count = min(len(view), self._size - self._position)  # an ID3v1 tag is looked for here
            view[:count] = bytes(count)
        else:
            try:
                self._file.seek(self._position + self._shift)
                count = self._file.readinto(view)
            except OSError as error:  # it would get lost in libsndfile, which calls this
                self.fault, count = error.strerror, 0
        self._position += count
        return count

    def read(self, size: int) -> bytes:
        """Return the next bytes; soundfile asks that it exists, and calls `readinto`."""
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(buffer)])

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position of the corrected file, and return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Return the position in the corrected file."""
        return self._position

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(frozen=True)
class WavData:
    """Where the samples of a WAV file are, and how many its header states.

    Attributes
    ----------
    form : bytes
        Content of the ``fmt`` chunk.
    position : int
        Of the first sample, in bytes.
    stated, present : int
        Bytes of samples that the header states, and bytes from `position` to the end of the file.
    has_64_bits : bool
        Whether the header is RF64, whose sizes cannot wrap round at 4 GiB.
    is_followed_by_chunk : bool
        Whether something that looks like a RIFF chunk follows the stated samples.
    is_padded : bool
        Whether zeros follow them.
    """

    form: bytes
    position: int
    stated: int
    present: int
    has_64_bits: bool
    is_followed_by_chunk: bool
    is_padded: bool

    @property
    def has_frames(self) -> bool:
        """Whether the samples lie one by one, as in PCM, not in compressed blocks."""
        return struct.unpack("<H", self.form[:2])[0] in RF64_FORMAT_TAGS

    @property
    def bytes_per_frame(self) -> int:
        """Bytes of one sample of every channel; 1 where the header says 0."""
        return max(1, struct.unpack("<H", self.form[12:14])[0])

    @property
    def unclaimed_frames(self) -> int:
        """Frames behind the stated samples that no chunk claims and that are not only zeros.

        They may be sound (the header was last written before the recorder's power failed), or what a memory
        card held before.
        """
        unclaimed = self.present - self.stated
        if unclaimed <= 0 or not self.has_frames or self.is_followed_by_chunk or self.is_padded:
            return 0
        return unclaimed // self.bytes_per_frame

    def header_by_file_size(self) -> bytes | None:
        """Header, in RF64 form (EBU Tech 3306), that states all that is there.

        None if the file's own header will do: it states some samples, in as many bits as they need.
        """
        wrapped_round = not self.has_64_bits and self.present >= 2**32
        if not (self.stated == 0 or wrapped_round) or not self.has_frames:
            return None
        if self.present - self.stated < self.bytes_per_frame or self.is_followed_by_chunk:
            return None
        frames = self.present // self.bytes_per_frame
        size = self.position + self.present
        sizes = struct.pack("<4sIQQQI", b"ds64", 28, size + 36, self.present, frames, 0)
        form = struct.pack("<4sI", b"fmt ", len(self.form)) + self.form
        return b"RF64\xff\xff\xff\xffWAVE" + sizes + form + b"data\xff\xff\xff\xff"


def wav_data(path: Path) -> WavData | None:
    """Find the samples of a RIFF or RF64 WAV file; None where its chunks do not lead to them."""
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        kind = stream.read(4)
        if kind not in (b"RIFF", b"RF64"):
            return None
        position, form, stated_in_64_bits = 12, b"", 0
        while True:
            stream.seek(position)
            head = stream.read(8)
            if not _is_chunk(head, 2**32):
                return None
            name, stated = struct.unpack("<4sI", head)
            position += 8
            if name == b"data":
                break
            if name == b"fmt ":
                form = stream.read(min(stated, 40))  # WAVE_FORMAT_EXTENSIBLE has 40 bytes
            elif name == b"ds64":
                stated_in_64_bits = int.from_bytes(stream.read(16)[8:], "little")
            position += stated + stated % 2
        if kind == b"RF64" and stated == 2**32 - 1:
            stated = stated_in_64_bits
        present = size - position
        stream.seek(position + min(stated, present))
        following = stream.read(PADDING_LOOKED_AT)
    if len(form) < 16:
        return None
    return WavData(
        form=form,
        position=position,
        stated=stated,
        present=present,
        has_64_bits=kind == b"RF64",
        # Behind an odd number of bytes there should be one more, which not every writer knows.
        is_followed_by_chunk=any(
            _is_chunk(following[at : at + 8], present - stated) for at in (0, stated % 2)
        ),
        is_padded=not any(following),
    )


def _is_chunk(header: bytes, most: int) -> bool:
    """Whether 8 bytes look like the head of a RIFF chunk: a printable name and a size of at most `most`."""
    if len(header) < 8 or not all(32 <= byte < 127 for byte in header[:4]):
        return False
    return bool(struct.unpack("<I", header[4:])[0] <= most)
