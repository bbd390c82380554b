from pathlib import Path

import pytest

from NatureLM.whole_files import write_whole


def test_all_files_are_written(tmp_path: Path) -> None:
    write_whole({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"1", "b": b"2"}


@pytest.mark.parametrize("beneath", ["missing", "a"], ids=["no folder", "a file in place of one"])
def test_where_one_cannot_be_written_none_is(beneath: str, tmp_path: Path) -> None:
    old, other = tmp_path / "a", tmp_path / beneath / "b"
    old.write_text("old")
    with pytest.raises(OSError) as error:
        write_whole({old: b"new", other: b"new"})
    assert error.value.filename == str(other)
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]
