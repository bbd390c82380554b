from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from NatureLM.errors import ConfigError
from NatureLM.infer.answers import Answer
from NatureLM.infer.writers import write_tables
from NatureLM.models.answering import Detection


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def names() -> list[str]:
    return sorted(path.as_posix() for path in Path().rglob("*") if path.is_file())


def test_all_formats_at_once_from_answers_as_they_come(rows: list[Answer]) -> None:
    formats = "jsonl,csv,raven,raven-combined,audacity,kaleidoscope"
    written = write_tables(iter(rows), formats, "year/june")
    assert [path.name for path in written] == [
        *("june.jsonl", "june.csv", "june.raven", "june.selections.txt", "june.audacity"),
        "june.kaleidoscope.csv",
    ]
    assert [json.loads(line) for line in Path("year/june.jsonl").read_text().splitlines()] == [
        row.as_row() for row in rows
    ]
    assert len(names()) == 4 + 2 + 2


def test_parameters_lie_beside_the_jsonl(jsonl: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    Path("run.jsonl.run.json").write_text('{"queries": ["Which?"]}')
    write_tables(jsonl, output="out.parquet")
    assert json.loads(parquet.read_schema("out.parquet").metadata[b"naturelm_run"]) == {"queries": ["Which?"]}


def test_parameters_that_cannot_be_read_are_left_out(jsonl: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    Path("run.jsonl.run.json").write_text("[" * 100_000)
    write_tables(jsonl, output="out.parquet")
    assert json.loads(parquet.read_schema("out.parquet").metadata[b"naturelm_run"]) == {}


def test_what_exists_is_replaced_only_when_asked(jsonl: Path) -> None:
    Path("out.csv").write_text("precious\n")
    with pytest.raises(ConfigError, match=r"out\.csv: exists already; choose another name"):
        write_tables(jsonl, "csv,audacity", "out")
    assert names() == ["out.csv", "run.jsonl"]
    write_tables(jsonl, "csv,audacity", "out", overwrite=True)
    assert "Great Tit" in Path("out.csv").read_text()


def test_files_of_others_in_a_folder_that_is_replaced_are_kept(jsonl: Path) -> None:
    write_tables(jsonl, "raven", "out")
    Path("out.raven/card1/notes.md").write_text("mine")
    Path("out.raven/old.NatureLM.selections.txt").write_text("of an earlier run")
    write_tables(jsonl, "raven", "out", overwrite=True)
    assert names() == [
        "out.raven.old/card1/notes.md",
        "out.raven/card1/a.NatureLM.selections.txt",
        "out.raven/card2/a.NatureLM.selections.txt",
        "run.jsonl",
    ]


def test_notes_among_label_tracks_are_kept(jsonl: Path) -> None:
    write_tables(jsonl, "audacity", "out")
    Path("out.audacity/.DS_Store").write_text("of Finder")
    write_tables(jsonl, "audacity", "out", overwrite=True)
    assert names() == ["out.audacity/card1/a.txt", "out.audacity/card2/a.txt", "run.jsonl"]
    Path("out.audacity/card1/notes.txt").write_text("mine")
    write_tables(jsonl, "audacity", "out", overwrite=True)
    assert names() == [
        "out.audacity.old/card1/notes.txt",
        "out.audacity/card1/a.txt",
        "out.audacity/card2/a.txt",
        "run.jsonl",
    ]


def test_failure_leaves_nothing_behind(jsonl: Path) -> None:
    with jsonl.open("a") as file:
        file.write("no row\n")
    with pytest.raises(ConfigError, match=r"run\.jsonl, line 5: is no row of answers"):
        write_tables(jsonl, "csv,raven", "out")
    assert names() == ["run.jsonl"] and not Path("out.raven").exists()
    with pytest.raises(ConfigError, match=r"none\.jsonl: no such file"):
        write_tables("none.jsonl", "csv", "out")


def test_rows_are_not_all_in_memory() -> None:
    def many(count: int) -> Iterator[Answer]:
        tit = Detection("Great Tit", "Parus major", 0.9)
        for index in range(count):
            start = 10.0 * (index % 10)
            window = (f"card/{index // 10}.wav", "mix", start, start + 10.0)
            yield Answer(*window, "Which?", "Great Tit", 0.9, -0.1, "m", detections=[tit])

    formats = "csv,raven-combined,kaleidoscope"
    for count in (10, 2000):  # the first imports what is imported lazily
        tracemalloc.start()
        write_tables(many(count), formats, "out", long=True, merge_consecutive=True, overwrite=True)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # Python keeps up to 2,000 small blocks of a size for later; rows themselves would be above 2 MB.
    assert peak < 1_000_000
