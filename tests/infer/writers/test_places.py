from __future__ import annotations

import ntpath
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from NatureLM.infer.writers import places
from NatureLM.infer.writers.places import Header, Place, common_folder, place_of, read_header


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_recordings_lie_beneath_the_folder_that_they_share(tmp_path: Path) -> None:
    paths = ["card1/june/a.wav", os.fspath(tmp_path / "card1" / "b.wav"), "card1/july/c.wav"]
    root = common_folder(paths)
    assert root == os.fspath(tmp_path / "card1")
    assert place_of(paths[0], root) == Place(root, "june", "a.wav")
    assert place_of(paths[1], root) == Place(root, "", "b.wav")


def test_folders_that_share_nothing_are_named_from_the_top() -> None:
    place = place_of(os.path.join(os.sep, "cards", "one", "a.wav"), "")
    assert place == Place(os.sep, os.path.join("cards", "one"), "a.wav")
    assert common_folder([]) == ""


def test_drives_of_windows_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "os", SimpleNamespace(path=ntpath, sep="\\", curdir="."))
    paths = ["E:\\DATA\\a.wav", "F:\\DATA\\a.wav", "\\\\nas\\bats\\june\\a.wav"]
    assert common_folder(paths[:2]) == ""
    assert [place_of(path, "") for path in paths] == [
        Place("E:\\", "DATA", "a.wav", "E"),
        Place("F:\\", "DATA", "a.wav", "F"),
        Place("\\\\nas\\bats\\", "june", "a.wav", "nas_bats"),
    ]
    assert place_of(paths[0], "E:\\") == Place("E:\\", "DATA", "a.wav")


def test_header_of_a_recording_and_of_one_that_is_gone(make_noise: Callable[..., Path]) -> None:
    path = make_noise("bat.wav", 0.5, sample_rate=192000)
    assert read_header("bat.wav") == Header(os.fspath(path), 96000.0, 0.5)
    assert read_header("gone.wav") == Header("gone.wav", 24000.0, None)


def test_a_recording_that_was_replaced_is_asked_again(make_noise: Callable[..., Path]) -> None:
    make_noise("bat.wav", 0.5, 192_000)
    assert read_header("bat.wav").nyquist_hz == 96_000.0
    make_noise("bat.wav", 2.0, 48_000)
    again = read_header("bat.wav")
    assert (again.nyquist_hz, again.duration_seconds) == (24_000.0, 2.0)
