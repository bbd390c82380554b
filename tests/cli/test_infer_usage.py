"""Bad usage of ``naturelm infer``: refused in one line, before any model is loaded."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from NatureLM.cli import main
from NatureLM.cli.running import run


@pytest.fixture(autouse=True)
def in_a_folder_with_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", np.zeros(16000, dtype=np.float32), 16000)
    Path("empty").mkdir()
    Path("existing.jsonl").write_text("precious\n")
    # Loading a model would take seconds; whoever asks for one here has gone too far.
    monkeypatch.setitem(sys.modules, "NatureLM.models.loading", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--audio-path", "a.wav"], "give --query, for example --query"),
        (["--audio-path", "a.wav", "--query", " "], "give --query"),
        (["--query", "Which?"], "give --audio-path"),
        (["--audio-path", "none.wav", "--query", "Which?"], "--audio-path: none.wav does not exist"),
        (["--audio-path", "x" * 300, "--query", "Which?"], "cannot be opened: File name too long"),
        (["--audio-path", "empty", "--query", "Which?"], "--audio-path empty: no recordings in there"),
        (["--audio-path", "a.wav", "--query", "Which?", "--batch-size", "0"], "--batch-size"),
        (["--audio-path", "a.wav", "--query", "Which?", "--min-evidence", "2"], "--min-evidence"),
        (["--audio-path", "a.wav", "--query", "Which?", "--silence-db", "60"], "--silence-db"),
        (["--audio-path", "a.wav", "--query", "Which?", "--min-confidence", "2"], "--min-confidence"),
        (["--audio-path", "a.wav", "--query", "Which?", "--candidates", "no.txt"], "no.txt: no such file"),
        (["--audio-path", "a.wav", "--query", "Which?", "--candidates", ","], "holds no name"),
        (["--audio-path", "a.wav", "--query", "Which?", "--known-names", "no.txt"], "no.txt: no such file"),
        (["--audio-path", "a.wav", "--query", "Which?", "--top-k", "3"], "--top-k is for the scores"),
        (["--audio-path", "a.wav", "--query", "Which?", "--lat", "3"], "go together; give both"),
        (["--audio-path", "a.wav", "--query", "Which?", "--lat", "3", "--lon", "181"], "'--lon'"),
        (["--audio-path", "a.wav", "--query", "Which?", "--week", "3"], "need a place"),
        (["--audio-path", "a.wav", "--query", "Which?", "--week", "0"], "week 0: expected 1 to 48"),
        (
            ["--audio-path", "a.wav", "--query", "Which?", "--date", "17.5."],
            "date 17.5.: expected a day as YYYY-MM-DD",
        ),
        (["--audio-path", "a.wav", "--query", "Which?", "--device", "tpu"], "'tpu' is not one of"),
        (["--audio-path", "a.wav", "--query", "Which?", "--channel", "left"], "channel is 'left'"),
        (["--audio-path", "a.wav", "--query", "Which?", "--hop-length-seconds", "0"], "hop_length_seconds"),
        (
            ["--audio-path", "a.wav", "--query", "Which?", "--window-length-seconds", "x"],
            "--window-length-seconds",
        ),
        (
            ["--audio-path", "a.wav", "--query", "Which?", "--strict", "--allow-fallback"],
            "exclude each other",
        ),
        (["--audio-path", "a.wav", "--query", "Which?", "generation.num_beam=1"], "'generation.num_beams'"),
        (["--audio-path", "a.wav", "--query", "Which?", "--cfg-path", "no.yml"], "no.yml: no such"),
        (["--audio-path", "a.wav", "--query", "Which?", "--cfg-path", "x" * 300], "File name too long"),
        (
            ["--audio-path", "a.wav", "--query", "Which?", "--output-path", "x" * 300 + ".jsonl"],
            "cannot be written (File name too long)",
        ),
        (["--audio-path", "a.wav", "--query", "Which?", "--output-path", "x.xls"], "x.xls: results are"),
        (["--audio-path", "a.wav", "--query", "Which?", "--format", "ravn"], "did you mean raven?"),
        (["--audio-path", "a.wav", "--query", "Which?", "--long"], "--long is for csv and parquet"),
        (
            ["--audio-path", "a.wav", "--query", "Which?", "--output-path", "-", "--format", "csv"],
            "--output-path -: standard output takes jsonl only",
        ),
        (
            ["--audio-path", "a.wav", "--query", "Which?", "--output-path", "x.csv", "--format", "jsonl"],
            "x.csv: ends like csv, but --format says jsonl",
        ),
        (
            [
                "--audio-path",
                "a.wav",
                "--query",
                "Which?",
                "--output-path",
                "existing",
                "--format",
                "jsonl,csv",
            ],
            "existing.jsonl: exists already",
        ),
        (
            ["--audio-path", "a.wav", "--query", "Which?", "--output-path", "existing.jsonl"],
            "existing.jsonl: exists already; choose another name, or replace it with --overwrite",
        ),
    ],
)
def test_bad_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main.app, "naturelm", ["infer", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    last = captured.err.splitlines()[-1]
    assert last.startswith("naturelm: error: ")
    assert message in last
    assert Path("existing.jsonl").read_text() == "precious\n"
    assert not Path("inference_output.jsonl").exists()
