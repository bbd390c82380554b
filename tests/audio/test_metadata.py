"""Headers as recorders write them, byte by byte, and names as they give them."""

from __future__ import annotations

import os
import random
import struct
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from NatureLM.audio import RecorderMetadata, probe, read_metadata, window_time

COMMENT = "Recorded at 19:17:30 21/06/2023 ({zone}) by AudioMoth 24F319055FDF2F55 at medium gain."
SONG_METER = (
    b"GUANO|Version:1.0\nFirmware Version:1.1\nMake:Wildlife Acoustics, Inc.\nModel:Song Meter Mini\n"
    b"Serial:SMA00646\nWA|Song Meter|Prefix:MARSH\nOriginal Filename:MARSH_20201017_130500.wav\n"
    b"Timestamp:2020-10-17 13:05:00+1:00\nLoc Position:54.75656 -1.59106\nSamplerate:24000\n"
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    stated = len(content) if size is None else size
    return name + struct.pack("<I", stated) + content + b"\0" * (len(content) % 2)


def info(**texts: str) -> bytes:
    return chunk(
        b"LIST", b"INFO" + b"".join(chunk(key.encode(), text.encode()) for key, text in texts.items())
    )


FMT = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16))
DATA = chunk(b"data", b"\1\0" * 1600)


def wav(path: Path, *chunks: bytes, kind: bytes = b"RIFF") -> Path:
    content = b"WAVE" + b"".join(chunks)
    size = 0xFFFFFFFF if kind == b"RF64" else len(content)
    path.write_bytes(kind + struct.pack("<I", size) + content)
    return path


@pytest.mark.parametrize("before", [True, False])
def test_guano_before_and_behind_the_sound(tmp_path: Path, before: bool) -> None:
    guano = chunk(b"guan", SONG_METER)
    path = wav(tmp_path / "a.wav", FMT, *([guano, DATA] if before else [DATA, guano]))
    assert probe(path).frames == 1600
    assert read_metadata(path) == RecorderMetadata(
        at("2020-10-17T13:05:00+01:00"), "MARSH", "Song Meter Mini SMA00646"
    )


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("2023-06-21T19:17:30", "2023-06-21T19:17:30"),
        ("2023-06-21T19:17:30Z", "2023-06-21T19:17:30+00:00"),
        ("2023-06-21T19:17:30.123456-03:30", "2023-06-21T19:17:30.123456-03:30"),
        ("2023-06-21 19:17:30+5:45", "2023-06-21T19:17:30+05:45"),
        ("2023-06-21 19:17", "2023-06-21T19:17:00"),
        ("2023-02-29T19:17:30", None),
        ("2023-06-21T25:17:30", None),
        ("2023-06-21T19:17:30+25:00", None),
        ("21.6.2023", None),
        ("", None),
    ],
)
def test_guano_timestamps(tmp_path: Path, timestamp: str, expected: str | None) -> None:
    guano = chunk(b"guan", f"GUANO|Version: 1.0\r\n Timestamp :  {timestamp} \r\n\0\0".encode())
    read = read_metadata(wav(tmp_path / "a.wav", FMT, guano, DATA)).recorded_at
    assert read == (None if expected is None else at(expected))
    if read is not None:
        assert read.utcoffset() == at(expected or "").utcoffset()


@pytest.mark.parametrize(
    ("fields", "site", "recorder"),
    [
        ("NABat|Site Name: Grüner See\nWA|Song Meter|Prefix: SMU06612", "Grüner See", None),
        (
            "Loc Position: 54.75656 -1.59106\nMake: BATLOGGER\nModel: M2\nSerial: 1001",
            "54.75656 -1.59106",
            "M2 1001",
        ),
        ("Loc Position: 0.0 0.0", None, None),
        ("Loc Position: 91 200", None, None),
        ("Loc Position: north of the lake", None, None),
        ("Loc Position: nan nan", None, None),
        ("Note: site of the owl\nMake: Pettersson", None, "Pettersson"),
        ("Original Filename: DATA/MARSH_20230621_191730.wav", "MARSH", None),
        ("User|Site: " + "x" * 500, "x" * 100, None),
    ],
)
def test_sites_and_recorders_in_guano(
    tmp_path: Path, fields: str, site: str | None, recorder: str | None
) -> None:
    path = wav(tmp_path / "a.wav", FMT, DATA, chunk(b"guan", fields.encode()))
    assert (read_metadata(path).site, read_metadata(path).recorder) == (site, recorder)


