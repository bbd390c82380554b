"""Read one sound file from front to back through libsndfile, believing its header no more than needed.

Headers that state too little are corrected on the way in (`NatureLM.audio.headers`).
"""

from __future__ import annotations

import logging
import os
import re
import stat
from functools import cached_property
from pathlib import Path
from typing import Any, Union

import numpy as np
import soundfile

from NatureLM.audio.headers import CorrectedFile, wav_data
from NatureLM.audio.mp3 import mp3_frames_before_damage, mp3_states_frames
from NatureLM.audio.ogg import ogg_frames_before_damage
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
    unclaimed_frames : int
        Frames behind those that the header states, which are not read: a recorder that lost its power may
        have written them after it last wrote the header, or a memory card may have held them before.
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
        self.unclaimed_frames = 0
        try:
            self._corrected = self._correction(sound.format)
        except BaseException as error:
            sound.close()
            if not isinstance(error, OSError):
                raise
            raise _unreadable(self.path, error) from None
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
            most = self._frames_at_once
            if self._sound_frames is not None:
                most = min(most, self._sound_frames - self._position)
                if most <= 0:
                    self.fault = "something is missing or was overwritten there"
                    break
            piece = buffer[filled : filled + most]
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

    def _correction(self, file_format: str) -> CorrectedFile | None:
        if file_format == "MP3" and not mp3_states_frames(self.path):
            return CorrectedFile(self.path, phantom_bytes=1000 * os.path.getsize(self.path))
        data = wav_data(self.path) if file_format in ("WAV", "WAVEX", "RF64") else None
        if data is None:
            return None
        header = data.header_by_file_size()
        if header is not None:
            return CorrectedFile(self.path, header, data.position)
        self.unclaimed_frames = data.unclaimed_frames
        return None

    @cached_property
    def _sound_frames(self) -> int | None:
        """Frames before damage that the decoder would pass over without a word; looked for when read."""
        try:
            if self._sound.format == "MP3":
                return mp3_frames_before_damage(self.path)
            if self._sound.format == "OGG":
                return ogg_frames_before_damage(self.path, self.sample_rate, self._sound.frames)
        except OSError as error:
            raise _unreadable(self.path, error) from None
        return None

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


def _unreadable(path: Path, error: OSError) -> RecordingError:
    return RecordingError(f"{display_path(path)} cannot be read: {error.strerror}; check the disk it is on.")


def _open(path: Path, corrected: CorrectedFile | None = None) -> soundfile.SoundFile:
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
