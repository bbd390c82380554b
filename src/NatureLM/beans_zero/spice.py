"""SPICE of captions, by the program of its authors (Anderson et al. 2016, ECCV; arXiv:1607.08822).

The one maintained Python package that wraps it (aac-metrics 0.6.0) did not install beside this one, so the
program itself is run: ``spice-1.0.jar`` with its folder ``lib``, under Java 8 to 14.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile

from NatureLM.errors import ConfigError, NatureLMError

__all__ = ["WITHOUT_SPICE", "check_spice", "spice"]

WITHOUT_SPICE = "SPICE needs Java and its authors' program; name that with --spice-jar"
"""Why SPICE and SPIDEr are skipped where nobody asked for them."""

_MEMORY = "-Xmx8G"
"""What its authors give the program: it loads Stanford CoreNLP's models."""

_LAST_JAVA = 14
"""SPICE has Java's JavaScript engine write its scores, which Java 15 no longer has (JEP 372)."""


def check_spice(jar: Path) -> None:
    """Check, before minutes of work, that the program, its libraries and a Java that runs it are there.

    Raises
    ------
    ConfigError
        One is not.
    """
    if not jar.is_file():
        raise ConfigError(f"--spice-jar {jar}: no such file; give the spice-1.0.jar of SPICE's authors.")
    missing = [name for name in _libraries(jar) if not jar.with_name("lib").joinpath(name).is_file()]
    if missing:
        raise ConfigError(
            f"--spice-jar {jar}: beside it, in lib, there is no {' and no '.join(missing)}; "
            "SPICE's get_stanford_models.sh fetches Stanford CoreNLP 3.6.0, the rest comes with SPICE."
        )
    if shutil.which("java") is None:
        raise ConfigError(
            f"--spice-jar: SPICE runs in Java, and there is no java here; install one (8 to {_LAST_JAVA})."
        )
    version = _java_version()
    if version is not None and version > _LAST_JAVA:
        raise ConfigError(
            f"--spice-jar: java is version {version} here, and SPICE runs in 8 to {_LAST_JAVA}; put such a "
            "one first on the path."
        )


def _libraries(jar: Path) -> list[str]:
    """Return the names of the files in ``lib`` that the program loads."""
    try:
        with ZipFile(jar) as opened:
            manifest = opened.read("META-INF/MANIFEST.MF").decode("utf-8", "replace")
    except (OSError, BadZipFile, KeyError):
        raise ConfigError(
            f"--spice-jar {jar}: is no Java program; give the spice-1.0.jar of SPICE's authors."
        ) from None
    unfolded = re.sub(r"\r?\n ", "", manifest)  # lines of a manifest go on behind a space
    found = re.search(r"^Class-Path: (.*)$", unfolded, re.MULTILINE)
    return [Path(name).name for name in found[1].split()] if found else []


def _java_version() -> int | None:
    """Return the main version of ``java``, 8 for "1.8.0_402"; None if it does not say."""
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, errors="replace").stderr
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found[1]) if found else None


def spice(predictions: Sequence[str], references: Sequence[str], jar: Path) -> list[float]:
    """Return the SPICE of each caption, from 0 to 1.

    Raises
    ------
    NatureLMError
        The program failed.
    """
    rows = [
        {"image_id": place, "test": said, "refs": [true]}
        for place, (said, true) in enumerate(zip(predictions, references, strict=True))
    ]
    with TemporaryDirectory() as folder:
        asked, answered = Path(folder, "captions.json"), Path(folder, "scores.json")
        asked.write_text(json.dumps(rows), encoding="utf-8")
        command = ["java", _MEMORY, "-jar", str(jar), str(asked), "-out", str(answered), "-silent"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        try:
            scores = {
                row["image_id"]: float(row["scores"]["All"]["f"]) for row in json.loads(answered.read_bytes())
            }
            return [scores[place] for place in range(len(rows))]
        except (OSError, ValueError, LookupError, TypeError):
            raise NatureLMError(
                f"SPICE failed with exit status {done.returncode} ({_reason(done.stderr)}); Java 8 to "
                f"{_LAST_JAVA} runs it, with {_MEMORY.removeprefix('-Xmx')} of memory."
            ) from None


def _reason(said: str) -> str:
    """Return what a Java program says of its failure: the last exception, without the calls before it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    named = [line for line in lines if re.search(r"(Exception|Error)\b", line) and not line.startswith("at ")]
    return (named or lines or ["it said nothing"])[-1]