@pytest.mark.parametrize(
    ("zone", "offset"),
    [
        ("UTC", timedelta()),
        ("UTC+1", timedelta(hours=1)),
        ("UTC-5", timedelta(hours=-5)),
        ("UTC+12", timedelta(hours=12)),
        ("UTC-3:30", timedelta(hours=-3, minutes=-30)),
        ("UTC+5:45", timedelta(hours=5, minutes=45)),
        ("UTC-0:30", timedelta(minutes=-30)),
    ],
)
def test_audiomoth_comments(tmp_path: Path, zone: str, offset: timedelta) -> None:
    header = info(ICMT=COMMENT.format(zone=zone) + "\0" * 200, IART="AudioMoth 24F319055FDF2F55")
    read = read_metadata(wav(tmp_path / "20230621_181730.WAV", FMT, header, DATA))
    assert read.recorded_at == datetime(2023, 6, 21, 19, 17, 30, tzinfo=timezone(offset))
    assert read.recorded_at is not None and read.recorded_at.utcoffset() == offset
    assert (read.site, read.recorder) == (None, "AudioMoth 24F319055FDF2F55")


@pytest.mark.parametrize(
    ("texts", "expected", "recorder"),
    [
        (
            {
                "ICMT": "Recorded at 10:15:00 05/06/2018 by AudioMoth 0FE081F80FE081F0 at gain setting 2 "
                "while battery state was 3.6V"
            },
            "2018-06-05T10:15:00+00:00",
            "AudioMoth",
        ),
        (
            {
                "IART": "AudioMoth 24F319055FDF2F55",
                "ICMT": "Recorded at 10:15:00 05/06/2022 (UTC) during "
                "deployment 0123456789ABCDEF at low gain",
            },
            "2022-06-05T10:15:00+00:00",
            "AudioMoth 24F319055FDF2F55",
        ),
        (
            {"ICMT": "Recorded at 10:15:00.250 05/06/2022 (UTC) by X"},
            "2022-06-05T10:15:00.250000+00:00",
            "AudioMoth",
        ),
        (
            {"ICMT": "Recorded at 00:00:10 01/01/1970 (UTC) by AudioMoth 24F319055FDF2F55"},
            None,
            "AudioMoth 24F319055FDF2F55",
        ),
        (
            {"ICMT": "Recorded at 10:15:00 31/06/2022 (UTC) by AudioMoth 24F319055FDF2F55"},
            None,
            "AudioMoth 24F319055FDF2F55",
        ),
        ({"ICMT": "Recorded at 10:15:00 05/06/20"}, None, None),
        ({"ICMT": "Recorded at 10:15:00 05/06/2022 (UTC"}, None, None),
        ({"ICMT": "Recorded at the lake"}, None, None),
    ],
)
def test_older_and_stranger_comments(
    tmp_path: Path, texts: dict[str, str], expected: str | None, recorder: str | None
) -> None:
    read = read_metadata(wav(tmp_path / "a.wav", FMT, DATA, info(**texts)))
    assert (read.recorded_at and read.recorded_at.isoformat(), read.recorder) == (expected, recorder)


def test_the_header_precedes_the_name_and_the_name_fills_gaps(tmp_path: Path) -> None:
    header = info(ICMT=COMMENT.format(zone="UTC+2"))
    read = read_metadata(wav(tmp_path / "MARSH_20200101_000000.WAV", FMT, header, DATA))
    assert read == RecorderMetadata(at("2023-06-21T19:17:30+02:00"), "MARSH", "AudioMoth 24F319055FDF2F55")

    only_artist = info(IART="AudioMoth 24F319055FDF2F55")
    read = read_metadata(wav(tmp_path / "MARSH_20200101_000000.WAV", FMT, only_artist, DATA))
    assert read.recorded_at == at("2020-01-01T00:00:00")


