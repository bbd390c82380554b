"""The miniature of BEANS-Zero from end to end, with the bundled model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from NatureLM.beans_zero.run import Request, Run, run_benchmark
from NatureLM.config import CandidatesConfig
from NatureLM.errors import ConfigError
from NatureLM.infer.candidates import candidate_source, read_candidates
from NatureLM.infer.engine import Event, Finished

pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra eval)")

PREDICTIONS = [
    "Great Tit",
    "Common Cuckoo",
    "Boreal Owl",
    "Eastern Wood-Pewee",
    "Common Cuckoo, Great Tit",
    "Northern Saw-whet Owl",
    "None",
    "I cannot tell from this model.",
    "I cannot tell from this model.",
    "Spring Peeper",
    "A recording of Snowy Tree Cricket and Eastern Wood-Pewee.",
    "A recording of Common Cuckoo.",
]
"""What the bundled model answers to the rows of the miniature."""


class Told:
    """Remembers what a run says, and may stop it."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.said: list[str] = []
        self.planned_rows: list[str] = []
        self.finished = 0
        self._stop_after = stop_after

    def say(self, message: str) -> None:
        self.said.append(message)

    def planned(self, paths: Sequence[Path]) -> None:
        self.planned_rows = [str(path) for path in paths]

    def happened(self, index: int, event: Event) -> None:
        self.finished += isinstance(event, Finished)
        if self.finished == self._stop_after:
            raise KeyboardInterrupt


