"""Read one sound file from front to back through libsndfile, believing its header no more than needed.

libsndfile stops at the length that a header states, so headers that state too little are corrected on
the way in: a WAV header left at zero (power loss) or wrapped round at 4 GiB, and an MP3 without a frame
count, whose length libsndfile guesses from the first frame's bit rate.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import struct
from pathlib import Path
from typing import Any, Union

import numpy as np
import soundfile

from NatureLM.errors import RecordingError

logger = logging.getLogger("NatureLM.audio")

PathLike = Union[str, "os.PathLike[str]"]

UNKNOWN_FRAMES = 2**62
"""libsndfile states SF_COUNT_MAX (2**63 - 1) frames where a header states none."""

PLACEHOLDER_BYTES = 0x7FFF0000
"""Writers that cannot go back to the header state the largest size: SoX 0x7FFFFFFF less the header's
size, ffmpeg 0xFFFFFFFF. Sizes from here on promise nothing."""

MOST_FRAMES_AT_ONCE = 2**20
MP3_FRAMES_AT_ONCE = 4608
"""Four MPEG frames: a read that meets damage in an MP3 loses all that it decoded before."""

RF64_FORMAT_TAGS = {0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE}
"""PCM, float, A-law, mu-law, extensible: what libsndfile reads in RF64 files."""

ID3V1_BYTES = 128
"""Size of the ID3v1 tag at the end of an MP3 file (id3.org/ID3v1)."""

_STATED_AND_FOUND = re.compile(r"(?:data|SSND|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)")


def display_path(path: PathLike) -> str:
    """Write a path as one printable line: bytes that are not UTF-8 and control characters escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class SoundReader:
    """A sound file opened for one pass from front to back; use it in a ``with`` statement.

    Attributes
    ----------
    path : Path
    sample_rate : int
        In Hz.
    channels : int
    frames : int or None
        Frames according to the header, or None where it does not say. An estimate in MP3 files without
        a frame count.
    promised_frames : int or None
        Frames that were once written, as far as the header tells: more than `frames` where the file was
        cut off, None where the header makes no promise.
    fault : str or None
        Why decoding stopped before the end, once it has.

    Raises
    ------
    RecordingError
        If the file is missing, not readable, empty, or not audio that libsndfile knows.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        _check_readable(self.path)
        sound = _open(self.path)
        stated = sound.frames
        self.frames: int | None = stated if stated < UNKNOWN_FRAMES else None
        self.promised_frames: int | None = None
        try:
            self._corrected = _corrected_file(self.path, sound.format)
        except BaseException as error:
            sound.close()
            if not isinstance(error, OSError):
                raise
            raise RecordingError(
                f"{display_path(self.path)} cannot be read: {error.strerror}; check the disk it is on."
            ) from None
        if self._corrected is not None:
            sound.close()
            sound = _open(self.path, self._corrected)
            self.frames = stated if sound.format == "MP3" else sound.frames
        elif self.frames is not None:
            self.promised_frames = _frames_once_written(sound.extra_info, self.frames)
        self._sound = sound
        self.sample_rate: int = sound.samplerate
        self.channels: int = sound.channels
        self.fault: str | None = None
        self._position = 0
        self._frames_at_once = MP3_FRAMES_AT_ONCE if sound.format == "MP3" else MOST_FRAMES_AT_ONCE
        if self.sample_rate < 1 or self.channels < 1:
            self.close()
            raise RecordingError(
                f"{display_path(self.path)} states {self.sample_rate} Hz and {self.channels} channels: its "
                "header is damaged; replace it by an intact copy."
            )

    def __enter__(self) -> SoundReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._sound.close()
        if self._corrected is not None:
            self._corrected.close()

    def read_into(self, buffer: np.ndarray) -> int:
        """Decode the next frames into `buffer`, float32 (frames, channels); 0 at the end.

        A decoding error ends the file: what came before it is returned, and `fault` names it. Going on
        behind the damage would shift all later times.
        """
        filled = 0
        while filled < len(buffer) and self.fault is None:
            piece = buffer[filled : filled + self._frames_at_once]
            try:
                count = int(self._sound.buffer_read_into(piece, "float32"))
            except soundfile.LibsndfileError as error:
                self.fault = _reason(error)
                count = self._decoded_before_fault(len(piece))
            self._position += count
            filled += count
            if self._corrected is not None and self.fault is None:
                self.fault = self._corrected.fault
            if count < len(piece):
                break
        return filled

    def _decoded_before_fault(self, most: int) -> int:
        try:
            return min(max(int(self._sound.tell()) - self._position, 0), most)
        except soundfile.LibsndfileError:
            return 0


class _ForwardSound(soundfile.SoundFile):
    """soundfile seeks after every read, which is slow, and fails in files of unknown length."""

    def seekable(self) -> bool:
        return False


def _check_readable(path: Path) -> None:
    shown = display_path(path)
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise RecordingError(f"{shown} is a folder, not a recording; name the files in it, or search it.")
        if not stat.S_ISREG(status.st_mode):
            raise RecordingError(f"{shown} is not a regular file; copy the recording to disk first.")
        with open(path, "rb"):
            pass
    except FileNotFoundError:
        raise RecordingError(f"{shown} does not exist; check the path.") from None
    except PermissionError:
        raise RecordingError(f"{shown} cannot be read: permission denied; ask for read access.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RecordingError(f"{shown} cannot be opened: {reason}; check the path and the disk.") from None
    if status.st_size == 0:
        raise RecordingError(f"{shown} is empty (0 bytes); leave it out or replace it by an intact copy.")


def _open(path: Path, corrected: _CorrectedFile | None = None) -> soundfile.SoundFile:
    # An absolute path, because libsndfile takes "-" for standard input; bytes, because soundfile encodes
    # text strictly and so refuses names that are not UTF-8.
    absolute = os.path.abspath(path)
    file: Any = corrected or (absolute if os.name == "nt" else os.fsencode(absolute))
    try:
        return _ForwardSound(file)
    except soundfile.LibsndfileError as error:
        if corrected is not None:
            corrected.close()
        raise RecordingError(
            f"{display_path(path)} is not audio that can be read ({_reason(error)}; it begins with "
            f"{_beginning(path)}); convert it to WAV or FLAC, or leave it out."
        ) from None
    except TypeError:  # soundfile wants the rate and channels of names in .raw
        raise RecordingError(
            f"{display_path(path)} is raw audio without a header, so its sample rate is unknown; "
            "convert it to WAV or FLAC."
        ) from None


def _beginning(path: Path) -> str:
    """Return what a file begins with, as text where it is text."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(16)
    except OSError:
        head = b""
    text = head.decode("latin-1")
    return f'"{text}"' if text.isascii() and text.isprintable() else f"the bytes {head.hex(' ')}"


