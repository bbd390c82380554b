"""Several processes give what one does."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from NatureLM.cli import main
from NatureLM.cli.running import run
from NatureLM.errors import NatureLMError
from NatureLM.infer.fingerprint import model_fingerprint
from NatureLM.infer.worker_process import Setup
from NatureLM.infer.workers import Workers
from NatureLM.models.answering import AnswerSettings

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

ASSETS = Path(__file__).parents[2] / "assets"
FOCAL = "What is the common name for the focal species in the audio?"


@pytest.fixture(autouse=True)
def in_a_folder_with_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_two_processes_give_the_rows_and_the_journal_of_one(
    model: NatureLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("dawn_25s.ogg", "great_tit.ogg", "rain.ogg", "boreal_owl.flac"):
        shutil.copy(ASSETS / name, name)
    Path("bad.wav").write_text("no sound")
    command = ["infer", "--audio-path", ".", "--query", FOCAL, "--query", "Caption the audio"]
    command += ["--window-length-seconds", "5", "--batch-size", "2", "--format", "jsonl,csv"]
    command += ["--candidates", "Great Tit, Boreal Owl"]
    with monkeypatch.context() as here:
        here.setattr("NatureLM.models.loading.load_model", lambda *_: model)
        here.setattr(model, "requested_as", "bundled", raising=False)
        assert run(main.app, "naturelm", [*command, "--output-path", "one"]) == 1
    assert run(main.app, "naturelm", [*command, "--output-path", "two", "--workers", "2"]) == 1
    for ending in (".jsonl", ".csv", ".jsonl.failures.jsonl"):
        assert Path(f"one{ending}").read_bytes() == Path(f"two{ending}").read_bytes()
    one, two = (Path(f"{stem}.jsonl.journal").read_bytes().splitlines() for stem in ("one", "two"))
    assert one[:-1] == two[:-1] and len(one) > 4
    # The last line has the tables' times of change.
    assert json.loads(one[-1])["tables"] == ["one.csv", "one.jsonl"] and b"stamps" in two[-1]
    assert len(Path("two.jsonl").read_text().splitlines()) == 2 * (5 + 2 + 2 + 2)
    record = json.loads(Path("two.jsonl.run.json").read_text())
    assert record["device"] == "cpu, cpu" and record["complete"]


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_worker_that_dies_is_one_sentence(model: NatureLM) -> None:
    setup = Setup("bundled", "", None, None, None, 1, AnswerSettings(), 4)
    workers = Workers(setup, ["cpu"], model_fingerprint(model))
    try:
        assert workers.has_idle
        os.kill(workers._processes[0].pid, signal.SIGKILL)
        job = workers.submit([], [])
        with pytest.raises(NatureLMError, match=r"^worker 1 of 1 \(cpu\) was ended by SIGKILL; what was"):
            job.result(timeout=60)
    finally:
        workers.close()


def test_worker_without_the_model_is_one_sentence() -> None:
    setup = Setup("no/such/folder/anywhere", "", None, None, None, 1, AnswerSettings(), 4)
    with pytest.raises(NatureLMError, match=r"^worker 1 of 1 \(cpu\): .*no/such/folder/anywhere"):
        Workers(setup, ["cpu"], "0" * 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "--workers"),
        (["--workers", "2", "--devices", "cuda:0,cuda:1"], "--workers and --devices exclude each other"),
        (
            ["--workers", "2", "--device", "cuda"],
            "--workers is for CPUs; for several GPUs name them with --dev",
        ),
        (["--device", "cpu", "--devices", "cuda:0"], "--device cpu and --devices exclude each other"),
        (["--devices", ","], "--devices ,: expected devices with commas between, for example cuda:0,cuda:1"),
        (["--devices", "cuda:0,cuda:0"], "names cuda:0 twice"),
    ],
)
def test_bad_usage(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["infer", "--audio-path", str(ASSETS), "--query", FOCAL, *options]
    assert run(main.app, "naturelm", command) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not list(Path().iterdir())
