"""SPICE of captions, by the program of its authors (Anderson et al. 2016, ECCV; arXiv:1607.08822).

The one maintained Python package that wraps it (aac-metrics 0.6.0) did not install beside this one, so the
program itself is run: ``spice-1.0.jar`` with its folder ``lib``, under Java 8 to 13.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from NatureLM.errors import ConfigError, NatureLMError

__all__ = ["WITHOUT_SPICE", "check_spice", "spice"]

WITHOUT_SPICE = "SPICE needs Java and its authors' program; name that with --spice-jar"
"""Why SPICE and SPIDEr are skipped where nobody asked for them."""

_MEMORY = "-Xmx8G"
"""What its authors give the program: it loads Stanford CoreNLP's models."""


def check_spice(jar: Path) -> None:
    """Check that the program and Java are there.

    Raises
    ------
    ConfigError
        One is not.
    """
    if not jar.is_file():
        raise ConfigError(f"--spice-jar {jar}: no such file; give the spice-1.0.jar of SPICE's authors.")
    if shutil.which("java") is None:
        raise ConfigError(
            "--spice-jar: SPICE runs in Java, and there is no java here; install one (8 to 13)."
        )


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
        command = ["java", _MEMORY, "-jar", str(jar), str(asked), "-out", str(answered), "-subset", "-silent"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        try:
            scores = {
                row["image_id"]: float(row["scores"]["All"]["f"]) for row in json.loads(answered.read_bytes())
            }
            return [scores[place] for place in range(len(rows))]
        except (OSError, ValueError, LookupError, TypeError):
            said_last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise NatureLMError(
                f"SPICE failed with exit status {done.returncode} ({said_last}); Java 8 to 13 runs it."
            ) from None
