"""What a calibration changes in answers, tables and the record of a run, and which ones are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from NatureLM.calibration import Calibration
from NatureLM.calibration.file import Fit
from NatureLM.errors import ConfigError
from NatureLM.infer import Pipeline
from NatureLM.infer.fingerprint import model_fingerprint
from NatureLM.infer.journal import difference
from NatureLM.infer.writers import write_tables

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

TIT = Path(__file__).parents[2] / "assets" / "great_tit.ogg"
QUERY = "What are the common names for the species in the audio, if any?"


@pytest.fixture
def calibration(model: NatureLM) -> Calibration:
    pooled = Fit(-1.0, 0.5, 40, 20, 4, 0.1, 0.9)
    return Calibration(model.config.name, model_fingerprint(model), 10.0, 1.0, pooled)


def test_answers_and_tables_have_the_probability(
    model: NatureLM, calibration: Calibration, tmp_path: Path
) -> None:
    pandas = pytest.importorskip("pandas")
    calibration.write(tmp_path / "c.json")
    pipeline = Pipeline(model=model, calibration=tmp_path / "c.json")
    (answer,) = pipeline.answers(TIT, QUERY)
    (found,) = answer.as_row()["detections"]
    assert list(found) == ["common_name", "scientific_name", "score", "probability"]
    assert found["probability"] == round(calibration.pooled.probability(found["score"]), 6)
    table = pipeline.to_dataframe(TIT, QUERY, long=True)
    assert list(table.columns[-2:]) == ["score", "probability"]
    assert table.probability[0] == found["probability"]
    for long in (True, False):
        (path,) = write_tables([answer], output=tmp_path / f"{long}.parquet", long=long)
        row = pandas.read_parquet(path).iloc[0]
        assert (row if long else row.detections[0])["probability"] == found["probability"]
    (raven, combined, kaleidoscope) = write_tables(
        [answer], "raven,raven-combined,kaleidoscope", tmp_path / "annotations"
    )
    (single,) = raven.iterdir()
    for table, column, separator in (
        (single, "Probability", "\t"),
        (combined, "Probability", "\t"),
        (kaleidoscope, "PROBABILITY", ","),
    ):
        head, line = (text.split(separator) for text in table.read_text().splitlines())
        assert (head[-1], float(line[-1])) == (column, found["probability"])


def test_a_conversation_needs_no_calibration_of_its_windows(
    model: NatureLM, calibration: Calibration, tmp_path: Path
) -> None:
    calibration.write(tmp_path / "c.json")
    conversation = Pipeline(model=model, calibration=tmp_path / "c.json").conversation(TIT)
    assert conversation.ask("What species is this?").text == "Great Tit"


def test_without_a_calibration_nothing_is_added(model: NatureLM) -> None:
    (answer,) = Pipeline(model=model).answers(TIT, QUERY)
    (found,) = answer.as_row()["detections"]
    assert list(found) == ["common_name", "scientific_name", "score"]


def test_calibrations_of_other_models_and_windows_are_refused(
    model: NatureLM, calibration: Calibration, tmp_path: Path
) -> None:
    path = tmp_path / "c.json"
    replace(calibration, model_fingerprint="f" * 16).write(path)
    with pytest.raises(ConfigError, match=r"--calibration: is of the model naturelm-lite \(f{16}\), but"):
        Pipeline(model=model, calibration=path)
    calibration.write(path)
    with pytest.raises(ConfigError, match="window length in seconds of 10, but this run has 3"):
        Pipeline(model=model, calibration=path)(TIT, QUERY, window_length_seconds=3.0)
    with pytest.raises(ConfigError, match=r"absent\.json: no such calibration file"):
        Pipeline(model=model, calibration=tmp_path / "absent.json")


def test_runs_with_another_calibration_are_others(calibration: Calibration) -> None:
    other = replace(calibration, pooled=replace(calibration.pooled, slope=0.6))
    before = {"calibration": {"file": "a.json", "fingerprint": calibration.fingerprint}}
    moved = {"calibration": {"file": "b.json", "fingerprint": calibration.fingerprint}}
    changed = {"calibration": {"file": "a.json", "fingerprint": other.fingerprint}}
    assert difference(before, moved) is None
    assert difference(before, changed) is not None and difference({}, before) is not None
