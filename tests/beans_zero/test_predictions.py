import json
from pathlib import Path

import pytest

from NatureLM.beans_zero.predictions import Answers, read_predictions
from NatureLM.errors import ConfigError, PredictionsError

ROW = {"prediction": "dog", "label": "cat", "dataset_name": "esc50", "id": "a"}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def test_both_kinds_of_file_read_alike(tmp_path: Path) -> None:
    lines = write(tmp_path / "a.jsonl", ROW, "", {**ROW, "id": 7, "prediction": "a, b", "extra": None})
    table = write(
        tmp_path / "a.csv", "id,label,prediction,dataset_name", "a,cat,dog,esc50", '7,cat,"a, b",esc50'
    )
    expected = {"esc50": Answers(["dog", "a, b"], ["cat", "cat"])}
    assert read_predictions(lines) == read_predictions(table) == expected


def test_a_byte_order_mark_and_missing_ids_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("prediction,label,dataset_name\nÉ,é,esc50\né,é,esc50\n".encode("utf-8-sig"))
    assert read_predictions(path)["esc50"].predictions == ["É", "é"]


def test_ids_may_repeat_in_another_component(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ROW, {**ROW, "dataset_name": "cbi"})
    assert list(read_predictions(path)) == ["esc50", "cbi"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "a.jsonl: holds no predictions; there is nothing to score."),
        (
            [ROW, {"prediction": "dog", "id": 1}],
            "a.jsonl, line 2: has no 'label'; needed are prediction, label and dataset_name, "
            "found prediction, id.",
        ),
        (
            [ROW, '{"a": }'],
            "a.jsonl, line 2: is not JSON (Expecting value); each line must be one object.",
        ),
        (
            [ROW, json.dumps(ROW).replace('"a"', "1" * 5_000)],
            "a.jsonl, line 2: is not JSON (a number in it has too many digits); each line must be one "
            "object.",
        ),
        (
            [ROW, "[" * 100_000],
            "a.jsonl, line 2: is not JSON (it is nested too deeply); each line must be one object.",
        ),
        ([[1]], "a.jsonl, line 1: holds a JSON list; each line must be one object."),
        ([{**ROW, "prediction": None}], "a.jsonl, line 1: 'prediction' is null; it must be text."),
        ([{**ROW, "prediction": 1}], "a.jsonl, line 1: 'prediction' is 1; it must be text."),
        (
            [ROW, {**ROW, "id": "b"}, ROW],
            "a.jsonl, line 3: esc50 has an answer with id 'a' already (line 1); keep one of the two.",
        ),
    ],
)
def test_bad_lines(rows: list[object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("a.jsonl"), *rows)
    with pytest.raises(PredictionsError) as error:
        read_predictions("a.jsonl")
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.csv: holds no predictions; there is nothing to score."),
        ("prediction,label,dataset_name\n", "a.csv: holds no predictions; there is nothing to score."),
        (
            "prediction,dataset_name\n",
            "a.csv: has no 'label'; needed are prediction, label and dataset_name, "
            "found prediction, dataset_name.",
        ),
        (
            "prediction,label,dataset_name\na,b,esc50\na,b,c,esc50\n",
            "a.csv, line 3: has 4 fields, its header 3; quote fields that hold commas.",
        ),
    ],
)
def test_bad_tables(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text(text)
    with pytest.raises(PredictionsError) as error:
        read_predictions("a.csv")
    assert str(error.value) == message


def test_other_files_are_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.xls: predictions are read from \.jsonl or \.csv; name such a"):
        read_predictions(tmp_path / "a.xls")
    with pytest.raises(ConfigError, match=r"none\.csv: no such file; name a file of predictions"):
        read_predictions(tmp_path / "none.csv")


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("prediction,label,dataset_name\né,é,esc50\n".encode("latin-1"))
    with pytest.raises(PredictionsError, match=r"a\.csv: cannot be read as UTF-8 text \("):
        read_predictions(path)
