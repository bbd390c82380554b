import os
import sys
from pathlib import Path

import pytest

from NatureLM.beans_zero.spice import check_spice, spice
from NatureLM.errors import ConfigError, NatureLMError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="stands in for java with a script")


@pytest.fixture
def jar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for Java and SPICE, which scores captions that equal their reference 1 and the others 0."""
    java = tmp_path / "java"
    java.write_text(
        f"#!{sys.executable}\n"
        "import json, sys\n"
        "rows = json.load(open(sys.argv[4]))\n"
        "if rows[0]['test'] == 'fail': sys.exit('first line\\nno memory')\n"
        "scores = [{'image_id': row['image_id'], 'scores': {'All': {'f': float(row['test'] in row['refs'])}}}"
        " for row in reversed(rows)]\n"
        "json.dump(scores, open(sys.argv[sys.argv.index('-out') + 1], 'w'))\n"
    )
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "spice-1.0.jar").touch()
    return tmp_path / "spice-1.0.jar"


def test_scores_come_back_in_the_order_of_the_captions(jar: Path) -> None:
    check_spice(jar)
    assert spice(["a frog", "a dog"], ["a frog", "a bird"], jar) == [1.0, 0.0]


def test_a_failure_shows_what_the_program_said_last(jar: Path) -> None:
    with pytest.raises(NatureLMError) as error:
        spice(["fail"], ["a"], jar)
    assert str(error.value) == "SPICE failed with exit status 1 (no memory); Java 8 to 13 runs it."


def test_what_is_missing_is_named(jar: Path) -> None:
    with pytest.raises(ConfigError, match=r"--spice-jar none\.jar: no such file; give the spice-1\.0\.jar"):
        check_spice(Path("none.jar"))
    (jar.parent / "java").unlink()
    with pytest.raises(ConfigError, match="there is no java here; install one"):
        check_spice(jar)
