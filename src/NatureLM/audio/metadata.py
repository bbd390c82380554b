"""When, where and with what a recording was made, from its header and its file name.

Wrong dates are worse than none: what does not read as a recorder writes it is left unknown. Read are

- GUANO, the chunk ``guan`` of Song Meters, AudioMoths and bat detectors (github.com/riggsd/guano-spec),
- AudioMoth's comment and artist, ``ICMT`` and ``IART`` in ``LIST``/``INFO`` (main.c of
  github.com/OpenAcousticDevices/AudioMoth-Firmware-Basic),
- file names of AudioMoth (the same main.c), Song Meter (Wildlife Acoustics' user guides: "File Name
  Conventions", SM3BAT "Filenames for Recordings") and Frontier Labs (ISO 8601 with an offset).
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import BinaryIO

__all__ = ["RecorderMetadata", "read_metadata", "window_time"]

MOST_CHUNK_BYTES = 64 * 1024
"""Read of one chunk; GUANO and comments take some hundred bytes."""

MOST_CHUNKS = 256

MOST_CHARACTERS = 100
"""Of a site or recorder; Song Meters allow 12."""

YEARS = range(1900, 2101)
FIRST_AUDIOMOTH = datetime(2017, 1, 1, tzinfo=timezone.utc)
"""Other names of eight hexadecimal digits mostly mean a time before it, or after now."""

MOST_OFFSET = timedelta(hours=15)
"""From UTC; clocks on Earth lie between -12 and +14 hours."""

NO_SERIAL_NUMBER = "0FE081F80FE081F0"
"""AudioMoth's first firmware wrote where the serial number lies in memory, the same on every device
(``(unsigned int)(serialNumber + 8)`` in its setHeaderComment, later ``*((uint32_t*)serialNumber + 1)``)."""

_OFFSET = r"(?P<offset>Z|[+-]\d{1,2}(?::?\d{2})?)"

_GUANO_TIMESTAMP = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[T ](?P<hour>\d\d):(?P<minute>\d\d)"
    rf"(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?\s*{_OFFSET}?",
    re.ASCII,
)
"""GUANO, "Definitions and Common Data Conventions"; Song Meters write a blank for the ``T`` and offsets such
as ``+1:00``."""

_AUDIOMOTH_COMMENT = re.compile(
    r"Recorded at (?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)(?:\.(?P<fraction>\d+))? "
    r"(?P<day>\d\d)/(?P<month>\d\d)/(?P<year>\d{4}) "
    r"(?:\(UTC(?P<offset>[+-]\d{1,2}(?:: ?\d{1,2})?)?\)|by AudioMoth)",
    re.ASCII,
)
"""setHeaderComment; the oldest firmware names no zone and means UTC. Milliseconds: AudioMoth-Live."""

_AUDIOMOTH_ID = re.compile(r"\bAudioMoth ([0-9A-Fa-f]{16})\b")

_NAME = re.compile(
    r"(?:(?P<prefix>.*?)[_\-. ]|S|)"  # S: newer Frontier Labs names, S<start>_E<end>
    r"(?P<year>\d{4})(?P<dash>-?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)"
    r"(?P<between>[_$T\- ]|(?<=\d{8})(?=\d{6}(?!\d)))"  # $: clock set by GPS (SM3BAT user guide, 8.1);
    # nothing: the same name once a program has left the $ out, as browsers' uploads do
    r"(?P<hour>\d\d)(?P<colon>[:\-]?)(?P<minute>\d\d)(?P=colon)(?P<second>\d\d)"
    r"(?:[_.](?P<fraction>\d{3}(?:\d{3})?)(?!\d))?"
    r"(?P<offset>Z|[+-](?:0\d|1[0-4]):?(?:00|15|30|45))?"  # others are counts: of split recordings, -0001
    r"T?(?![0-9A-Za-z])",  # T: AudioMoth recording with a trigger
    re.ASCII | re.DOTALL,
)

_HEXADECIMAL_NAME = re.compile(r"[0-9A-F]{8}")
_AUDIOMOTH_PREFIX = re.compile(r"[0-9A-Fa-f]{8}(?:[0-9A-Fa-f]{8})?")
_SONG_METER_SERIAL = re.compile(r"(?:S4[AU]|SM[AMU]|2M[AMU])\d{5}")
_SONG_METER_CHANNEL = re.compile(r"(?:_+0\+1|__[01])_*$")
"""SM3BAT user guide, 8.1: ``0+1`` stereo, ``_0_`` and ``_1_`` mono, each between underscores. A single
underscore before 0 or 1 is left to the site: ``PLOT_1``."""


@dataclass(frozen=True)
class RecorderMetadata:
    """What is known of a recording's making; None for what is not.

    Attributes
    ----------
    recorded_at : datetime or None
        Start of the recording, in the time zone that header or name state; naive (local time of a zone
        unknown) where they state none.
    site : str or None
        Place: what the recorder was called when it was set up, or its coordinates ("54.7566 -1.5911").
    recorder : str or None
        Model and serial number: "AudioMoth 24F319055FDF2F55", "Song Meter Mini SMA00646".
    """

    recorded_at: datetime | None = None
    site: str | None = None
    recorder: str | None = None


def read_metadata(path: Path) -> RecorderMetadata:
    """Read date, site and recorder of a recording: from its header first, then from its name.

    Of the header only the chunks of RIFF/WAVE files (also RF64 and BW64) are known, before and behind the
    sound. Never raises: what is missing or damaged is unknown.

    Parameters
    ----------
    path : Path

    Examples
    --------
    >>> read_metadata(Path("MARSH_20230621_191730.wav"))
    RecorderMetadata(recorded_at=datetime.datetime(2023, 6, 21, 19, 17, 30), site='MARSH', recorder=None)
    """
    header = _Header()
    try:
        if stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for its writer
            with open(path, "rb") as file:
                header.read(file)
    except (OSError, ValueError, OverflowError):
        pass  # what was read before stays
    fields = header.guano
    comment, artist = header.info.get(b"ICMT", ""), header.info.get(b"IART", "")
    is_audiomoth = _is_audiomoth(comment, artist, fields)
    original = _from_name(re.split(r"[/\\]", fields.get("Original Filename", ""))[-1], is_audiomoth)
    own = _from_name(path.name, is_audiomoth)
    return RecorderMetadata(
        recorded_at=_from_guano(fields, is_audiomoth)
        or _from_comment(comment)
        or original.recorded_at
        or own.recorded_at,
        site=_named_site(fields) or own.site or original.site or _coordinates(fields),
        recorder=_guano_recorder(fields)
        or _audiomoth_recorder(f"{artist} {comment}", is_audiomoth)
        or original.recorder
        or own.recorder,
    )


def window_time(recorded_at: datetime, start_seconds: float) -> str:
    """Return when a window starts, ISO 8601, with milliseconds only where they are not zero.

    Parameters
    ----------
    recorded_at : datetime
        Start of the recording; its time zone is kept, and none is invented.
    start_seconds : float
        The window's place in the recording.

    Examples
    --------
    >>> window_time(datetime(2023, 6, 21, 23, 59, 55, tzinfo=timezone.utc), 10.0)
    '2023-06-22T00:00:05+00:00'
    >>> window_time(datetime(2023, 6, 21, 19, 17, 30), 2.5)
    '2023-06-21T19:17:32.500'
    """
    milliseconds = round(recorded_at.microsecond / 1000 + start_seconds * 1000)
    time = recorded_at.replace(microsecond=0) + timedelta(milliseconds=milliseconds)
    return time.isoformat(timespec="milliseconds" if time.microsecond else "seconds")


class _Header:
    """Texts of a WAVE file's chunks.

    RIFF: chunks of a four-character name, a little-endian size and content, padded to even length. RF64 and
    BW64 (EBU Tech 3306, ITU-R BS.2088) state the size of ``data`` in ``ds64``.
    """

    def __init__(self) -> None:
        self.guano: dict[str, str] = {}
        self.info: dict[bytes, str] = {}

    def read(self, file: BinaryIO) -> None:
        start = file.read(12)
        if start[:4] not in (b"RIFF", b"RF64", b"BW64") or start[8:] != b"WAVE":
            return
        data_bytes: int | None = None
        for _ in range(MOST_CHUNKS):
            head = file.read(8)
            if len(head) < 8 or not all(32 <= byte < 127 for byte in head[:4]):
                return
            name, size = head[:4], int.from_bytes(head[4:], "little")
            if name == b"data" and size == 0xFFFFFFFF and data_bytes is not None:
                size = data_bytes
            behind = file.tell() + size + size % 2
            if name in (b"ds64", b"guan", b"LIST"):
                content = file.read(min(size, MOST_CHUNK_BYTES))
                if name == b"ds64" and len(content) >= 16:
                    (data_bytes,) = struct.unpack_from("<Q", content, 8)
                elif name == b"guan":
                    self.guano = _guano_fields(content, whole=len(content) == size)
                elif name == b"LIST" and content[:4] == b"INFO":
                    self.info.update(_info_texts(content[4:]))
            file.seek(behind)


def _guano_fields(content: bytes, *, whole: bool) -> dict[str, str]:
    """Fields of a GUANO block; the last line of one that breaks off is left out, as it may be cut short."""
    if not whole:
        content = content[: content.rfind(b"\n") + 1]
    fields: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(_trimmed(key), _trimmed(value))
    return fields


def _info_texts(content: bytes) -> Iterator[tuple[bytes, str]]:
    position = 0
    while position + 8 <= len(content):
        size = int.from_bytes(content[position + 4 : position + 8], "little")
        text = content[position + 8 : position + 8 + size]
        if len(text) == size:
            # AudioMoth's comment is of fixed size, filled up with zeros
            yield content[position : position + 4], text.split(b"\0")[0].decode("utf-8", "replace")
        position += 8 + size + size % 2


def _trimmed(text: str) -> str:
    return text.strip(" \t\r\n\0\ufeff")


def _plain(text: str) -> str | None:
    """One short printable line, or None where nothing is left."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split())[:MOST_CHARACTERS] or None


