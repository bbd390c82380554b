import pytest

from NatureLM.beans_zero.overview import everything, one
from NatureLM.errors import ConfigError


def test_a_line_per_component() -> None:
    lines = everything().splitlines()
    assert lines[0].split() == ["component", "task", "labels", "audio", "metric", "paper"]
    assert lines[2].split() == ["watkins", "classification", "31", "3", "s", "Accuracy", "0.788"]
    assert len(lines) == 23


def test_everything_about_one() -> None:
    assert one("gibbons") == (
        "gibbons\n"
        "  task           detection\n"
        "  recordings     calls of Hainan gibbons; licence: CC-BY-NC-SA\n"
        "  longest audio  none named, cut and padded to 10 s\n"
        "  question       each row's own instruction\n"
        "  metric         F1; NatureLM-audio's in the paper: 0.005\n"
        "  4 labels       Gibbon duet; Multiple pulse gibbon call; None; Single pulse gibbon call\n"
    )
    assert "labels" not in one("captioning")


def test_unknown() -> None:
    with pytest.raises(ConfigError):
        one("x")
