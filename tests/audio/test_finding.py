import logging
import os
from pathlib import Path

import pytest

from NatureLM.audio import find_recordings, is_folder, recording_suffixes
from NatureLM.errors import RecordingError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(found: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in found]


def test_suffixes_are_what_libsndfile_reads():
    suffixes = recording_suffixes()
    assert {".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".w64", ".rf64"} <= suffixes
    assert suffixes.isdisjoint({".raw", ".mat", ".txt", ".m4a", "."})


def test_folders_are_searched_in_sorted_order(tmp_path):
    touch(
        tmp_path, "b.wav", "a.WAV", "inner/deep/c.Flac", "inner/d.mp3", "B.ogg", "notes.txt", "x.raw", "wav"
    )
    assert names(find_recordings([tmp_path]), tmp_path) == [
        "B.ogg",
        "a.WAV",
        "b.wav",
        "inner/d.mp3",
        "inner/deep/c.Flac",
    ]


def test_hidden_files_and_folders_are_skipped_unless_named(tmp_path):
    touch(tmp_path, "x.wav", "._x.wav", ".Trashes/y.wav")
    touch(tmp_path, "$RECYCLE.BIN/S-1-5-21/$IABC.WAV", "System Volume Information/z.wav")
    assert names(find_recordings([tmp_path]), tmp_path) == ["x.wav"]
    assert names(find_recordings([tmp_path / "._x.wav"]), tmp_path) == ["._x.wav"]
    assert names(find_recordings([tmp_path / ".Trashes"]), tmp_path) == [".Trashes/y.wav"]


def test_named_files_are_taken_whatever_their_suffix_and_once(tmp_path, monkeypatch):
    touch(tmp_path, "x.dat", "y.wav")
    monkeypatch.chdir(tmp_path)
    assert find_recordings(["x.dat", ".", "./y.wav", tmp_path / "y.wav"]) == [Path("x.dat"), Path("y.wav")]
    assert find_recordings("x.dat") == [Path("x.dat")]


def test_missing_path(tmp_path):
    with pytest.raises(RecordingError, match=r"gone does not exist; check the path"):
        find_recordings([tmp_path, tmp_path / "gone"])


def test_path_that_the_system_refuses(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(RecordingError, match="File name too long"):
        find_recordings(tmp_path / ("x" * 300))
    with pytest.raises(RecordingError, match="loop cannot be opened: Too many levels of symbolic links"):
        is_folder(tmp_path / "loop")
    with pytest.raises(RecordingError, match="null byte"):
        is_folder("a\0.wav")
    assert is_folder(tmp_path)


def test_all_paths_are_checked_before_any_is_searched(tmp_path, caplog):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingError, match="gone does not exist"):
        find_recordings([tmp_path / "empty", tmp_path / "gone"])
    assert caplog.messages == []


def test_folder_named_like_a_recording_is_reported_and_searched(tmp_path, caplog):
    touch(tmp_path, "x.wav/inner.wav", "y.wav")
    with caplog.at_level(logging.WARNING, "NatureLM.audio"):
        found = find_recordings([tmp_path])
    assert names(found, tmp_path) == ["x.wav/inner.wav", "y.wav"]
    assert caplog.messages == [f"{tmp_path / 'x.wav'} is a folder, not a recording; it is searched."]


def test_what_cannot_be_read_is_reported(tmp_path, caplog):
    touch(tmp_path, "call.m4a", "song.M4A", "other.wma")
    with caplog.at_level(logging.WARNING, "NatureLM.audio"):
        assert find_recordings([tmp_path]) == []
    assert caplog.messages == [
        f"{tmp_path} holds audio that cannot be read (2 .m4a, 1 .wma); convert it to WAV or FLAC.",
        f"{tmp_path} holds no recordings.",
    ]


@pytest.mark.skipif(os.name == "nt", reason="links need privileges on Windows")
def test_links_are_followed_once_and_loops_end(tmp_path):
    touch(tmp_path, "z/x.wav")
    touch(tmp_path.parent / f"{tmp_path.name}_elsewhere", "y.wav")
    (tmp_path / "z" / "up").symlink_to(tmp_path)
    (tmp_path / "a_link_to_z").symlink_to(tmp_path / "z")
    (tmp_path / "far").symlink_to(tmp_path.parent / f"{tmp_path.name}_elsewhere")
    (tmp_path / "self.wav").symlink_to(tmp_path / "self.wav")
    (tmp_path / "broken.wav").symlink_to(tmp_path / "gone")
    assert names(find_recordings([tmp_path]), tmp_path) == ["broken.wav", "far/y.wav", "self.wav", "z/x.wav"]


@pytest.mark.skipif(os.name == "nt", reason="names on Windows are text")
def test_names_that_are_no_text_survive(tmp_path):
    folder = os.fsencode(tmp_path)
    for name in (b"two\nlines.wav", b"caf\xe9.wav"):
        with open(os.path.join(folder, name), "wb"):
            pass
    assert {os.fsencode(path.name) for path in find_recordings([tmp_path])} == {
        b"two\nlines.wav",
        b"caf\xe9.wav",
    }


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions of POSIX systems")
def test_closed_folders(tmp_path, caplog):
    touch(tmp_path, "open/x.wav", "closed/y.wav")
    tmp_path.chmod(0o755)
    (tmp_path / "closed").chmod(0)
    user = os.geteuid()
    # Folders that pytest closes to others, one more of them where tests run in several processes.
    reachable = [folder for folder in (tmp_path, *tmp_path.parents) if "pytest-" in str(folder)]
    modes = [folder.stat().st_mode for folder in reachable]
    if user == 0:  # root opens everything, so search as nobody
        for folder in reachable:
            folder.chmod(0o755)
        os.seteuid(65534)
    try:
        with caplog.at_level(logging.WARNING, "NatureLM.audio"):
            assert names(find_recordings([tmp_path]), tmp_path) == ["open/x.wav"]
        assert caplog.messages == [f"{tmp_path / 'closed'} cannot be searched: Permission denied."]
        with pytest.raises(RecordingError, match="closed cannot be searched: Permission denied"):
            find_recordings([tmp_path / "closed"])
    finally:
        os.seteuid(user)
        for folder, mode in zip(reachable, modes, strict=True):
            folder.chmod(mode & 0o7777)
        (tmp_path / "closed").chmod(0o755)
