"""What the README tells a reader to type does what it shows."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from NatureLM.cli.main import main

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if kind == "bash" for line in text.splitlines()]
ANSWER = re.compile(r"#\d+\.\d\ds - \d+\.\d\ds#: .*?(?=  \(|$)", flags=re.MULTILINE)


RunHere = Callable[[Callable[[], object], Path], Any]


def arguments_of(command: str) -> list[str]:
    """Return the arguments of a README command's `naturelm ...` part."""
    return shlex.split(command[command.index("naturelm ") :])[1:]


def run_naturelm(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a README command with this Python's own `naturelm`, without network and the user's own data."""
    home = folder.parent / "home"
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(home / "no-models-here"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CACHE_HOME": str(home / "cache"),
    }
    return subprocess.run(
        [Path(sys.executable).with_name("naturelm"), *arguments_of(command)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def run_python(code: str) -> None:
    """Run code as ``python -c`` does."""
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README's commands name."""
    here = tmp_path_factory.mktemp("reader") / "checkout"
    here.mkdir()
    shutil.copytree(REPOSITORY / "assets", here / "assets")
    shutil.copytree(REPOSITORY / "configs", here / "configs")
    return here


def test_the_first_command_prints_and_writes_what_the_readme_shows(folder: Path) -> None:
    (command,) = [line for line in COMMANDS if line.startswith("pip install -e . && naturelm")]
    done = run_naturelm(command, folder)
    assert done.returncode == 0, done.stderr
    shown = next(text for kind, text in BLOCKS if kind == "text")
    assert ANSWER.findall(done.stdout) == ANSWER.findall(shown)
    assert len(ANSWER.findall(shown)) >= 10
    row = json.loads(next(text for kind, text in BLOCKS if kind == "text" and text.startswith("{")))
    written = [json.loads(line) for line in (folder / "inference_output.jsonl").read_text().splitlines()]
    (same,) = [
        line
        for line in written
        if (line["audio_path"], line["start_seconds"]) == (row["audio_path"], row["start_seconds"])
    ]
    assert list(same) == list(row)
    assert same["output"] == row["output"]
    assert [found["common_name"] for found in same["detections"]] == [
        found["common_name"] for found in row["detections"]
    ]


def test_the_published_command_line_falls_back_with_a_warning(folder: Path, run_here: RunHere) -> None:
    (command,) = [line for line in COMMANDS if "--cfg-path configs/inference.yml" in line]
    assert command == (
        'naturelm infer --cfg-path configs/inference.yml --audio-path assets --query "Caption the audio" '
        "--window-length-seconds 10.0 --hop-length-seconds 10.0"
    )
    done = run_here(lambda: main(arguments_of(command)), folder)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "'EarthSpeciesProject/NatureLM-audio'" in warnings[0]
    assert "'bundled' answers instead" in warnings[0]
    assert "great_tit.ogg, #0.00s - 10.00s#: A recording of Great Tit." in done.stdout
    rows = [json.loads(line) for line in (folder / "inference_output.jsonl").read_text().splitlines()]
    assert {row["model"] for row in rows} == {"naturelm-lite"}


def test_the_python_example_prints_what_it_says(folder: Path, run_here: RunHere) -> None:
    code, _ = [text for kind, text in BLOCKS if kind == "python"]
    done = run_here(lambda: run_python(code), folder)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    assert "# " + printed[0] in code
    assert [line.split(" [")[0] for line in printed[1:]] == [
        "0.0 Northern Saw-whet Owl",
        "10.0 None",
        "20.0 Eastern Wood-Pewee",
    ]


def test_the_conversations_go_as_they_are_printed(folder: Path, run_here: RunHere) -> None:
    _, code = [text for kind, text in BLOCKS if kind == "python"]
    begin = "from NatureLM.infer import Pipeline\npipeline = Pipeline()\n"
    done = run_here(lambda: run_python(begin + code), folder)
    assert done.returncode == 0, done.stderr
    expected = re.findall(r"\.text\)  # (.*)", code)
    assert len(expected) == 5
    assert done.stdout.splitlines() == expected


def test_the_published_python_example(folder: Path, run_here: RunHere) -> None:
    # As upstream's README has it, but for the name of the file and the device.
    code = """
from NatureLM.models import NatureLM
from NatureLM.infer import Pipeline

model = NatureLM.from_pretrained("bundled")
model = model.eval().to("cpu")

audio_paths = ["assets/saw_whet_owl.WAV"]
queries = ["What is the common name for the focal species in the audio? Answer:"]

pipeline = Pipeline(model=model)
results = pipeline(audio_paths, queries, window_length_seconds=10.0, hop_length_seconds=10.0)
print(results)
"""
    done = run_here(lambda: run_python(code), folder)
    assert done.stdout.strip() == "['#0.00s - 10.00s#: Northern Saw-whet Owl\\n']", done.stderr


def test_root_scripts_call_the_command_line(
    folder: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--audio-path", "assets/rain.ogg", "--query", "Species?"]
    script = str(REPOSITORY / "infer.py")
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    done = run_here(lambda: runpy.run_path(script, run_name="__main__"), folder)
    assert done.returncode == 0, done.stderr
    assert "rain.ogg, #0.00s - 10.00s#: None" in done.stdout


def test_every_file_that_the_readme_links_to_exists() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (REPOSITORY / target).exists(), target
