"""What a run of the benchmark shows where standard error is no terminal."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from NatureLM.beans_zero.results import Results
from NatureLM.beans_zero.run import Run
from NatureLM.beans_zero.scoring import Score
from NatureLM.cli import beans_display
from NatureLM.infer.answers import Failure
from NatureLM.infer.engine import Finished, Opened


def test_each_component_has_a_line_when_it_is_done_and_failures_are_said_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with beans_display.Display() as display:
        display.planned([Path("cbi/a"), Path("cbi/b"), Path("watkins/1/2")])
        display.happened(0, Opened("cbi/a", 10.0))
        display.happened(0, Finished("cbi/a"))
        display.happened(1, Failure("cbi/b", "cbi/b (row 1): its audio is null."))
        display.happened(2, Finished("watkins/1/2"))
    assert capsys.readouterr().err.splitlines() == [
        "failed: cbi/b (row 1): its audio is null.",
        "cbi: 2 rows done, 1 failed",
        "watkins: 1 row done",
    ]


def test_now_and_then_the_time_left_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(beans_display.time, "monotonic", lambda: now)
    with beans_display.Display() as display:
        display.planned([Path(f"cbi/{number}") for number in range(100)])
        for number in range(25):
            now += 2.0
            display.happened(number, Finished(f"cbi/{number}"))
    assert capsys.readouterr().err == "cbi: 16 of 100 rows, 0:02:48 left\n"


def test_the_last_lines_say_what_is_left_out_and_where_the_files_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = Results("m", {"cbi": Score(9), "esc50": Score(0, problem="none")}, {"predictions": "a.jsonl"})
    metrics = (Path("a_metrics.json"), Path("a_metrics.jsonl"))
    failed = Counter({"cbi": 1, "esc50": 2})
    beans_display.Display().close_with(Run(results, metrics, 12, 4, failed, Path("a.jsonl.failures.jsonl")))
    assert capsys.readouterr().err.splitlines() == [
        "cbi: 1 of 10 rows failed and are left out of its figures.",
        "12 rows, 3 failed (a.jsonl.failures.jsonl), 4 done before; predictions in a.jsonl, metrics in "
        "a_metrics.json and a_metrics.jsonl",
    ]