def _is_audiomoth(comment: str, artist: str, fields: dict[str, str]) -> bool:
    return (
        artist.startswith("AudioMoth")
        or _AUDIOMOTH_COMMENT.match(comment) is not None
        or fields.get("Model", "").startswith("AudioMoth")
    )


def _from_guano(fields: dict[str, str], is_audiomoth: bool) -> datetime | None:
    match = _GUANO_TIMESTAMP.fullmatch(fields.get("Timestamp", ""))
    stated = match and _date_and_time(match, match["offset"])
    return _of_audiomoth(stated) if is_audiomoth else stated


def _from_comment(comment: str) -> datetime | None:
    match = _AUDIOMOTH_COMMENT.match(comment)
    return match and _of_audiomoth(_date_and_time(match, match["offset"] or "Z"))


def _named_site(fields: dict[str, str]) -> str | None:
    """Return the site: a field of that name in any namespace (NABat, User, ...), or a Song Meter's prefix.

    ``Note`` is free text, so no site.
    """
    for key, value in fields.items():
        if key.split("|")[-1].lower() in ("site", "site name") and _plain(value):
            return _plain(value)
    return _plain(fields.get("WA|Song Meter|Prefix", ""))


def _coordinates(fields: dict[str, str]) -> str | None:
    """``Loc Position``: WGS84 latitude and longitude (GUANO, "Defined Fields"); 0 0 is a place not set."""
    position = fields.get("Loc Position", "").split()
    try:
        latitude, longitude = (float(degrees) for degrees in position)
    except ValueError:
        return None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180) or latitude == longitude == 0:
        return None
    return _plain(" ".join(position))