@pytest.mark.parametrize(("model", "expected"), [("AudioMoth", None), ("SM4", "1970-01-01T00:00:05+00:00")])
def test_guano_of_a_clock_that_was_never_set(tmp_path: Path, model: str, expected: str | None) -> None:
    guano = chunk(b"guan", f"GUANO|Version:1.0\nModel:{model}\nTimestamp:1970-01-01T00:00:05Z\n".encode())
    read = read_metadata(wav(tmp_path / "19700101_000005.WAV", FMT, guano, DATA)).recorded_at
    assert read == (None if expected is None else at(expected))


def test_rf64_and_its_64_bit_size(tmp_path: Path) -> None:
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, 3200, 1600, 0))
    data = chunk(b"data", b"\1\0" * 1600, size=0xFFFFFFFF)
    path = wav(tmp_path / "a.wav", sizes, FMT, data, chunk(b"guan", SONG_METER), kind=b"RF64")
    assert read_metadata(path).site == "MARSH"


def test_odd_chunks_are_padded(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", FMT, chunk(b"JUNK", b"odd"), DATA, chunk(b"guan", SONG_METER[:-1]))
    assert read_metadata(path).recorded_at == at("2020-10-17T13:05:00+01:00")


def test_what_breaks_off_is_not_half_believed(tmp_path: Path) -> None:
    """The file ends amid a line: its time would lack the zone."""
    cut = SONG_METER[: SONG_METER.index(b"+1:00")]
    path = wav(tmp_path / "a.wav", FMT, DATA, chunk(b"guan", cut, size=len(SONG_METER)))
    read = read_metadata(path)
    assert read.recorded_at == at("2020-10-17T13:05:00")  # of the original file name
    assert read.site == "MARSH"


DAMAGED = [
    b"",
    b"RIFF",
    b"RIFF\xff\xff\xff\xffWAVE",
    b"RIFF\0\0\0\0WAVE" + chunk(b"guan", b"", size=0xFFFFFFFF),
    b"RIFF\0\0\0\0WAVE" + FMT + chunk(b"LIST", b"INFOICMT\xff\xff\xff\xffRecorded"),
    b"RIFF\0\0\0\0WAVE" + FMT + chunk(b"LIST", b"INF"),
    b"RF64\xff\xff\xff\xffWAVE" + chunk(b"ds64", b"\xff" * 7) + chunk(b"data", b"", size=0xFFFFFFFF),
    b"RF64\xff\xff\xff\xffWAVE" + chunk(b"ds64", b"\xff" * 28) + chunk(b"data", b"", size=0xFFFFFFFF),
    b"RIFF\0\0\0\0WAVE" + chunk(b"JUNK", b"") * 10_000 + chunk(b"guan", SONG_METER),
    b"RIFF\0\0\0\0WAVE" + FMT + chunk(b"data", b"", size=0) + bytes(range(256)) * 9,
    b"RIFF\0\0\0\0WAVE" + chunk(b"guan", b"\xff\xfe:::\n:\n|\0" * 9),
    b"fLaC" + b"\0" * 99,
    random.Random(0).randbytes(2000),
]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_headers_leave_the_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "MARSH_20230621_191730.wav"
    path.write_bytes(content)
    assert read_metadata(path) == RecorderMetadata(at("2023-06-21T19:17:30"), "MARSH", None)


def test_large_chunks_are_not_read_whole(tmp_path: Path) -> None:
    huge = b"Timestamp: 2023-06-21T19:17:30Z\nNote: " + b"x" * 10_000_000
    path = wav(tmp_path / "a.wav", FMT, DATA, chunk(b"guan", huge), info(IART="AudioMoth 24F319055FDF2F55"))
    read = read_metadata(path)
    assert read == RecorderMetadata(at("2023-06-21T19:17:30+00:00"), None, "AudioMoth 24F319055FDF2F55")


def test_what_is_no_file_leaves_the_name(tmp_path: Path) -> None:
    expected = RecorderMetadata(at("2023-06-21T19:17:30"), "MARSH", None)
    name = "MARSH_20230621_191730.wav"
    assert read_metadata(tmp_path / name) == expected
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / name)
        assert read_metadata(tmp_path / name) == expected
    assert read_metadata(Path(f"nul\0/{name}")) == expected


