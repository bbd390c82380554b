from pathlib import Path

import pytest

from NatureLM.calibration.report import paths_for
from NatureLM.errors import ConfigError


def test_a_calibration_lies_beside_the_reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths_for(Path("reviewed.csv"), None, overwrite=False) == (
        Path("reviewed.calibration.json"),
        Path("reviewed.calibration.png"),
    )
    (tmp_path / "june.raven" / "card1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "june.raven")
    assert paths_for(Path("."), None, overwrite=False)[0] == tmp_path / "june.calibration.json"
    monkeypatch.chdir("card1")
    assert paths_for(Path(".."), None, overwrite=False)[0] == tmp_path / "june.calibration.json"
    assert paths_for(Path("."), Path("a.json"), overwrite=False)[0] == Path("a.json")


def test_what_has_no_name_and_what_is_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"/: has no name to call the calibration by; give --output-path"):
        paths_for(Path("/"), None, overwrite=False)
    (tmp_path / "a.calibration.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"a\.calibration\.json: exists already"):
        paths_for(tmp_path / "a.csv", None, overwrite=False)
    assert paths_for(tmp_path / "a.csv", None, overwrite=True)[0] == tmp_path / "a.calibration.json"
    with pytest.raises(ConfigError, match=r"--output-path a\.txt: a calibration is JSON"):
        paths_for(tmp_path / "a.csv", Path("a.txt"), overwrite=True)