def _guano_recorder(fields: dict[str, str]) -> str | None:
    model = fields.get("Model") or fields.get("Make", "")
    return _plain(f"{model} {fields.get('Serial', '')}")


def _audiomoth_recorder(text: str, is_audiomoth: bool) -> str | None:
    match = _AUDIOMOTH_ID.search(text)
    if match is not None and match[1] != NO_SERIAL_NUMBER:
        return f"AudioMoth {match[1]}"
    return "AudioMoth" if is_audiomoth else None


def _from_name(name: str, is_audiomoth: bool) -> RecorderMetadata:
    """Read a file name.

    A time without an offset stays naive: AudioMoths too name files in the zone that they are set to
    (``generateFolderAndFilename`` of their firmware).
    """
    stem, _, suffix = name.rpartition(".")
    if not stem:
        stem, suffix = name, ""
    if _HEXADECIMAL_NAME.fullmatch(stem) and not (stem.isdecimal() and suffix != "WAV"):
        return _from_hexadecimal(stem)
    match = _NAME.match(stem)
    if match is None:
        return RecorderMetadata()
    prefix = match["prefix"]
    site = None if prefix is None else _plain(_SONG_METER_CHANNEL.sub("", prefix).strip("_-. "))
    recorder = None
    bare = match.start("year") == 0 and match["between"] == "_" and not match["dash"] + match["colon"]
    audiomoth = is_audiomoth or bare
    if site is not None and _AUDIOMOTH_PREFIX.fullmatch(site):
        site, recorder, audiomoth = None, f"AudioMoth {site}", True
    elif site is not None and _SONG_METER_SERIAL.fullmatch(site):
        recorder = f"Song Meter {site}"
    # Behind a Song Meter's time three digits are a count; six are microseconds (SMART's user guide).
    fraction = match["fraction"] if audiomoth or len(match["fraction"] or "") == 6 else None
    recorded_at = _date_and_time(match, match["offset"], fraction or "")
    return RecorderMetadata(_of_audiomoth(recorded_at) if audiomoth else recorded_at, site, recorder)


