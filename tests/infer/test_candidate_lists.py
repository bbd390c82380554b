"""Lists of names as they come: files and text."""

from __future__ import annotations

from pathlib import Path

import pytest

from NatureLM.errors import ConfigError
from NatureLM.infer.candidate_lists import read_names


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_line_is_a_name() -> None:
    Path("species.txt").write_text(
        "\ufeff# birds of the pond\r\n\r\n  Great Tit \r\nParus major_Great Tit\r\nDuck, Wood\n"
        "Rüppell's Starling  # seen once\nGreat Tit\n",
        encoding="utf-8",
    )
    expected = ("Great Tit", "Parus major_Great Tit", "Duck, Wood", "Rüppell's Starling")
    assert read_names("species.txt") == read_names(Path("species.txt")) == expected


def test_text_has_commas_between_and_sequences_are_as_they_are() -> None:
    assert read_names("Great Tit,  coal tit ,,Great Tit") == ("Great Tit", "coal tit")
    assert read_names(["Duck, Wood", " Ruff ", "Ruff"]) == ("Duck, Wood", "Ruff")
    Path("Ruff").mkdir()
    assert read_names("Ruff") == ("Ruff",), "a folder is no list"
    assert len(read_names(",".join(f"species {number}" for number in range(6522)))) == 6522


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("empty.txt", r"empty\.txt: holds no name; give at least one, for example 'Great Tit'\."),
        ("latin.txt", r"latin\.txt: cannot be read as a list of names \(it is not UTF-8 text\)"),
        ("none.txt", r"--candidates none\.txt: no such file; name a text file with a name a line\."),
        ("lists/none", r"--candidates lists/none: no such file"),
        ("lists/", r"--candidates lists/: it is a folder; name a text file with a name a line\."),
        (Path("none"), r"--candidates none: no such file"),
        (" , ", r"--candidates ' , ': holds no name"),
        ([], r"candidates: holds no name"),
        ([1], r"candidates: expected names as text"),
    ],
)
def test_what_is_no_list_is_said(names: str, message: str) -> None:
    Path("lists").mkdir()
    Path("empty.txt").write_text("# nothing yet\n\n")
    Path("latin.txt").write_bytes("Rüppell's Starling".encode("latin-1"))
    with pytest.raises(ConfigError, match=f"^{message}"):
        read_names(names)