AUDIOMOTH, MICRO = "AudioMoth 24F31905", "2023-06-21T19:17:30.123456"
UTC_TIME, LOCAL_TIME = "2023-06-21T19:17:30+00:00", "2023-06-21T19:17:30"


@pytest.mark.parametrize(
    ("name", "recorded_at", "site", "recorder"),
    [
        ("20230621_191730.WAV", LOCAL_TIME, None, None),
        ("20230621_191730.flac", LOCAL_TIME, None, None),
        ("20230621_191730T.WAV", LOCAL_TIME, None, None),
        ("20230621_191730_123.WAV", "2023-06-21T19:17:30.123000", None, None),
        ("20230621_191730_123T.WAV", "2023-06-21T19:17:30.123000", None, None),
        ("24F31905_20230621_191730.WAV", LOCAL_TIME, None, AUDIOMOTH),
        ("24F319055FDF2F55_20230621_191730.WAV", LOCAL_TIME, None, "AudioMoth 24F319055FDF2F55"),
        ("5B1A2C3D.WAV", "2018-06-08T07:11:57+00:00", None, "AudioMoth"),
        ("5E123456.WAV", "2020-01-05T19:09:10+00:00", None, "AudioMoth"),
        ("60123456.WAV", "2021-01-28T03:49:42+00:00", None, "AudioMoth"),
        ("60123456.wav", None, None, None),
        ("20230621.WAV", None, None, None),
        ("FFFFFFFF.WAV", None, None, None),
        ("ABCDEF12.wav", None, None, None),
        ("00000001.WAV", None, None, None),
        ("5b1a2c3d.wav", None, None, None),
        ("MARSH_20230621_191730.wav", LOCAL_TIME, "MARSH", None),
        ("S4A01234_20230621_191730.wav", LOCAL_TIME, "S4A01234", "Song Meter S4A01234"),
        ("SMM01234_20230621_191730.wav", LOCAL_TIME, "SMM01234", "Song Meter SMM01234"),
        ("2MA04827_20230621_191730.wav", LOCAL_TIME, "2MA04827", "Song Meter 2MA04827"),
        ("MARSH_0+1_20230621_191730.wav", LOCAL_TIME, "MARSH", None),
        ("MARSH__1__20230621_191730.wav", LOCAL_TIME, "MARSH", None),
        ("PLOT_1_20230621_191730.wav", LOCAL_TIME, "PLOT_1", None),
        ("ARIZONA-1_20230621$191730.wav", LOCAL_TIME, "ARIZONA-1", None),
        ("MARSH_0+1_20230621$191730.wav", LOCAL_TIME, "MARSH", None),
        ("MARSH_0+1_20230621191730.wav", LOCAL_TIME, "MARSH", None),
        ("MARSH_202306211917301.wav", None, None, None),
        ("MARSH_20231321191730.wav", None, "MARSH", None),
        ("MARSH_2023-06-2119:17:30.wav", None, None, None),
        ("MARSH_20230621_191730_000.wav", LOCAL_TIME, "MARSH", None),
        ("MARSH_20230621_191730_123456.wav", MICRO, "MARSH", None),
        ("North Shore 3_20230621_191730_clip.mp3", LOCAL_TIME, "North Shore 3", None),
        ("MARSH_20230621_191730-0300.wav", "2023-06-21T19:17:30-03:00", "MARSH", None),
        ("MARSH_20230621_191730-0930.wav", "2023-06-21T19:17:30-09:30", "MARSH", None),
        ("20230621_191730+0545.wav", "2023-06-21T19:17:30+05:45", None, None),
        ("20230621T191730+0200_REC.flac", "2023-06-21T19:17:30+02:00", None, None),
        ("20230621T191730+0200_REC_-27.3+152.8.wav", "2023-06-21T19:17:30+02:00", None, None),
        (
            "S20230621T191730+0200_E20230621T201730+0200_-27.3+152.8.wav",
            "2023-06-21T19:17:30+02:00",
            None,
            None,
        ),
        ("20230621T191730Z.wav", UTC_TIME, None, None),
        ("20230621T191730.wav", LOCAL_TIME, None, None),
        ("2023-06-21T19:17:30+02:00.wav", "2023-06-21T19:17:30+02:00", None, None),
        ("MARSH_2023-06-21T19:17:30+02:00.wav", "2023-06-21T19:17:30+02:00", "MARSH", None),
        ("2023-06-21 19-17-30.wav", LOCAL_TIME, None, None),
        ("MARSH_20230101_20230621_191730.wav", LOCAL_TIME, "MARSH_20230101", None),
        ("MARSH_20231321_191730.wav", None, "MARSH", None),
        ("MARSH_20230229_191730.wav", None, "MARSH", None),
        ("MARSH_20230621_241730.wav", None, "MARSH", None),
        ("MARSH_20230621_191730+2500.wav", LOCAL_TIME, "MARSH", None),
        ("MARSH_20230621_191730-0260.wav", LOCAL_TIME, "MARSH", None),
        ("MARSH_20230621_191730-0001.wav", LOCAL_TIME, "MARSH", None),
        ("MARSH_20230621_191730-0010.wav", LOCAL_TIME, "MARSH", None),
        ("MARSH_20230621_191730-2000.wav", LOCAL_TIME, "MARSH", None),
        ("18000621_191730.wav", None, None, None),
        ("19700101_000010.WAV", None, None, None),
        ("MARSH_20230621.wav", None, None, None),
        ("MARSH_20230621_1917301.wav", None, None, None),
        ("MARSH_20230621_191730b.wav", None, None, None),
        ("XC564654.mp3", None, None, None),
        ("12345678901234567890.wav", None, None, None),
        ("٢٠٢٣٠٦٢١_191730.wav", None, None, None),
        ("lazuli_bunting.mp3", None, None, None),
        (".wav", None, None, None),
    ],
)
def test_names(
    tmp_path: Path, name: str, recorded_at: str | None, site: str | None, recorder: str | None
) -> None:
    read = read_metadata(tmp_path / "a folder" / name)
    assert (read.recorded_at and read.recorded_at.isoformat(), read.site, read.recorder) == (
        recorded_at,
        site,
        recorder,
    )


def test_names_that_are_no_text_give_printable_sites(tmp_path: Path) -> None:
    name = os.fsdecode(b"MAR\xffSH\n1_20230621_191730.wav")
    assert read_metadata(tmp_path / name).site == "MAR SH 1"


@pytest.mark.parametrize(
    ("start", "seconds", "expected"),
    [
        ("2023-06-21T23:59:55+00:00", 0.0, "2023-06-21T23:59:55+00:00"),
        ("2023-06-21T23:59:55+00:00", 10.0, "2023-06-22T00:00:05+00:00"),
        ("2023-06-21T23:59:55-03:30", 2.5, "2023-06-21T23:59:57.500-03:30"),
        ("2024-02-28T23:59:55", 3600.0, "2024-02-29T00:59:55"),
        ("2023-06-21T19:17:30.123000+00:00", 10.0, "2023-06-21T19:17:40.123+00:00"),
        ("2023-06-21T19:17:30", 0.1 + 0.2, "2023-06-21T19:17:30.300"),
        ("2023-06-21T19:17:30", 9.9999999, "2023-06-21T19:17:40"),
    ],
)
def test_window_time(start: str, seconds: float, expected: str) -> None:
    assert window_time(at(start), seconds) == expected
