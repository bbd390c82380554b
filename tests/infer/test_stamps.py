from __future__ import annotations

import os
from pathlib import Path

import pytest

from NatureLM.infer.stamps import set_aside, stamp


def test_a_file_is_known_under_any_name_until_it_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "june.csv"
    path.write_text("Great Tit")
    before = stamp(path)
    path = path.rename(tmp_path / "july.csv")
    assert stamp(path) == before and len(before) == 16
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
    assert stamp(path) != before
    with pytest.raises(FileNotFoundError):
        stamp(tmp_path / "june.csv")


def test_a_folder_is_changed_by_what_lies_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "june.raven"
    (folder / "card1").mkdir(parents=True)
    (folder / "card1" / "a.txt").write_text("1")
    before = stamp(folder)
    (folder / ".DS_Store").write_text("Finder was here")
    assert stamp(folder) == before
    (folder / "card1" / "a.txt").rename(folder / "card1" / "b.txt")
    assert stamp(folder) != before


def test_what_is_set_aside_keeps_its_ending(tmp_path: Path) -> None:
    for expected in ("june.changed.csv", "june.changed.2.csv"):
        (tmp_path / "june.csv").write_text(expected)
        assert set_aside(tmp_path / "june.csv") == tmp_path / expected
        assert (tmp_path / expected).read_text() == expected and not (tmp_path / "june.csv").exists()
