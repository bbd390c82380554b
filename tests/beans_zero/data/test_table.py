"""Audio files beside a table, and paths that hold nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from NatureLM.beans_zero.data import open_source
from NatureLM.errors import ConfigError, DataError, RecordingError

ROW = {"dataset_name": "cbi", "output": "Great Tit", "instruction": "Which?", "id": "a", "audio": "a.wav"}


def write(folder: Path, ending: str, *rows: dict[str, Any]) -> None:
    with (folder / f"rows.{ending}").open("w", newline="") as file:
        if ending == "csv":
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_rows_and_their_files(ending: str, tmp_path: Path) -> None:
    samples = np.sin(np.arange(16_000) / 9).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    write(tmp_path, ending, ROW, {**ROW, "id": "b", "audio": ""}, {**ROW, "id": "c", "audio": "none.wav"})
    data = open_source(str(tmp_path))
    fields = list(data.fields(()))
    assert [each.values["id"] for each in fields] == ["a", "b", "c"]
    assert fields[0].stamp[0] == (tmp_path / "a.wav").stat().st_size
    sounds = data.sounds([0, 1, 2])
    heard, rate = sounds.read(0, 0.5, None)
    assert rate == 16_000
    np.testing.assert_array_equal(heard, samples[:8000])
    with pytest.raises(RecordingError, match="it names no audio file"):
        sounds.read(1, 1.0, None)
    with pytest.raises(RecordingError, match=r"none\.wav does not exist"):
        sounds.read(2, 1.0, None)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ('{"a": ', DataError, r"rows\.jsonl, line 1: is not JSON"),
        ("[" * 100_000, DataError, r"rows\.jsonl, line 1: is not JSON \(it is nested too deeply\)"),
        (
            '{"id": ' + "1" * 5_000 + "}",
            DataError,
            r"line 1: is not JSON \(a number in it has too many digits",
        ),
        ("[1]", DataError, r"rows\.jsonl, line 1: each line must be one JSON object"),
        ('{"dataset_name": "cbi"}', ConfigError, "has no column 'output'"),
        (
            '{"dataset_name": "cbi", "output": "x", "instruction": "y"}',
            ConfigError,
            r"rows\.jsonl has no column 'audio', so it is no copy of BEANS-Zero",
        ),
    ],
)
def test_a_table_that_is_none_says_so(
    content: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text(content + "\n")
    with pytest.raises(error, match=message):
        list(open_source(str(tmp_path / "rows.jsonl")).fields(()))


@pytest.mark.parametrize(
    ("line", "count"), [("watkins,a.wav,Which?,Fin, Finback Whale", 5), ("watkins,a.wav,Which?", 3)]
)
def test_rows_of_other_lengths_than_the_header_are_refused(line: str, count: int, tmp_path: Path) -> None:
    lines = ["dataset_name,audio,instruction,output", "watkins,a.wav,Which?,Fin", "", line]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    rows = open_source(str(tmp_path)).fields(())
    assert next(iter(rows)).values["output"] == "Fin"
    with pytest.raises(
        DataError,
        match=rf"rows\.csv, line 4: has {count} fields, its header 4; quote fields",
    ):
        list(rows)


def test_what_a_run_leaves_in_the_folder_is_no_table(tmp_path: Path) -> None:
    write(tmp_path, "csv", ROW)
    for name in ("out.jsonl", "out_metrics.jsonl", "out.jsonl.run.json", "out.jsonl.failures.jsonl"):
        (tmp_path / name).write_text("{}\n")
    assert open_source(str(tmp_path)).name == str(tmp_path / "rows.csv")
    (tmp_path / "out.jsonl.run.json").unlink()
    with pytest.raises(ConfigError, match=r"several tables \(out\.jsonl, rows\.csv\)"):
        open_source(str(tmp_path))
    (tmp_path / "out.jsonl.journal").touch()
    assert open_source(str(tmp_path)).name == str(tmp_path / "rows.csv")
    (tmp_path / "out.jsonl").unlink()
    (tmp_path / "out.jsonl.partial").touch()
    assert open_source(str(tmp_path)).name == str(tmp_path / "rows.csv")


def test_a_table_of_the_name_of_a_runs_output_is_read(tmp_path: Path) -> None:
    write(tmp_path, "csv", ROW)
    for name in ("rows.jsonl", "rows.jsonl.run.json", "rows_metrics.jsonl"):
        (tmp_path / name).write_text("{}\n")
    assert open_source(str(tmp_path)).name == str(tmp_path / "rows.csv")
    for name in ("rows.jsonl", "rows.jsonl.run.json"):
        (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match=r"several tables \(rows\.csv, rows_metrics\.jsonl\)"):
        open_source(str(tmp_path))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["test"]}')
    with pytest.raises(ConfigError, match=r"--data-path .*/test cannot be read \(No such file or dir"):
        open_source(str(tmp_path))
    (tmp_path / "dataset_dict.json").unlink()
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra eval)")
    (tmp_path / "a.parquet").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"a\.parquet cannot be read \(No such file or directory\)"):
        open_source(str(tmp_path))


def test_paths_without_data_are_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no/such/folder: does not exist; expected a hub id, a folder"):
        open_source("no/such/folder")
    with pytest.raises(ConfigError, match="holds no data; expected a folder that save_to_disk wrote"):
        open_source(str(tmp_path))
    (tmp_path / "a.csv").touch()
    (tmp_path / "b.csv").touch()
    with pytest.raises(ConfigError, match=r"holds several tables \(a\.csv, b\.csv\); name the one to read"):
        open_source(str(tmp_path))
    (tmp_path / "dataset_dict.json").write_text("[" * 100_000)
    with pytest.raises(ConfigError, match=r"dataset_dict\.json: cannot be read \(it is nested too deeply\)"):
        open_source(str(tmp_path))
    (tmp_path / "a.txt").touch()
    with pytest.raises(ConfigError, match="is no data that can be read"):
        open_source(str(tmp_path / "a.txt"))


def test_a_row_that_names_no_file_fails_alone(tmp_path: Path) -> None:
    row = {"dataset_name": "cbi", "output": "x", "instruction": "y"}
    rows = [{**row, "file_name": "none.wav"}, row]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    data = open_source(str(tmp_path))
    assert [each.place for each in data.fields(())] == [0, 1]
    with pytest.raises(RecordingError, match="it names no audio file; write one"):
        data.sounds([1]).read(1, 1.0, None)
