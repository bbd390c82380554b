"""Files written from Python are those of the command line."""

from __future__ import annotations

import inspect
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import typer.main

from NatureLM.cli.main import app
from NatureLM.cli.running import run
from NatureLM.errors import ConfigError, RecordingError
from NatureLM.infer import Pipeline
from NatureLM.infer.writers import write_tables

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

ROOT = Path(__file__).parents[2]
LIST = "What are the common names for the species in the audio, if any?"
FLEETING = ("started_at", "finished_at", "waiting_for_audio_share", "asked")


def contents(stem: str) -> dict[str, Any]:
    """What lies in the files of a run, without the times at which it ran."""
    found: dict[str, Any] = {}
    for path in sorted(Path().glob(f"{stem}.*")):
        name = path.name.removeprefix(stem)
        if name.endswith(".journal"):
            continue  # it names the files
        if name.endswith(".run.json"):
            record = json.loads(path.read_text())
            found[name] = {key: value for key, value in record.items() if key not in FLEETING}
        elif path.is_dir():
            found[name] = {str(each.relative_to(path)): each.read_text() for each in path.rglob("*.txt")}
        else:
            found[name] = path.read_bytes()
    return found


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_files_are_those_of_the_command_line(
    make_noise: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    for number, seconds in ((1, 3.0), (2, 6.0)):
        make_noise(f"card/{number}.wav", seconds, seed=number)
    Path("card/text.wav").write_text("no sound")
    words = ["--audio-path", "card", "--query", LIST, "--output-path", "typed", "--format", "jsonl,csv,raven"]
    words += ["--window-length-seconds", "4", "--hop-length-seconds", "2", "--silence-db", "-50", "--long"]
    words += ["--time-expansion", "2", "--device", "cpu", "--min-evidence", "0.4", "generation.seed=3"]
    assert run(app, "naturelm", ["infer", *words]) == 1

    pipeline = Pipeline(
        device="cpu", silence_db=-50, time_expansion=2, min_evidence=0.4, overrides=["generation.seed=3"]
    )
    with caplog.at_level(logging.INFO, "NatureLM.infer"):
        summary = pipeline.write("card", LIST, "coded", 4, 2, formats="jsonl,csv,raven", long=True)
    assert contents("coded") == contents("typed")
    again = pipeline.write("card", LIST, "coded", 4, 2, formats="jsonl,csv,raven", long=True)
    assert (again.reused, again.windows) == (2, 7), "only the damaged one is tried again"
    assert contents("coded") == contents("typed")
    assert (summary.recordings, summary.windows, summary.failures) == (3, 7, 1)
    assert summary.failures_path == Path("coded.jsonl.failures.jsonl")
    assert list(summary.outputs) == [Path("coded.jsonl"), Path("coded.csv"), Path("coded.raven")]
    assert "Model: naturelm-lite on cpu." in caplog.messages

    with pytest.raises(ConfigError, match=r"coded\.jsonl: .* is the journal of a run with other parameters"):
        pipeline.write("card", LIST, "coded", formats="jsonl")
    assert pipeline.write("card", LIST, "coded", formats="jsonl", overwrite=True).windows == 3


def test_strict_stops_and_keeps_the_answers_so_far(model: NatureLM, make_noise: Callable[..., Path]) -> None:
    paths = [Path(name) for name in ("a.wav", "b.wav", "c.wav")]
    for path in (paths[0], paths[2]):
        make_noise(path.name, 3.0)
    paths[1].write_text("no sound")
    with pytest.raises(RecordingError, match=r"stopped at the first recording that cannot be read .*b\.wav"):
        Pipeline(model=model, batch_size=1).write(paths, [LIST], "found.jsonl", strict=True)
    (row,) = Path("found.jsonl.partial").read_text().splitlines()
    assert json.loads(row)["audio_path"] == str(paths[0])


def test_samples_in_memory_are_for_write_tables(model: NatureLM) -> None:
    samples = np.zeros(16000, np.float32)
    with pytest.raises(ConfigError, match=r"pass Pipeline\.answers to write_tables"):
        Pipeline(model=model).write([samples], LIST, "found.jsonl")  # type: ignore[list-item]


def test_a_fallback_is_as_asked(tmp_path: Path) -> None:
    pipeline = Pipeline(model=str(tmp_path / "none"), overrides=["fallback=bundled"], device="cpu")
    assert pipeline.model.config.name == "naturelm-lite"


def test_every_option_of_the_command_line_has_its_counterpart() -> None:
    (command,) = (
        inner
        for name, inner in typer.main.get_command(app).commands.items()
        if name == "infer"  # type: ignore[attr-defined]
    )
    options = {each.opts[0] for each in command.params if each.opts[0].startswith("--")} - {"--help"}
    rows = re.findall(
        r"^\| `(--[a-z-]+|KEY=VALUE)[^|]*\|([^|]*)\|", (ROOT / "docs/python.md").read_text(), re.M
    )
    assert {name for name, _ in rows} == options | {"KEY=VALUE"}
    callables: dict[str, Callable[..., Any]] = {
        "Pipeline": Pipeline,
        "write": Pipeline.write,
        "to_dataframe": Pipeline.to_dataframe,
        "write_tables": write_tables,
    }
    for name, counterpart in rows:
        named = re.findall(r"`(?:pipeline\.)?(\w+)\((\w+)=", counterpart)
        assert named or name in ("--audio-path", "--query"), name
        for function, parameter in named:
            assert parameter in inspect.signature(callables[function]).parameters, (name, function)


def test_document_runs(make_noise: Callable[..., Path]) -> None:
    pytest.importorskip("pandas")
    make_noise("card1/a.wav", 3.0)
    make_noise("a.wav", 3.0)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.S)
    exec(compile(code, "python.md", "exec"), {})
    assert Path("june.csv").is_file() and Path("june.raven").is_dir()
