"""The example recordings: what they are, that the generator makes them, what the encoder hears in them."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from NatureLM.audio import find_recordings, probe, recording_windows
from NatureLM.errors import ModelUnavailableError
from NatureLM.models.species import SpeciesTable

ASSETS = Path(__file__).resolve().parents[1] / "assets"
FLOOR = 0.25  # AnswerSettings.min_evidence
MOST_BYTES = 1_500_000

WINDOWS = {
    "great_tit.ogg": [{"Great Tit"}],
    "common_cuckoo.ogg": [{"Common Cuckoo"}],
    "boreal_owl.flac": [{"Boreal Owl"}],
    "saw_whet_owl.WAV": [{"Northern Saw-whet Owl"}],
    "eastern_wood_pewee.ogg": [{"Eastern Wood-Pewee"}],
    "spring_peeper.ogg": [{"Spring Peeper"}],
    "snowy_tree_cricket.ogg": [{"Snowy Tree Cricket"}],
    "great_tit_and_common_cuckoo.ogg": [{"Great Tit", "Common Cuckoo"}],
    "pewee_and_cricket.ogg": [{"Eastern Wood-Pewee", "Snowy Tree Cricket"}],
    "rain.ogg": [set()],
    "dawn_25s.ogg": [{"Northern Saw-whet Owl"}, set(), {"Eastern Wood-Pewee"}],
}
"""The animals of each 10 s window."""


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("make_assets", ASSETS / "make_assets.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_assets"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["make_assets"]


@pytest.fixture(scope="module")
def hear():
    """Function from a waveform at 48 kHz to {common name: score} of all classes, strongest first."""
    pytest.importorskip("torch")
    from NatureLM.models.encoders.birdnet_windows import BirdNetWindowEncoder

    encoder = BirdNetWindowEncoder(48_000)
    try:
        encoder.load_frozen()
    except ModelUnavailableError as error:
        pytest.skip(str(error))
    names = [species.common_name for species in SpeciesTable.load()]

    def scores(waveform: np.ndarray) -> dict[str, float]:
        peak = encoder.encode([waveform.astype(np.float32)])[0].max(dim=0).values.sigmoid().tolist()
        return dict(sorted(zip(names, peak, strict=True), key=lambda pair: -pair[1]))

    return scores


@pytest.fixture(scope="module")
def heard(hear):
    """{file name: scores of each 10 s window}."""
    return {
        name: [hear(wave) for _, _, wave in recording_windows(ASSETS / name, 48_000, 10, 10)]
        for name in WINDOWS
    }


def test_files_and_total_size():
    recordings = find_recordings([ASSETS])
    assert {path.name for path in recordings} == set(WINDOWS)
    assert {path.suffix for path in recordings} == {".ogg", ".flac", ".WAV"}
    assert sum(path.stat().st_size for path in recordings) <= MOST_BYTES


@pytest.mark.parametrize("name", WINDOWS)
def test_length_and_level(name):
    info = probe(ASSETS / name)
    assert info.duration_seconds == (25 if name == "dawn_25s.ogg" else 10)
    assert info.channels == 1
    samples, _ = soundfile.read(ASSETS / name)
    assert 0.35 < np.abs(samples).max() < 0.65


def test_sample_rates():
    rates = {name: probe(ASSETS / name).sample_rate for name in WINDOWS}
    others = {"boreal_owl.flac": 16_000, "saw_whet_owl.WAV": 12_000, "dawn_25s.ogg": 24_000}
    assert rates == {name: others.get(name, 48_000) for name in WINDOWS}


def test_generator_knows_exactly_these_files(generator):
    assert {recording.name for recording in generator.RECORDINGS} == set(WINDOWS)


@pytest.mark.parametrize("name", WINDOWS)
def test_generator_makes_the_file_again(generator, tmp_path, name):
    recording = next(recording for recording in generator.RECORDINGS if recording.name == name)
    wave = generator.perform(recording)
    np.testing.assert_array_equal(wave, generator.perform(recording))
    generator.write(tmp_path / name, wave, recording.sample_rate)
    made, _ = soundfile.read(tmp_path / name)
    kept, _ = soundfile.read(ASSETS / name)
    assert made.shape == kept.shape
    # Another processor may round the last bit of a sine differently; Vorbis then may decide differently.
    if name.endswith(".ogg"):
        assert np.linalg.norm(made - kept) < 0.02 * np.linalg.norm(kept)
    else:
        assert np.abs(made - kept).max() <= 1.01 / 2**15


def test_generator_writes_all_files(generator, tmp_path, capsys):
    generator.main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(WINDOWS)
    assert len(capsys.readouterr().out.splitlines()) == len(WINDOWS)


def named(scores: dict[str, float]) -> set[str]:
    return {name for name, score in scores.items() if score >= FLOOR}


@pytest.mark.parametrize("name", WINDOWS)
def test_encoder_names_what_each_window_holds(heard, name):
    assert [named(scores) for scores in heard[name]] == WINDOWS[name]
    for scores, animals in zip(heard[name], WINDOWS[name], strict=True):
        assert list(scores)[: len(animals)] == sorted(animals, key=lambda animal: -scores[animal])
        assert all(scores[animal] >= 0.6 for animal in animals)
        if not animals:
            assert max(scores.values()) < 0.1


@pytest.mark.parametrize("name", ["great_tit_and_common_cuckoo.ogg", "saw_whet_owl.WAV", "rain.ogg"])
@pytest.mark.parametrize("gain", [0.8, 1.2])
def test_level_and_24_bits_do_not_matter(hear, tmp_path, name, gain):
    samples, rate = soundfile.read(ASSETS / name)
    soundfile.write(tmp_path / "a.wav", gain * samples, rate, subtype="PCM_24")
    windows = recording_windows(tmp_path / "a.wav", 48_000, 10, 10)
    assert [named(hear(wave)) for _, _, wave in windows] == WINDOWS[name]


def test_readme_states_the_scores(heard):
    rows = re.findall(
        r"^\| (\S+), (\d+) s \| (.*) \| (.*) \|$", (ASSETS / "README.md").read_text("utf-8"), re.M
    )
    stated = {(name, int(start)): (f"{names}, {other}") for name, start, names, other in rows}
    assert set(stated) == {
        (name, 10 * index) for name, windows in WINDOWS.items() for index in range(len(windows))
    }
    for (name, start), text in stated.items():
        pairs = re.findall(r"([^,]+) (\d\.\d+)", text)
        assert len(pairs) == len(WINDOWS[name][start // 10]) + 1
        for species, score in pairs:
            assert heard[name][start // 10][species.strip()] == pytest.approx(float(score), abs=0.02)
