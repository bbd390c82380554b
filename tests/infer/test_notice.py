from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from NatureLM.infer.notice import show_licence_once

if TYPE_CHECKING:
    from NatureLM.models import NatureLM


def test_licence_is_said_once_on_one_line_of_standard_error(
    model: NatureLM, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_licence_once(model, tmp_path / "data")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    for named in ("CC BY-NC-SA 4.0", "BirdNET", "Cornell", "Chemnitz University of Technology", "Apache-2.0"):
        assert named in captured.err
    assert not show_licence_once(model, tmp_path / "data")
    assert capsys.readouterr().err == ""


def test_place_that_cannot_be_written_is_no_error(
    model: NatureLM, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert show_licence_once(model, tmp_path / "file" / "data")
    assert capsys.readouterr().err.count("\n") == 1
