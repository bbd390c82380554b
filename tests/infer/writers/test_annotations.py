from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from NatureLM.infer.answers import Answer
from NatureLM.infer.writers import write_tables
from NatureLM.models.answering import Detection

SPECIES = "What are the common names for the species in the audio, if any?"
HEADER = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tCommon Name\t"
    "Scientific Name\tConfidence\tFile Offset (s)\tBegin Path\n"
)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def files(folder: str) -> dict[str, str]:
    found = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in found}


def test_raven_has_a_table_per_recording_in_folders_like_theirs(jsonl: Path) -> None:
    assert write_tables(jsonl, "raven", "out") == [Path("out.raven")]
    header, asked = HEADER.replace("\n", "\tQuestion\n"), f"\tcard1/a.wav\t{SPECIES}\n"
    assert files("out.raven") == {
        "card1/a.NatureLM.selections.txt": header
        + f"1\tSpectrogram 1\t1\t0.0\t10.0\t0.0\t24000.0\tGreat Tit\tParus major\t0.9623\t0.0{asked}"
        + f"2\tSpectrogram 1\t1\t0.0\t10.0\t0.0\t24000.0\tCommon Cuckoo\tCuculus canorus\t0.5\t0.0{asked}"
        + f"3\tSpectrogram 1\t1\t10.0\t20.0\t0.0\t24000.0\tGreat Tit\tParus major\t0.98\t10.0{asked}",
        "card2/a.NatureLM.selections.txt": header
        + '1\tSpectrogram 1\t2\t0.0\t10.0\t0.0\t24000.0\tCaption: "a bird", singing.\t\t0.998131\t0.0\t'
        + "card2/a.wav\tCaption the audio\n",
    }


def test_combined_raven_accumulates_the_times_of_the_files(
    answer: Callable[..., Answer], make_noise: Callable[..., Path]
) -> None:
    tit = Detection("Great Tit", "Parus major", 0.9)
    first, second = make_noise("a.wav", 12.5, 8000), make_noise("b.wav", 3.0, 96000)
    rows = [
        answer("a.wav", 0.0, "None"),
        answer("a.wav", 10.0, "Great Tit", tit, end_seconds=12.5),
        answer("b.wav", 0.0, "None", end_seconds=3.0),
        answer("gone.wav", 0.0, "None"),
        answer("gone.wav", 10.0, "None", end_seconds=14.0),
        answer("b.wav", 0.0, "Great Tit", tit, end_seconds=3.0),
    ]
    assert write_tables(rows, "raven-combined", "out") == [Path("out.selections.txt")]
    assert Path("out.selections.txt").read_text() == (
        HEADER
        + f"1\tSpectrogram 1\t1\t10.0\t12.5\t0.0\t4000.0\tGreat Tit\tParus major\t0.9\t10.0\t{first}\n"
        + f"2\tSpectrogram 1\t1\t29.5\t32.5\t0.0\t48000.0\tGreat Tit\tParus major\t0.9\t0.0\t{second}\n"
    )


def test_several_questions_are_told_apart(answer: Callable[..., Answer]) -> None:
    tit = Detection("Great Tit", "Parus major", 0.9)
    rows = [
        answer("a.wav", 0.0, "Great Tit", tit),
        answer("a.wav", 0.0, "Parus major", tit, query="Its\tname?"),
    ]
    write_tables(rows, "raven,raven-combined", "out", merge_consecutive=True)
    table = files("out.raven")["a.NatureLM.selections.txt"]
    assert Path("out.selections.txt").read_text() == table
    assert table.splitlines()[0] == HEADER.strip() + "\tQuestion"
    selections = list(csv.DictReader(table.splitlines(), delimiter="\t"))
    assert [row["Question"] for row in selections] == [rows[0].query, "Its name?"]
    assert {row["Common Name"] for row in selections} == {"Great Tit"}
    write_tables(rows, "kaleidoscope", "out", merge_consecutive=True)
    with open("out.kaleidoscope.csv", newline="") as table:
        assert [row["QUESTION"] for row in csv.DictReader(table)] == [rows[0].query, rows[1].query]


def test_merged_windows_are_one_selection(jsonl: Path) -> None:
    write_tables(jsonl, "raven", "out", merge_consecutive=True)
    table = csv.DictReader(files("out.raven")["card1/a.NatureLM.selections.txt"].splitlines(), delimiter="\t")
    assert [(row["Common Name"], row["End Time (s)"], row["Confidence"]) for row in table] == [
        ("Great Tit", "20.0", "0.98"),
        ("Common Cuckoo", "10.0", "0.5"),
    ]


def test_recordings_in_which_nothing_was_heard_have_an_empty_table(answer: Callable[..., Answer]) -> None:
    write_tables([answer("a.wav", 0.0, "None")], "raven,audacity", "out")
    assert files("out.raven") == {"a.NatureLM.selections.txt": HEADER}
    assert files("out.audacity") == {"a.txt": ""}


