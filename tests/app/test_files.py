import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from NatureLM.app.files import AppFiles, display_names
from NatureLM.app.settings import AppSettings
from NatureLM.errors import RecordingError


@pytest.fixture
def files(tmp_path: Path) -> Iterator[AppFiles]:
    """Those of an app with a recording, a link out of its folder, and a file that is no recording."""
    recordings = tmp_path / "recordings"
    (recordings / "june").mkdir(parents=True)
    (recordings / "june" / "a.wav").write_bytes(b"RIFF")
    (recordings / "notes.txt").write_text("private")
    (tmp_path / "secret.wav").write_bytes(b"RIFF")
    (recordings / "link.wav").symlink_to(tmp_path / "secret.wav")
    files = AppFiles(AppSettings(assets_dir=recordings / "june", recordings_dir=recordings))
    yield files
    files.remove()


def test_the_folder_lists_its_recordings_but_no_links_out_of_it(files: AppFiles) -> None:
    assert files.listed() == ["june/a.wav"]
    assert files.chosen("june/a.wav").name == "a.wav"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_text_are_listed_and_chosen(files: AppFiles) -> None:
    assert files.recordings_dir is not None
    odd = files.recordings_dir / os.fsdecode(b"june/caf\xe9.wav")
    odd.write_bytes(b"RIFF")
    assert files.listed() == ["june/a.wav", "june/caf\\xe9.wav"]
    assert files.chosen("june/caf\\xe9.wav") == odd
    assert display_names([odd]) == ["caf\\xe9.wav"]
    again = AppFiles(AppSettings(assets_dir=odd.parent))
    assert [path.name for path in again.examples] == ["a.wav"]  # a page cannot name the other
    again.remove()


def test_examples_may_have_any_name_that_is_text(tmp_path: Path) -> None:
    folder = tmp_path / "my\u00a0sounds"
    folder.mkdir()
    (folder / "Kohlmeise\u200b.wav").write_bytes(b"RIFF")
    files = AppFiles(AppSettings(assets_dir=folder))
    assert [path.name for path in files.examples] == ["Kohlmeise\u200b.wav"]
    files.remove()


@pytest.mark.parametrize(
    "name", ["../secret.wav", "june/../../secret.wav", "/etc/passwd", "link.wav", "june", "\0", ""]
)
def test_nothing_outside_the_folder_can_be_chosen(files: AppFiles, name: str) -> None:
    assert files.recordings_dir is not None
    with pytest.raises((RecordingError, ValueError)):
        files.chosen(name)
    assert not files.may_read(files.recordings_dir / "link.wav")
    assert not files.may_read(files.recordings_dir / "june" / ".." / ".." / "secret.wav")


@pytest.mark.parametrize(
    "name", ["june/a.wav", "./june/a.wav", "http://example.com/a.wav", "https://a/a.wav", "file:///a.wav", ""]
)
def test_no_relative_name_and_no_address_may_be_read(
    files: AppFiles, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert files.recordings_dir is not None
    monkeypatch.chdir(files.recordings_dir)  # as with --recordings-dir .
    assert not files.may_read(name)
    assert files.may_read(files.recordings_dir / "june" / "a.wav")


def test_of_the_folders_only_recordings_may_be_read(files: AppFiles) -> None:
    assert files.recordings_dir is not None
    assert not files.may_read(files.recordings_dir / "notes.txt")
    for name, target in (("page.html", "june/a.wav"), ("notes.wav", "notes.txt")):
        (files.recordings_dir / name).symlink_to(files.recordings_dir / target)
        assert not files.may_read(files.recordings_dir / name)
    assert files.folders == [files.recordings_dir / "june", files.recordings_dir]


def test_only_recordings_are_taken(files: AppFiles) -> None:
    with pytest.raises(
        RecordingError, match=r"notes\.txt: no recording by its name; expected a file such as"
    ):
        files.chosen("notes.txt")
    with pytest.raises(RecordingError, match="passwd: there is no such upload"):
        files.recording("/etc/passwd")


def test_messages_do_not_say_where_uploads_lie(files: AppFiles) -> None:
    path = files.new_folder() / "a b.wav"
    assert files.plain(f"{path} is damaged") == "a b.wav is damaged"
    assert files.plain(f"{files.recordings_dir}/june/a.wav is damaged") == "june/a.wav is damaged"


def test_everything_is_removed(files: AppFiles) -> None:
    folder = files.new_folder()
    assert folder.is_dir()
    assert files.may_read(folder / "results.csv")
    files.remove()
    assert not folder.exists()


def test_recordings_of_one_name_are_told_apart() -> None:
    paths = [Path("a/one.wav"), Path("b/one.wav"), Path("two.wav"), Path("c/one.wav")]
    assert display_names(paths) == ["one.wav", "one (2).wav", "two.wav", "one (3).wav"]