def _reason(error: soundfile.LibsndfileError) -> str:
    text = str(error.error_string).strip().rstrip(".")
    if text.startswith("File does not exist"):  # said of unknown formats too, and ours is known to exist
        return "Format not recognised"
    return text or f"libsndfile error {error.code}"


def _frames_once_written(libsndfile_log: str, frames: int) -> int:
    """Frames that the header promised, from libsndfile's note of the size it stated and the size found."""
    notes = _STATED_AND_FOUND.findall(libsndfile_log)
    if not notes:
        return frames
    stated, found = map(int, notes[-1])
    if not 0 < found < stated < PLACEHOLDER_BYTES:
        return frames
    return round(frames * stated / found)


def _corrected_file(path: Path, file_format: str) -> _CorrectedFile | None:
    if file_format == "MP3" and not _mp3_states_frames(path):
        return _CorrectedFile(path, phantom_bytes=1000 * os.path.getsize(path))
    if file_format in ("WAV", "WAVEX"):
        correction = _wav_header_by_file_size(path)
        if correction is not None:
            return _CorrectedFile(path, *correction)
    return None


def _mp3_states_frames(path: Path) -> bool:
    """Whether an MP3 begins with a Xing, Info or VBRI frame that states the number of frames."""
    with open(path, "rb") as stream:
        start = stream.read(10)
        offset = 0
        if start[:3] == b"ID3" and len(start) == 10:  # ID3v2: 10 bytes, then a size of four times 7 bits
            for byte in start[6:]:
                offset = offset << 7 | byte & 0x7F
            offset += 10
        stream.seek(offset)
        beginning = stream.read(2 * 1441)  # the longest layer III frame has 144 * 320000 / 32000 + 1 bytes
    for tag in (b"Xing", b"Info"):
        at = beginning.find(tag)
        if at >= 0 and len(beginning) >= at + 8:
            return bool(beginning[at + 7] & 1)  # bit 0 of the flags: a frame count follows
    return b"VBRI" in beginning


def _wav_header_by_file_size(path: Path) -> tuple[bytes, int] | None:
    """Build a header for a WAV file whose data chunk states 0 bytes, or too few because 32 bits were too few.

    Returns the header, in RF64 form (EBU Tech 3306), and the position of the samples that it belongs
    before; None if the file's own header will do.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        if stream.read(4) != b"RIFF":
            return None
        position, audio_format = 12, b""
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
                audio_format = stream.read(min(stated, 40))  # WAVE_FORMAT_EXTENSIBLE has 40 bytes
            position += stated + stated % 2
        stream.seek(position + stated)
        following = stream.read(8)
    present = size - position
    if len(audio_format) < 16 or not (stated == 0 or present >= 2**32):
        return None
    tag, bytes_per_frame = struct.unpack("<H10xH", audio_format[:14])
    unclaimed = present - stated
    if tag not in RF64_FORMAT_TAGS or unclaimed < max(1, bytes_per_frame) or _is_chunk(following, unclaimed):
        return None
    frames = present // max(1, bytes_per_frame)
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, size + 36, present, frames, 0)
    form = struct.pack("<4sI", b"fmt ", len(audio_format)) + audio_format
    return b"RF64\xff\xff\xff\xffWAVE" + sizes + form + b"data\xff\xff\xff\xff", position


def _is_chunk(header: bytes, most: int) -> bool:
    """Whether 8 bytes look like the head of a RIFF chunk: a printable name and a size of at most `most`."""
    if len(header) < 8 or not all(32 <= byte < 127 for byte in header[:4]):
        return False
    return bool(struct.unpack("<I", header[4:])[0] <= most)


class _CorrectedFile:
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

    def read(self, size: int) -> bytes:  # soundfile asks that it exists, and calls readinto
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(buffer)])

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        self._file.close()
