"""What ``naturelm infer`` shows on a terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from NatureLM.cli.display import Display
from NatureLM.infer.engine import BegunAnew, Finished, Opened

FOCAL = "What is the common name for the focal species in the audio?"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
def test_terminal_shows_progress_beneath_the_answers(
    folder: Path, noise: Path, environment: dict[str, str]
) -> None:
    import pty

    ours, terminal = pty.openpty()
    arguments = ["infer", "--audio-path", str(noise), "--query", FOCAL]
    with subprocess.Popen(
        [sys.executable, "-m", "NatureLM.cli.main", *arguments],
        cwd=folder,
        env={**environment, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        shown = read_all(ours)
    assert process.returncode == 0, shown
    progress = re.findall(r"(\d)/1 files (\d+\.\d\d) h audio, (\d+)x real time", shown)
    assert [files for files, _, _ in progress][:: len(progress) - 1] == ["0", "1"]
    assert "\x1b[2K" in shown  # lines of progress are wiped away, answers stay
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    answers = re.findall(r"noise\.wav, (#\S+ - \S+#): ", plain)
    assert answers == ["#0.00s - 10.00s#", "#10.00s - 12.00s#"]
    assert re.search(r"1 recording, 2 windows; .* results in inference_output\.jsonl$", plain.rstrip())


def test_a_recording_begun_anew_is_counted_once(tmp_path: Path) -> None:
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for path in paths:
        path.write_bytes(bytes(1000))
    with Display(show_answers=False) as display:
        display.planned(paths)
        for event in (Opened("a.wav", 10.0), BegunAnew("a.wav"), Finished("a.wav")):
            display.happened(0, event)
        display.happened(1, Opened("b.wav", 10.0))
        display.happened(1, Finished("b.wav"))
        (task,) = display._progress.tasks
        assert (task.fields["files"], task.completed, task.total) == ("2/2", 2000, 2000)


def read_all(descriptor: int) -> str:
    """Return what a terminal was sent until the last program left it."""
    pieces = []
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # Linux: nobody holds the other end any more
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(descriptor)
    return b"".join(pieces).decode()