def test_recordings_of_one_stem_and_folder_do_not_collide(answer: Callable[..., Answer]) -> None:
    rows = [answer(name, 0.0, name) for name in ("a.flac", "a.wav", "b.wav", "a.flac")]
    write_tables(rows, "audacity", "out")
    assert {name: text.split("\t")[2] for name, text in files("out.audacity").items()} == {
        "a.txt": "a.flac\n",
        "a.wav.txt": "a.wav\n",
        "b.txt": "b.wav\n",
        "a.flac.txt": "a.flac\n",
    }


def test_names_that_are_no_utf8_stay_names_of_files(answer: Callable[..., Answer]) -> None:
    name = b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    write_tables([answer(name, 0.0, "A\u2028bird")], "raven,audacity,kaleidoscope", "out")
    (table,) = Path("out.raven").iterdir()
    assert os.fsencode(table.name) == b"caf\xe9.NatureLM.selections.txt"
    assert table.read_text(encoding="utf-8").endswith("A bird\t\t0.998131\t0.0\tcaf\\udce9.wav\n")
    assert "caf\\udce9.wav" in Path("out.kaleidoscope.csv").read_text(encoding="utf-8")


def test_audacity_labels_to_the_letter(jsonl: Path) -> None:
    write_tables(jsonl, "audacity", "out")
    assert files("out.audacity") == {
        "card1/a.txt": "0.000000\t10.000000\tGreat Tit\n0.000000\t10.000000\tCommon Cuckoo\n"
        "10.000000\t20.000000\tGreat Tit\n",
        "card2/a.txt": '0.000000\t10.000000\tCaption: "a bird", singing.\n',
    }


def test_kaleidoscope_to_the_letter(jsonl: Path, tmp_path: Path) -> None:
    asked = '"What are the common names for the species in the audio, if any?"'
    write_tables(jsonl, "kaleidoscope", "out", merge_consecutive=True)
    assert Path("out.kaleidoscope.csv").read_text(encoding="utf-8") == (
        "INDIR,FOLDER,IN FILE,OFFSET,DURATION,TOP1MATCH,SCIENTIFIC NAME,CONFIDENCE,CHANNEL,QUESTION\n"
        f"{tmp_path},card1,a.wav,0.0,20.0,Great Tit,Parus major,0.98,0,{asked}\n"
        f"{tmp_path},card1,a.wav,0.0,10.0,Common Cuckoo,Cuculus canorus,0.5,0,{asked}\n"
        f'{tmp_path},card2,a.wav,0.0,10.0,"Caption: ""a\tbird"",\nsinging.",,0.998131,1,Caption the audio\n'
    )


def test_raven_tables_come_back_from_pandas(jsonl: Path) -> None:
    pandas = pytest.importorskip("pandas")
    write_tables(jsonl, "raven-combined", "out")
    table = pandas.read_csv("out.selections.txt", sep="\t", quoting=csv.QUOTE_NONE)
    assert list(table.Selection) == [1, 2, 3, 4]
    assert list(table["Begin Time (s)"]) == [0.0, 0.0, 10.0, 25.0]
    assert list(table.Channel) == [1, 1, 1, 2]


def test_raven_and_audacity_come_back_from_crowsetta(jsonl: Path) -> None:
    crowsetta = pytest.importorskip("crowsetta")
    write_tables(jsonl, "raven,audacity", "out", merge_consecutive=True)
    raven = crowsetta.formats.bbox.Raven.from_file(
        "out.raven/card1/a.NatureLM.selections.txt", annot_col="Common Name"
    )
    boxes = raven.to_annot().bboxes
    assert [(box.onset, box.offset, box.low_freq, box.high_freq, box.label) for box in boxes] == [
        (0.0, 20.0, 0.0, 24000.0, "Great Tit"),
        (0.0, 10.0, 0.0, 24000.0, "Common Cuckoo"),
    ]
    labels = crowsetta.formats.seq.AudSeq.from_file("out.audacity/card1/a.txt").to_annot().seq
    assert list(labels.labels) == ["Great Tit", "Common Cuckoo"]
    assert list(labels.offsets_s) == [20.0, 10.0]


def test_silent_windows_are_not_marked(answer: Callable[..., Answer], tmp_path: Path) -> None:
    silent = answer("a.wav", 0.0, "None", confidence=None, mean_logprob=None, silent=True)
    formats = "raven,raven-combined,audacity,kaleidoscope"
    raven, combined, audacity, kaleidoscope = write_tables([silent], formats, tmp_path / "out")
    for table, lines in (
        (raven / "a.NatureLM.selections.txt", 1),
        (combined, 1),
        (audacity / "a.txt", 0),
        (kaleidoscope, 1),
    ):
        assert table.read_text().count("\n") == lines
