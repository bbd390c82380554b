from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from NatureLM.infer.answers import Answer
from NatureLM.infer.writers import write_tables

MakeAnswer = Callable[..., Answer]
NOT_UTF8 = b"caf\xe9\n.wav".decode("utf-8", "surrogateescape")


def test_csv_to_the_letter(rows: list[Answer], tmp_path: Path) -> None:
    write_tables(rows[2:], output=tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes().decode("utf-8") == (
        "audio_path,channel,start_seconds,end_seconds,query,output,confidence,mean_logprob,model,recorded_at,"
        "site,silent,withheld,detections,scores\n"
        'card1/a.wav,mix,20.0,25.0,"What are the common names for the species in the audio, if any?",None,'
        "0.998131,-0.00187,naturelm-lite,,,false,,[],\n"
        'card2/a.wav,2,0.0,10.0,Caption the audio,"Caption: ""a\tbird"",\nsinging.",'
        "0.998131,-0.00187,naturelm-lite,,,false,,[],\n"
    )


def test_silent_window_has_no_scores(answer: MakeAnswer, tmp_path: Path) -> None:
    silent = answer("a.wav", 0.0, "None", confidence=None, mean_logprob=None, silent=True)
    write_tables([silent], "csv", tmp_path / "out")
    line = (tmp_path / "out.csv").read_text().splitlines()[1]
    assert line.endswith(",None,,,naturelm-lite,,,true,,[],")
    parquet = pytest.importorskip("pyarrow.parquet")
    write_tables([answer("a.wav", 0.0, "Frog"), silent], "parquet", tmp_path / "out")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert str(table.schema.field("silent").type) == "bool"
    assert table.column("silent").to_pylist() == [False, True]
    assert table.column("confidence").to_pylist() == [0.998131, None]
    assert table.column("mean_logprob").to_pylist() == [-0.00187, None]


def test_withheld_answers_and_scores_of_candidates(answer: MakeAnswer, tmp_path: Path) -> None:
    scores = {"Great Tit": 0.75, 'Tit, "Coal"': 0.2, "None": 0.05}
    doubtful = answer("a.wav", 0.0, "None", confidence=0.4, withheld="Great Tit", scores=scores)
    write_tables([doubtful], "csv", tmp_path / "out")
    line = (tmp_path / "out.csv").read_text().splitlines()[1]
    assert line.endswith(
        ",None,0.4,-0.00187,naturelm-lite,,,false,Great Tit,[],"
        '"{""Great Tit"": 0.75, ""Tit, \\""Coal\\"""": 0.2, ""None"": 0.05}"'
    )
    parquet = pytest.importorskip("pyarrow.parquet")
    write_tables([doubtful, answer("a.wav", 10.0, "Frog")], "parquet", tmp_path / "out")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert str(table.schema.field("scores").type).startswith("map<string, double")
    assert table.column("scores").to_pylist() == [list(scores.items()), None]
    assert table.column("withheld").to_pylist() == ["Great Tit", None]


def test_csv_comes_back_from_pandas(rows: list[Answer], tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    write_tables(rows, "csv", tmp_path / "out")
    table = pandas.read_csv(tmp_path / "out.csv", keep_default_na=False, dtype={"channel": str})
    back = table.to_dict("records")
    for row, original in zip(back, rows, strict=True):
        row["detections"] = json.loads(row["detections"])
        assert row == {key: "" if value is None else value for key, value in original.as_row().items()}


def test_long_csv_comes_back_from_pandas(rows: list[Answer], tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    write_tables(rows, "csv", tmp_path / "out", long=True, merge_consecutive=True)
    table = pandas.read_csv(tmp_path / "out.csv")
    assert list(table.columns[-3:]) == ["common_name", "scientific_name", "score"]
    assert dict(table.groupby("scientific_name").score.max()) == {"Cuculus canorus": 0.5, "Parus major": 0.98}
    assert list(table.end_seconds) == [20.0, 10.0, 25.0, 10.0]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_names_that_are_no_utf8_are_escaped(rows: list[Answer], tmp_path: Path, name: str) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    row = rows[0].as_row() | {"audio_path": NOT_UTF8}
    write_tables([row], output=tmp_path / name, parameters={"audio_paths": [NOT_UTF8]})
    table = (pandas.read_csv if name == "out.csv" else pandas.read_parquet)(tmp_path / name)
    assert table.audio_path[0] == "caf\\udce9\n.wav"


def test_carriage_returns_are_quoted(rows: list[Answer], tmp_path: Path) -> None:
    write_tables([rows[0].as_row() | {"site": "a\rb"}], "csv", tmp_path / "out")
    assert '"a\rb"' in (tmp_path / "out.csv").read_bytes().decode()


def test_parquet_has_types_rows_and_parameters(
    rows: list[Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("NatureLM.infer.writers.tables.ROWS_PER_GROUP", 3)
    parameters: dict[str, Any] = {"queries": ["Which?"], "windows": 4, "site": "Großer See"}
    write_tables(iter(rows), "parquet", tmp_path / "out", parameters=parameters)
    file = parquet.ParquetFile(tmp_path / "out.parquet")
    assert file.metadata.num_row_groups == 2
    table = file.read()
    assert table.to_pylist() == [row.as_row() for row in rows]
    assert str(table.schema.field("detections").type) == (
        "list<element: struct<common_name: string, scientific_name: string, score: double>>"
    )
    assert str(table.schema.field("recorded_at").type) == "string"
    assert json.loads(table.schema.metadata[b"naturelm_run"]) == parameters


def test_parquet_of_a_run_without_answers_has_its_columns(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_tables([], "parquet", tmp_path / "out", long=True)
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.num_rows == 0
    assert table.schema.names[-3:] == ["common_name", "scientific_name", "score"]
    assert str(table.schema.field("score").type) == "double"
