from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from NatureLM.errors import ConfigError
from NatureLM.infer.writers import FORMATS, choose_outputs


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("output", "formats", "paths"),
    [
        ("out.jsonl", None, ["out.jsonl"]),
        ("OUT.JSONL", None, ["OUT.JSONL"]),
        ("out.csv", (), ["out.csv"]),
        ("out.kaleidoscope.csv", None, ["out.kaleidoscope.csv"]),
        ("out.selections.txt", None, ["out.selections.txt"]),
        ("year/out", "jsonl", ["year/out.jsonl"]),
        ("out.csv", ["csv", "jsonl"], ["out.jsonl", "out.csv"]),
        ("Out.CSV", "jsonl,csv", ["Out.jsonl", "Out.CSV"]),
        (
            "2024.06",
            ["Raven, audacity", "raven-combined,kaleidoscope", "raven"],
            ["2024.06.raven", "2024.06.selections.txt", "2024.06.audacity", "2024.06.kaleidoscope.csv"],
        ),
    ],
)
def test_files_of_an_output_path_and_its_formats(output: str, formats: Any, paths: list[str]) -> None:
    outputs = choose_outputs(Path(output), formats)
    assert outputs.paths() == [Path(path) for path in paths]
    assert outputs.main == Path(paths[0])


@pytest.mark.parametrize(
    ("output", "formats", "options", "message"),
    [
        (
            "out",
            "jsonl,cvs",
            {},
            "--format 'cvs': no such format; did you mean csv? Known: jsonl, csv, parquet",
        ),
        ("out", "jsonl,", {}, "--format '': no such format"),
        ("out.xls", None, {}, "--output-path out.xls: results are written as .jsonl, .csv, .parquet, .raven"),
        ("out", None, {}, "or say --format"),
        (".csv", None, {}, "--output-path .csv: results are written as"),
        ("out.csv", "jsonl,raven", {}, "out.csv: ends like csv, but --format says jsonl,raven; add csv to"),
        ("out.jsonl", None, {"long": True}, "--long is for csv and parquet, but the format is jsonl; add"),
        ("out.csv", None, {"merge_consecutive": True}, "--merge-consecutive is for formats with a row per"),
        ("folder", "csv", {}, "--output-path folder: is a folder; name a file in it."),
    ],
)
def test_bad_usage_is_one_sentence(output: str, formats: Any, options: dict[str, bool], message: str) -> None:
    Path("folder").mkdir()
    with pytest.raises(ConfigError) as caught:
        choose_outputs(Path(output), formats, **options)
    assert message in str(caught.value)


def test_options_may_hold_for_one_format_of_several() -> None:
    outputs = choose_outputs(Path("out"), "jsonl,csv", long=True, merge_consecutive=True)
    assert outputs.long and outputs.merge_consecutive
    assert [each.name for each in outputs.tables] == ["csv"]
    assert choose_outputs(Path("out"), "raven", merge_consecutive=True).merge_consecutive


def test_parquet_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("NatureLM.infer.writers.formats.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"--format parquet needs pyarrow.*: pip install pyarrow, or take csv"
    ):
        choose_outputs(Path("out.parquet"))


def test_endings_tell_formats_apart() -> None:
    assert len({each.ending for each in FORMATS.values()}) == len(FORMATS)
