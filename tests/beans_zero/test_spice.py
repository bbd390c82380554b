import os
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from NatureLM.beans_zero.spice import check_spice, spice
from NatureLM.errors import ConfigError, NatureLMError

MANIFEST = (
    "Manifest-Version: 1.0\r\n"
    "Class-Path: lib/corenlp-3.6.0.jar lib/coren\r\n lp-3.6.0-models.jar\r\n"
    "Main-Class: edu.anu.spice.SpiceScorer\r\n"
)
pytestmark = pytest.mark.skipif(os.name == "nt", reason="stands in for java with a script")


@pytest.fixture
def jar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for Java and SPICE, which scores captions that equal their reference 1 and the others 0."""
    java = tmp_path / "java"
    java.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        "if sys.argv[1] == '-version':\n"
        "    sys.exit('openjdk version \"' + os.environ.get('JAVA_IS', '1.8.0_402') + '\"\\n')\n"
        "rows = json.load(open(sys.argv[4]))\n"
        "if rows[0]['test'] == 'fail':\n"
        "    sys.exit('Parsing\\nCaused by: OutOfMemoryError: heap\\n\\tat a.Error.b(C)\\n\\t... 3 more')\n"
        "scores = [{'image_id': row['image_id'], 'scores': {'All': {'f': float(row['test'] in row['refs'])}}}"
        " for row in reversed(rows)]\n"
        "json.dump(scores, open(sys.argv[sys.argv.index('-out') + 1], 'w'))\n"
    )
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with ZipFile(tmp_path / "spice-1.0.jar", "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", MANIFEST)
    (tmp_path / "lib").mkdir()
    for name in ("corenlp-3.6.0.jar", "corenlp-3.6.0-models.jar"):
        (tmp_path / "lib" / name).touch()
    return tmp_path / "spice-1.0.jar"


def test_scores_come_back_in_the_order_of_the_captions(jar: Path) -> None:
    check_spice(jar)
    assert spice(["a frog", "a dog"], ["a frog", "a bird"], jar) == [1.0, 0.0]


def test_a_failure_shows_what_the_program_said_last(jar: Path) -> None:
    with pytest.raises(NatureLMError) as error:
        spice(["fail"], ["a"], jar)
    assert str(error.value) == (
        "SPICE failed with exit status 1 (Caused by: OutOfMemoryError: heap); Java 8 to 14 runs it, "
        "with 8G of memory."
    )


def test_what_is_missing_is_named(jar: Path) -> None:
    with pytest.raises(ConfigError, match=r"--spice-jar none\.jar: no such file; give the spice-1\.0\.jar"):
        check_spice(Path("none.jar"))
    (jar.parent / "text.jar").write_text("no zip")
    with pytest.raises(ConfigError, match=r"text\.jar: is no Java program; give the spice-1\.0\.jar"):
        check_spice(jar.parent / "text.jar")
    (jar.parent / "java").unlink()
    with pytest.raises(ConfigError, match="there is no java here; install one"):
        check_spice(jar)
    (jar.parent / "lib" / "corenlp-3.6.0-models.jar").unlink()
    with pytest.raises(
        ConfigError, match=r"in lib, there is no corenlp-3\.6\.0-models\.jar; SPICE's get_stanford"
    ):
        check_spice(jar)


def test_a_java_that_cannot_run_it_is_named(jar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_IS", "14.0.2")
    check_spice(jar)
    monkeypatch.setenv("JAVA_IS", "17.0.15")
    with pytest.raises(ConfigError, match="java is version 17 here, and SPICE runs in 8 to 14"):
        check_spice(jar)