@pytest.fixture
def run(bundled_engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Run the benchmark on data, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(data: Path | str, observer: Told | None = None, **asked: Any) -> Run:
        output = Path(asked.pop("output", "out.jsonl"))
        request = Request(data_path=str(data), output=output, resamples=0, **asked)
        return run_benchmark(request, observer or Told(), bundled_engine)

    return run


def predictions(path: str = "out.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def expected(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the predictions of an undisturbed run."""
    return [
        {
            "prediction": prediction,
            "label": row["output"],
            "id": row["id"],
            "dataset_name": row["dataset_name"],
        }
        for prediction, row in zip(PREDICTIONS, rows, strict=True)
    ]


def write_table(rows: Sequence[dict[str, Any]], folder: Path) -> Path:
    """Write rows as audio files with a table."""
    folder.mkdir()
    with (folder / "rows.jsonl").open("w") as table:
        for row in rows:
            rate = json.loads(row["metadata"])["sample_rate"]
            soundfile.write(folder / f"{row['id']}.wav", row["audio"], rate, subtype="FLOAT")
            text = {name: value for name, value in row.items() if name not in ("audio", "file_name")}
            table.write(json.dumps({**text, "audio": f"{row['id']}.wav"}) + "\n")
    return folder


def test_predictions_and_metrics(
    run: Callable[..., Run], mini_parquet: Path, mini_rows: list[dict[str, Any]]
) -> None:
    done = run(mini_parquet)
    assert predictions() == expected(mini_rows)
    metrics = json.loads(Path("out_metrics.json").read_text())
    assert metrics["watkins"] == {
        "Accuracy": 1.0,
        "Precision": 1.0,
        "Recall": 1.0,
        "F1 Score": 1.0,
        "Top-1 Accuracy": 1.0,
        "rows": 1,
    }
    # The pewee is labelled Great Tit; Eastern Wood-Pewee is nearest to Common Cuckoo among the labels there.
    assert metrics["cbi"]["Accuracy"] == pytest.approx(0.75)
    assert metrics["cbi"]["F1 Score"] == pytest.approx((2 * 2 / 3 + 2 / 3 + 1) / 4)
    # As published: only whole true labels are known, so two species in one answer become None.
    assert metrics["enabirds"]["F1"] == pytest.approx(1 / 3)
    assert metrics["gibbons"]["F1"] == 0.0
    assert metrics["captioning"]["CIDEr"] == pytest.approx(1.2777, abs=1e-4)
    assert metrics["captioning"]["skipped"].keys() == {"SPICE", "SPIDEr"}
    assert metrics["about"]["model"] == "naturelm-lite"
    assert metrics["about"]["failed_rows"] == {}
    lines = [json.loads(line) for line in Path("out_metrics.jsonl").read_text().splitlines()]
    assert [line["component"] for line in lines] == ["watkins", "cbi", "enabirds", "gibbons", "captioning"]
    assert (done.rows, done.reused, done.failures_path) == (12, 0, None)
    assert json.loads(Path("out.jsonl.run.json").read_text())["data_path"] == str(mini_parquet)


@pytest.mark.parametrize("form", ["saved", "table"])
def test_every_form_of_the_data_gives_the_same_predictions(
    form: str,
    run: Callable[..., Run],
    mini_table: Any,
    mini_rows: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    if form == "saved":
        datasets = pytest.importorskip("datasets", reason="datasets is not installed (extra eval)")
        datasets.Dataset(datasets.table.InMemoryTable(mini_table)).save_to_disk(tmp_path / "data")
    else:
        write_table(mini_rows, tmp_path / "data")
    run("data")
    assert [row["prediction"] for row in predictions()] == PREDICTIONS


def test_components_and_limit(run: Callable[..., Run], mini_parquet: Path) -> None:
    done = run(mini_parquet, components=["cbi", "enabirds"], limit=1)
    assert [(row["id"], row["prediction"]) for row in predictions()] == [
        ("cbi-0", "Great Tit"),
        ("enabirds-4", "Common Cuckoo, Great Tit"),
    ]
    assert list(done.results.scores) == ["cbi", "enabirds"]
    told = Told()
    assert run(mini_parquet, told, components=["cbi", "enabirds"], limit=2).reused == 2
    assert told.planned_rows == ["cbi/cbi-1", "enabirds/enabirds-5"]
    assert [row["prediction"] for row in predictions()] == [PREDICTIONS[place] for place in (0, 1, 4, 5)]


def test_candidates_belong_to_a_run(
    run: Callable[..., Run], mini_parquet: Path, bundled_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CandidatesConfig(names=["Boreal Owl", "Great Tit"])
    candidates = candidate_source(config, read_candidates(config), bundled_engine.model)
    with monkeypatch.context() as restricted:
        restricted.setattr(bundled_engine, "candidates", candidates)
        run(mini_parquet, components=["cbi"], limit=1)
    assert predictions()[0]["prediction"] == "Great Tit"
    assert json.loads(Path("out.jsonl.run.json").read_text())["candidates"]["names"] == config.names
    with pytest.raises(ConfigError, match=r"--output-path out\.jsonl: .*candidates"):
        run(mini_parquet, components=["cbi"], limit=1)


def test_a_stopped_run_goes_on_and_ends_with_the_same_file(
    run: Callable[..., Run], mini_parquet: Path, bundled_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundled_engine, "batch_size", 3)
    run(mini_parquet, output="whole.jsonl")
    with pytest.raises(KeyboardInterrupt):
        run(mini_parquet, Told(stop_after=4))
    assert not Path("out.jsonl").exists()
    assert not Path("out_metrics.json").exists()
    assert len(predictions("out.jsonl.partial")) == 6
    told = Told()
    done = run(mini_parquet, told)
    assert "Going on with an earlier run: 5 of 12 recordings and 6 windows are done." in told.said
    assert (done.reused, len(told.planned_rows)) == (5, 7)  # of the sixth, only the end is not known
    assert Path("out.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    here, whole = (Path(name).read_text() for name in ("out_metrics.jsonl", "whole_metrics.jsonl"))
    assert here == whole


def test_broken_rows_are_failures_with_their_reasons_and_the_others_are_answered(
    run: Callable[..., Run], tmp_path: Path
) -> None:
    rate = 16_000
    folder = tmp_path / "data"
    folder.mkdir()
    soundfile.write(folder / "quiet.wav", np.zeros(rate, np.float32), rate)
    (folder / "cut.wav").write_bytes(b"RIFF")
    (folder / "short.wav").write_bytes((folder / "quiet.wav").read_bytes()[: 44 + rate])
    rows = [
        ("cbi", "quiet.wav", "Which species?", "None"),
        ("cbi", "cut.wav", "Which species?", "Great Tit"),
        ("cbi", "quiet.wav", "", "Great Tit"),
        ("cbi", "quiet.wav", "<AudioHere> or <AudioHere>?", "Great Tit"),
        ("esc50", "gone.wav", "Which species?", "rain"),
        ("esc50", "short.wav", "Which species?", "rain"),
        ("mine", "quiet.wav", "Which species?", "rain"),
    ]
    with (folder / "rows.csv").open("w") as table:
        table.write("dataset_name,audio,instruction,output\n")
        table.writelines(",".join(row) + "\n" for row in rows)
    done = run("data")
    assert [(row["id"], row["prediction"]) for row in predictions()] == [("0", "None")]
    assert done.failed == {"cbi": 3, "esc50": 2}
    assert done.failures_path is not None
    reasons = {row["audio_path"]: row["reason"] for row in predictions(str(done.failures_path))}
    assert "cut.wav is not audio that can be read" in reasons["cbi/1"]
    assert reasons["cbi/2"] == "cbi/2 (row 2): it has no instruction, so there is nothing to ask."
    assert "it cannot be asked: The query holds 2 <AudioHere>" in reasons["cbi/3"]
    assert "gone.wav does not exist" in reasons["esc50/4"]
    assert reasons["esc50/5"].endswith("to have the rest.")  # a row is heard whole, or not at all
    scores = done.results.scores
    assert scores["cbi"].metrics["Accuracy"] == 1.0
    assert scores["esc50"].problem == "none of its rows could be answered; 2 failed."
    assert scores["mine"].problem == (
        "'mine' is not a component of BEANS-Zero; the nearest is 'hiceas' (beans info lists all). "
        "Rows passed over: 1."
    )


@pytest.mark.parametrize("wrong", [None, 1e300], ids=str)
def test_a_row_with_a_sample_that_is_no_number_fails_and_is_not_scored(
    wrong: float | None, run: Callable[..., Run], mini_rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    samples = mini_rows[0]["audio"].tolist()
    samples[5 * 48_000] = wrong  # what comes before it would be enough for an answer
    rows = [{**mini_rows[0], "audio": samples}, {**mini_rows[1], "audio": mini_rows[1]["audio"].tolist()}]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    done = run(tmp_path / "a.parquet")
    assert [(row["id"], row["prediction"]) for row in predictions()] == [("cbi-1", "Common Cuckoo")]
    assert done.failed == {"cbi": 1}
    assert done.results.scores["cbi"].rows == 1
    assert [row["reason"] for row in predictions(str(done.failures_path))] == [
        "cbi/cbi-0 (row 0): its sample 240000 is no finite number; leave the row out, or replace the file "
        "that holds it."
    ]


def test_the_sound_is_cut_and_padded_to_the_components_length(
    run: Callable[..., Run], bundled_engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []
    encode = bundled_engine.model.encode_audio

    def noting(waveforms: Sequence[Any], *, whole: bool) -> Any:
        assert whole, "the published model would pad them to 10 s"
        heard.extend(waveforms)
        return encode(waveforms, whole=whole)

    monkeypatch.setattr(bundled_engine.model, "encode_audio", noting)
    folder = tmp_path / "data"
    folder.mkdir()
    for name, seconds in (("long", 12), ("short", 1)):
        soundfile.write(folder / f"{name}.wav", np.full((seconds * 8000, 2), 0.5, np.float32), 8000)
    with (folder / "rows.csv").open("w") as table:
        table.write("dataset_name,audio,instruction,output\n")
        for component in ("watkins", "esc50", "gibbons"):
            table.writelines(f"{component},{name}.wav,Which species?,x\n" for name in ("long", "short"))
    run("data")
    rate = bundled_engine.model.config.sample_rate
    assert [len(waveform) / rate for waveform in heard] == [3, 3, 5, 5, 10, 10]
    assert abs(heard[1][: rate // 2].mean() - 0.5) < 0.01  # both channels, mixed
    assert not heard[1][2 * rate :].any()  # zeros behind the second that there is


def test_other_names_than_jsonl_are_bad_usage(run: Callable[..., Run], mini_parquet: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"out\.csv: predictions are JSON lines; let the name end in \.jsonl"
    ):
        run(mini_parquet, output="out.csv")


@pytest.mark.slow
def test_a_killed_run_goes_on(
    mini_parquet: Path, mini_rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "NatureLM.cli.beans", "--data-path", str(mini_parquet)]
    command += ["--batch-size", "2", "--output-path", "out.jsonl"]
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "user"), "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen(command, env=environment)
    journal = tmp_path / "out.jsonl.journal"
    while not journal.exists() or len(journal.read_bytes().splitlines()) < 3:
        assert killed.poll() is None, "it ended before it was killed"
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "out.jsonl").exists()
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "Going on with an earlier run: " in again.stderr
    assert predictions() == expected(mini_rows)
