import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from NatureLM.app.player import Span, clock, joined, player_html, shade, write_playable
from NatureLM.app.spectrogram import picture, spectrogram, ticks
from NatureLM.audio import probe
from NatureLM.errors import RecordingError


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """Ten seconds at 48 kHz that are silent but for a tone of full scale at 6 kHz, from 4 to 5 s."""
    time = np.arange(480_000) / 48_000
    samples = np.sin(2 * np.pi * 6000 * time) * ((time >= 4) & (time < 5))
    soundfile.write(tmp_path / "tone.wav", samples.astype(np.float32), 48_000, subtype="FLOAT")
    return tmp_path / "tone.wav"


def test_a_tone_lies_where_it_sounds(tone: Path) -> None:
    seen = spectrogram(tone)
    assert (seen.start_seconds, seen.end_seconds, seen.highest_hz) == (0.0, 10.0, 24_000.0)
    row, column = np.unravel_index(seen.levels_db.argmax(), seen.levels_db.shape)
    rows, columns = seen.levels_db.shape
    assert row / (rows - 1) * 24_000 == pytest.approx(6000, abs=50)
    assert 4.0 <= (column + 0.5) / columns * 10 <= 5.0
    assert seen.levels_db.max() == pytest.approx(0.0, abs=0.1)  # dB below a sine of full scale
    assert seen.levels_db[row, : int(0.38 * columns)].max() < -100
    assert seen.levels_db[row, int(0.52 * columns) :].max() < -100


def test_a_part_is_that_part(tone: Path) -> None:
    seen = spectrogram(tone, 4.5, 6.5)
    columns = seen.levels_db.shape[1]
    loud = seen.levels_db.max(axis=0) > -20
    assert loud[: int(0.2 * columns)].all()
    assert not loud[int(0.3 * columns) :].any()
    assert (seen.start_seconds, seen.end_seconds) == (4.5, 6.5)


def test_a_long_recording_keeps_every_short_call(tmp_path: Path) -> None:
    samples = np.zeros(600 * 8000, dtype=np.float32)
    samples[300 * 8000 : 301 * 8000] = np.sin(np.arange(8000))
    soundfile.write(tmp_path / "long.wav", samples, 8000)
    seen = spectrogram(tmp_path / "long.wav", columns=300)
    assert seen.levels_db.shape == (257, 300)
    assert seen.levels_db.max(axis=0).argmax() in (149, 150, 151)
    assert seen.highest_hz == 4000.0


def test_the_picture_has_low_frequencies_below_and_bright_sound(tone: Path) -> None:
    image = pytest.importorskip("PIL.Image").open(io.BytesIO(picture(spectrogram(tone))))
    assert image.format == "PNG"
    colours = np.asarray(image.convert("RGB")).astype(int)
    height, width, _ = colours.shape
    row = round((1 - 6000 / 24000) * (height - 1))
    assert tuple(colours[row, int(0.45 * width)]) == (0xFD, 0xE7, 0x25)  # viridis' brightest
    assert tuple(colours[row, int(0.2 * width)]) == (0x44, 0x01, 0x54)  # and its darkest


def test_shortest_and_damaged_recordings(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.ones(10, dtype=np.float32), 16000)
    assert spectrogram(tmp_path / "short.wav").levels_db.shape == (257, 1)
    (tmp_path / "not.wav").write_bytes(b"no sound at all")
    with pytest.raises(RecordingError, match=r"not\.wav"):
        spectrogram(tmp_path / "not.wav")


def test_ticks_are_round_and_few() -> None:
    assert ticks(0.0, 10.0, 6) == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    assert ticks(3.0, 4.0, 6) == [3.0, 3.2, 3.4, 3.6, 3.8, 4.0]
    assert ticks(0.0, 10_800.0, 8) == [0.0, 1800.0, 3600.0, 5400.0, 7200.0, 9000.0, 10800.0]
    assert [clock(1800.0), clock(5.0, whole=True)] == ["30:00", "0:05"]


def test_the_player_says_and_shows_where_answers_lie(tone: Path, tmp_path: Path) -> None:
    played = write_playable(tone, tmp_path)
    assert (probe(played).sample_rate, probe(played).duration_seconds) == (44_100, 10.0)
    spans = [Span(2.5, 5.0, "Great <Tit>", 0.5), Span(20.0, 30.0, "outside")]
    html = player_html(spectrogram(tone), "a&b.wav", played, spans, asked="Which <species>?")
    told = 'title="Great &lt;Tit&gt;: 2.5 s to 5 s, confidence 0.50"'
    assert f'<div class="player-span" style="left:25.00%;width:25.00%;" {told}>' in html
    assert f'<i style="left:25.00%;width:25.00%;opacity:0.25" {told}></i>' in html
    assert "the answers to “Which &lt;species&gt;?”" in html
    assert "outside" not in html
    assert 'aria-label="Playback of a&amp;b.wav"' in html
    assert html.count('style="left:') == len(ticks(0, 10)) + 2


def test_neighbours_of_one_answer_are_named_once() -> None:
    told = [
        (0.0, 10.0, "Wren", 0.4),
        (10.0, 20.0, "Wren", 0.9),
        (20.0, 25.0, "None", None),
        (40.0, 50.0, "Wren", 0.3),
    ]
    spans = [Span(start, end, label, 0.98, evidence) for start, end, label, evidence in told]
    assert joined(spans) == [Span(0.0, 20.0, "Wren", 0.98, 0.9), *spans[2:]]


def test_shades_tell_apart_what_models_say() -> None:
    assert shade(0.999) - shade(0.98) > 0.3  # where most of their confidence lies
    assert (shade(0.2), shade(None)) == (0.25, 0.25)
    assert shade(1.0) == pytest.approx(1.0)
    assert shade(1.0, evidence=0.0) == 0.25  # evidence goes before confidence


def test_long_recordings_are_played_as_mp3(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.flac", np.zeros((96_000 * 70, 2), dtype=np.int16), 96_000)
    played = write_playable(tmp_path / "long.flac", tmp_path)
    assert played.suffix == ".mp3"
    assert probe(played).channels == 1
    assert probe(played).duration_seconds == pytest.approx(70, abs=0.2)
    # What is not shown is not played.
    shorter = write_playable(tmp_path / "long.flac", tmp_path, 2.5)
    assert probe(shorter).duration_seconds == pytest.approx(2.5, abs=0.1)
