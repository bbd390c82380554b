from pathlib import Path

import pytest

from NatureLM.calibration.reviews import read_reviews
from NatureLM.errors import ConfigError


def read(tmp_path: Path, text: str, name: str = "reviewed.csv"):  # type: ignore[no-untyped-def]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_reviews([path])


@pytest.mark.parametrize(
    "text",
    [
        "file,start,end,species,correct\na.wav,0,10,Great Tit,yes\n",
        "\ufefffile,start,end,species,correct\r\na.wav,0,10,Great Tit,TRUE\r\n",
        "audio_path,start_seconds,end_seconds,common_name,verdict\na.wav,0.0,10.0,Great Tit,y\n",
        "Recording;Start (s);End (s);Label;Valid\na.wav;0,0;10,0;Great Tit;1\n",
        "File\tBegin Time (s)\tEnd Time (s)\tSpecies\tTrue positive\na.wav\t0\t10\tGreat Tit\t1.0\n",
        "IN FILE,OFFSET,DURATION,TOP1MATCH,validation\na.wav,0,10,Great Tit,correct\n",
    ],
)
def test_columns_and_verdicts_in_many_forms(tmp_path: Path, text: str) -> None:
    (review,) = read(tmp_path, text)
    assert (review.file, review.start_seconds, review.end_seconds) == ("a.wav", 0.0, 10.0)
    assert review.names == ("Great Tit",)
    assert review.right is True


def test_raven_table_that_counts_over_files(tmp_path: Path) -> None:
    (review,) = read(
        tmp_path,
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tCommon Name\tScientific Name\t"
        "File Offset (s)\tBegin Path\tCorrect\n"
        "1\tSpectrogram 1\t1\t130.0\t140.0\tGreat Tit\tParus major\t30.0\t/home/me/card/a.wav\tno\n",
        "a.selections.txt",
    )
    assert (review.start_seconds, review.end_seconds) == (30.0, 40.0)
    assert review.names == ("Parus major", "Great Tit")
    assert (review.right, review.channel, review.file) == (False, "1", "/home/me/card/a.wav")


def test_what_was_left_open_is_no_verdict(tmp_path: Path) -> None:
    reviews = read(tmp_path, "file,start,end,species,correct\na,0,1,Ruff,\na,0,1,Ruff,?\na,0,1,Ruff,unsure\n")
    assert [review.right for review in reviews] == [None, None, None]


def test_folders_are_read_whole(tmp_path: Path) -> None:
    for name in ("b/x.tsv", "a.txt"):
        (tmp_path / "tables" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tables" / name).write_text("file\tstart\tend\tspecies\tcorrect\na\t0\t1\tRuff\tno\n")
    (tmp_path / "tables" / "notes.md").write_text("no table")
    reviews = read_reviews([tmp_path / "tables"])
    assert [Path(review.place.split(", line")[0]).name for review in reviews] == ["a.txt", "x.tsv"]
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match=r"none: holds no tables"):
        read_reviews([tmp_path / "none"])


def test_tables_of_a_folder_that_nobody_has_reviewed_are_left_open(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("file\tstart\tend\tspecies\tcorrect\na\t0\t1\tRuff\tyes\n")
    (tmp_path / "b.txt").write_text("file\tstart\tend\tspecies\nb\t0\t1\tRuff\n")
    assert [(each.file, each.right) for each in read_reviews([tmp_path])] == [("a", True), ("b", None)]
    for paths in ([tmp_path / "b.txt"], [tmp_path / "a.txt", tmp_path / "b.txt"]):
        with pytest.raises(ConfigError, match=r"b\.txt: lacks a column for the verdict"):
            read_reviews(paths)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(ConfigError, match=r"b\.txt: lacks a column for the verdict"):
        read_reviews([tmp_path])


def test_kaleidoscope_counts_channels_from_0(tmp_path: Path) -> None:
    head = "IN FILE,OFFSET,DURATION,TOP1MATCH,CHANNEL,validation\n"
    reviews = read(tmp_path, head + "a.wav,0,10,Ruff,0,yes\na.wav,0,10,Ruff,1,yes\na.wav,0,10,Ruff,,yes\n")
    assert [review.channel for review in reviews] == ["1", "2", None]
    gaps = read(tmp_path, head + "a.wav,0,10,Ruff,0.0,yes\na.wav,0,10,Ruff,,yes\n")
    assert [review.channel for review in gaps] == ["1", None]
    plain = read(tmp_path, "file,start,end,species,channel,correct\na.wav,0,10,Ruff,2.0,yes\n")
    assert [review.channel for review in plain] == ["2"]


def test_kaleidoscope_names_the_folder_of_a_recording(tmp_path: Path) -> None:
    head = "INDIR,FOLDER,IN FILE,OFFSET,DURATION,TOP1MATCH,validation\n"
    rows = ("D:\\cards,june\\card1,a.wav,0,10,Ruff,yes\n", "D:\\cards,,b.wav,0,10,Ruff,no\n")
    reviews = read(tmp_path, head + "".join(rows))
    assert [review.file for review in reviews] == ["june/card1/a.wav", "b.wav"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "file,start,end,species\na,0,1,Ruff\n",
            r"lacks a column for the verdict \(for example correct\); its",
        ),
        (
            "when,who\n1,2\n",
            r"the recording .* and the start .* and the end .* and the species .* its columns",
        ),
        ("", r"its columns are: none"),
        ("x" * 140_000, r"line 1: cannot be read as a table \(field larger than field limit"),
        ("file,start,end,species,correct\na,0,1,Ruff,perhaps\n", r"line 2: expected yes or no .* 'perhaps'"),
        (
            "file,start,end,species,correct\na,now,1,Ruff,yes\n",
            r"line 2: expected seconds .* start, found 'now'",
        ),
        (
            "file,start,end,species,correct\na,5,5,Ruff,yes\n",
            r"line 2: the end \(5 s\) is not after the start",
        ),
        ("file,start,end,species,correct\na,0,1\n", r"line 2|lacks"),
    ],
)
def test_faults_are_named(tmp_path: Path, text: str, message: str) -> None:
    if message == r"line 2|lacks":  # a short row has no verdict: it is left open
        (review,) = read(tmp_path, text)
        assert review.right is None and review.names == ()
        return
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.csv: no such file"):
        read_reviews([tmp_path / "absent.csv"])
    (tmp_path / "latin.csv").write_bytes("file,start,end,species,correct\né,0,1,Ruff,yes".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.csv: is not UTF-8 text"):
        read_reviews([tmp_path / "latin.csv"])
