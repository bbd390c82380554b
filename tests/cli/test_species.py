"""``naturelm species``: the list of a place, in every form."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from NatureLM.cli import main
from NatureLM.cli.running import run
from NatureLM.errors import ModelUnavailableError
from NatureLM.infer.candidate_lists import read_names
from NatureLM.models.encoders.encoder_files import find_range_model
from NatureLM.models.species import SpeciesTable

HERE = ["--latitude", "42.5", "--longitude", "-76.45"]


@pytest.fixture(scope="module", autouse=True)
def range_model_is_here() -> None:
    try:
        find_range_model()
    except ModelUnavailableError as error:
        pytest.skip(str(error))


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(main.app, "naturelm", ["species", *HERE, *arguments]) == 0
    return capsys.readouterr().out


def test_table_of_a_week(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main.app, "naturelm", ["species", *HERE, "--week", "20"]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].split("  ")[:2] == ["0.984", "American Robin"]
    assert lines[0].endswith("  Turdus migratorius")
    assert len(lines) == 132 and shown.err == "132 species\n"


def test_csv_and_json_hold_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    table = list(csv.DictReader(io.StringIO(printed(capsys, "--date", "2024-05-24", "--format", "csv"))))
    rows = json.loads(printed(capsys, "--week", "20", "--format", "json"))
    assert rows[0] == {
        "common_name": "American Robin",
        "scientific_name": "Turdus migratorius",
        "ebird_code": "amerob",
        "probability": pytest.approx(0.984, abs=1e-3),
    }
    assert [{name: str(value) for name, value in row.items()} for row in rows] == table


def test_list_comes_back_as_candidates(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "species.txt"
    path.write_text(printed(capsys, "--range-threshold", "0.5", "--format", "list"), encoding="utf-8")
    names = read_names(path)
    table = SpeciesTable.load()
    found = [table.find(name) for name in names]
    assert 10 < len(found) < 100 and None not in found
    whole_year = json.loads(printed(capsys, "--week", "-1", "--range-threshold", "0.5", "--format", "json"))
    assert [species and species.common_name for species in found] == [
        row["common_name"] for row in whole_year
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give a place: --latitude and --longitude, in degrees."),
        (["--latitude", "3"], "go together; give both"),
        ([*HERE, "--week", "3", "--date", "2024-05-17"], "--week and --date exclude each other"),
        ([*HERE, "--week", "0"], "week 0: expected 1 to 48, four a month, or -1 for the whole year."),
        ([*HERE, "--date", "2024-02-30"], "date 2024-02-30: expected a day as YYYY-MM-DD"),
        ([*HERE, "--format", "xls"], "'xls' is not one of"),
    ],
)
def test_bad_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main.app, "naturelm", ["species", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.out == ""
