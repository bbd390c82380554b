import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from NatureLM.cli import beans, main
from NatureLM.cli.running import run

REPOSITORY = Path(__file__).parents[2]


def naturelm(*arguments: str) -> int:
    return run(main.app, "naturelm", arguments)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert naturelm("--version") == 0
    assert capsys.readouterr().out == "naturelm 0.1.0\n"
    assert run(beans.app, "beans", ["--version"]) == 0
    assert capsys.readouterr().out == "beans 0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "example"),
    [
        (["--help"], "naturelm infer --audio-path assets"),
        (["infer", "--help"], "--window-length-seconds 10.0 --hop-length-seconds 10.0"),
        (["train", "--help"], "naturelm train --cfg-path configs/train_bundled.yml"),
        (["setup", "--help"], "naturelm setup"),
        (["species", "--help"], "naturelm species --latitude 42.5 --longitude -76.5 --week 20"),
    ],
)
def test_help_shows_examples(arguments: list[str], example: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert naturelm(*arguments) == 0
    assert example in capsys.readouterr().out


def test_help_of_beans_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(beans.app, "beans", ["--help"]) == 0
    assert "beans --cfg-path configs/inference.yml --data-path" in capsys.readouterr().out


def test_beans_alone_does_not_begin_with_the_whole_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(beans.app, "beans", []) == 2
    assert capsys.readouterr().err == (
        "beans: error: Nothing to run on: give --data-path, EarthSpeciesProject/BEANS-Zero or a copy of it. "
        "See beans --help.\n"
    )


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert naturelm() == 2
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "naturelm: error: No such command 'nothing'. See naturelm --help."),
        (["train"], "naturelm: error: Missing option '--cfg-path'. See naturelm train --help."),
        (["train", "--cfg-path", "none.yml"], "naturelm: error: none.yml: no such configuration file"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert naturelm(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_help_answers_without_heavy_imports(imported: Callable[..., set[str]]) -> None:
    names = imported("NatureLM.cli.main", "--help")
    assert "typer" in names
    assert names.isdisjoint({"torch", "transformers", "numpy", "soundfile", "pydantic"})


@pytest.mark.skipif(os.name == "nt", reason="counts the processor time of child processes")
@pytest.mark.parametrize("module", ["NatureLM.cli.main", "NatureLM.cli.beans"])
def test_help_answers_in_half_a_second_of_processor_time(module: str) -> None:
    def seconds() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, check=True)
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])  # user and system time of children

    assert 0.0 < min(seconds() for _ in range(5)) < 0.5


@pytest.mark.parametrize(
    ("script", "shown"), [("infer.py", "--audio-path"), ("beans_zero_inference.py", "--data-path")]
)
def test_root_scripts_are_the_commands(script: str, shown: str) -> None:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / script), "--help"], capture_output=True, text=True, check=True
    )
    assert shown in done.stdout