def _from_hexadecimal(stem: str) -> RecorderMetadata:
    """Seconds since 1970, ``%08X``: the names of AudioMoth's first firmware."""
    recorded_at = datetime.fromtimestamp(int(stem, 16), timezone.utc)
    if not FIRST_AUDIOMOTH <= recorded_at <= datetime.now(timezone.utc) + MOST_OFFSET:
        return RecorderMetadata()
    return RecorderMetadata(recorded_at, None, "AudioMoth")


def _of_audiomoth(recorded_at: datetime | None) -> datetime | None:
    """Nothing for 1970, where an AudioMoth's clock starts that was never set."""
    return None if recorded_at is None or recorded_at.year <= 1970 else recorded_at


def _date_and_time(match: re.Match[str], offset: str | None, fraction: str | None = None) -> datetime | None:
    """Date and time of a match's groups, None where there is no such moment."""
    digits = (match["fraction"] if fraction is None else fraction) or ""
    try:
        moment = datetime(
            int(match["year"]),
            int(match["month"]),
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            int(match["second"] or 0),
            int(digits[:6].ljust(6, "0")),
            tzinfo=None if offset is None else _zone(offset),
        )
    except ValueError:
        return None
    return moment if moment.year in YEARS else None


def _zone(offset: str) -> timezone:
    """Return the zone of ``Z``, ``+2``, ``-0300``, ``+1:00``; ValueError for one that Earth does not have."""
    if offset == "Z":
        return timezone.utc
    hours, colon, minutes = offset[1:].partition(":")
    if not colon and len(hours) > 2:
        hours, minutes = hours[:-2], hours[-2:]
    if int(minutes or 0) >= 60:
        raise ValueError(offset)
    difference = timedelta(hours=int(hours), minutes=int(minutes or 0))
    if difference > MOST_OFFSET:
        raise ValueError(offset)
    return timezone(-difference if offset[0] == "-" else difference)
