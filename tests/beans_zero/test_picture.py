import sys
from pathlib import Path

import pytest

from NatureLM.beans_zero.picture import check_picture, draw
from NatureLM.beans_zero.results import Results
from NatureLM.beans_zero.scoring import Score
from NatureLM.errors import ConfigError

RESULTS = [
    Results("one", {"esc50": Score(4, {"Accuracy": 0.5}, {"Accuracy": (0.6, 0.75)})}),
    Results("two", {"captioning": Score(4, {"CIDEr": 2.0}), "cbi": Score(1, problem="broken.")}),
]


def test_pictures_are_drawn_and_the_same_each_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("a.png", "b.png", "a.svg", "b.svg"):
        check_picture(tmp_path / name)
        draw(RESULTS, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    drawn = (tmp_path / "a.svg").read_text()
    assert "esc50 (Accuracy)" in drawn
    assert "captioning (CIDEr/10)" in drawn
    assert "cbi" not in drawn
    assert len(list(tmp_path.iterdir())) == 4


def test_dollars_in_a_name_are_no_formula(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw([Results("a $x_$ b", {"esc50": Score(4, {"Accuracy": 0.5})})], tmp_path / "a.svg")
    assert "a $x_$ b" in (tmp_path / "a.svg").read_text()


def test_other_formats_are_bad_usage() -> None:
    with pytest.raises(
        ConfigError, match=r"--picture a\.pdf: pictures are \.png or \.svg; let the name end so"
    ):
        check_picture(Path("a.pdf"))


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match="--picture needs matplotlib, which is not installed: pip install"):
        check_picture(Path("a.png"))
