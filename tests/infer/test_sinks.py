from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from NatureLM.errors import ConfigError, NatureLMError
from NatureLM.infer.answers import Answer
from NatureLM.infer.journal import Part
from NatureLM.infer.outputs import RunFiles
from NatureLM.infer.sinks import STANDARD_OUTPUT, open_sink

ANSWER = Answer("a.wav", "mix", 0.0, 10.0, "Which?", "Great Tit", 0.9, -0.1, "naturelm-lite")
PART = Part("a.wav", (1000, 1), windows=1, state="finished", rows=[ANSWER.as_row()])


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_rows_go_to_standard_output_and_nothing_else_anywhere(capfd: pytest.CaptureFixture[str]) -> None:
    sink = open_sink(STANDARD_OUTPUT, ("jsonl",))
    sink.begin({"query": "Which?"}, {"a.wav": (1000, 1), "b.wav": (0, 1)})
    assert sink.progress("a.wav").windows == 0
    sink.write([PART, Part("b.wav", (0, 1), state="failed", reason="b.wav is empty.")])
    shown = capfd.readouterr()
    assert json.loads(shown.out) == ANSWER.as_row() and shown.err == ""
    assert sink.finish({}) is None and sink.keep_partial({}) is None
    assert sink.windows == 1
    assert (sink.answers, sink.failures, sink.paths(), sink.failures_path()) == (1, 1, [], None)
    assert not list(Path().iterdir())


def test_reader_that_has_left_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        sink = open_sink(STANDARD_OUTPUT)
        sink.begin({}, {})
        with pytest.raises(NatureLMError, match=r"standard output takes no more rows \(Broken pipe\); name"):
            sink.write([PART])


@pytest.mark.parametrize("formats", ["csv", "jsonl,raven"])
def test_standard_output_takes_jsonl_only(formats: str) -> None:
    with pytest.raises(ConfigError, match="--output-path -: standard output takes jsonl only; leave out"):
        open_sink(STANDARD_OUTPUT, formats)


def test_all_else_is_files() -> None:
    assert isinstance(open_sink(None), RunFiles)
    assert open_sink(Path("out"), "csv,raven", merge_consecutive=True).paths() == [
        Path("out.csv"),
        Path("out.raven"),
    ]
