"""``beans``, its run and its commands, as they are called."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from NatureLM.cli import beans as module
from NatureLM.cli.running import run

ROWS = [
    {"prediction": "dogs", "label": "dog", "dataset_name": "esc50", "id": "1"},
    {"prediction": "cat", "label": "dog", "dataset_name": "esc50", "id": "2"},
    {"prediction": "cat", "label": "cat", "dataset_name": "esc50", "id": "3"},
]


def beans(*arguments: str) -> int:
    return run(module.app, "beans", arguments)


@pytest.fixture(autouse=True)
def in_a_folder_with_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("beans_zero_eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))


def test_score_writes_both_files_and_shows_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert beans("score", "beans_zero_eval.jsonl", "--model", "mine") == 0
    shown = capsys.readouterr()
    assert "esc50" in shown.out
    assert shown.out.endswith("Metrics in beans_zero_eval_metrics.json and beans_zero_eval_metrics.jsonl.\n")
    assert shown.err == ""
    metrics = json.loads(Path("beans_zero_eval_metrics.json").read_text())
    assert metrics["esc50"]["Accuracy"] == pytest.approx(2 / 3)
    assert metrics["esc50"]["intervals"]["Accuracy"] == pytest.approx([0.0, 1.0])
    assert metrics["about"] == {
        "model": "mine",
        "predictions": "beans_zero_eval.jsonl",
        "labels": "present",
        "resamples": 1000,
        "seed": 0,
        "version": "0.1.0",
    }
    (line,) = Path("beans_zero_eval_metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["component"] == "esc50"


def test_scoring_twice_gives_the_same_file() -> None:
    read = []
    for _ in range(2):
        assert beans("score", "beans_zero_eval.jsonl", "--output-path", "m.json", "--resamples", "100") == 0
        read.append(Path("m.json").read_bytes())
    assert read[0] == read[1]


def test_what_cannot_be_scored_is_shown_and_the_status_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    with Path("beans_zero_eval.jsonl").open("a") as rows:
        rows.write(json.dumps({**ROWS[0], "dataset_name": "watkin"}) + "\n")
        rows.write(json.dumps({**ROWS[0], "label": "None", "dataset_name": "gibbons"}) + "\n")
    assert beans("score", "beans_zero_eval.jsonl", "--resamples", "0") == 1
    assert capsys.readouterr().err == (
        "gibbons: not scored: every true label is None, so there is nothing to detect.\n"
        "watkin: not scored: 'watkin' is not a component of BEANS-Zero; the nearest is 'watkins' "
        "(beans info lists all).\n"
    )
    metrics = json.loads(Path("beans_zero_eval_metrics.json").read_text())
    assert metrics["esc50"]["Accuracy"] == pytest.approx(2 / 3)
    assert metrics["gibbons"] == {
        "rows": 1,
        "problem": "every true label is None, so there is nothing to detect.",
    }


def test_all_labels_of_the_component(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.csv").write_text("prediction,label,dataset_name\ncow,cat,esc50\n")
    assert beans("score", "a.csv") == 0
    assert beans("score", "a.csv", "--labels", "component", "--output-path", "b.json") == 0
    accuracies = [
        json.loads(Path(name).read_text())["esc50"]["Accuracy"] for name in ("a_metrics.json", "b.json")
    ]
    assert accuracies == [1.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ["score", "none.jsonl"],
            2,
            "none.jsonl: no such file; name a file of predictions (.jsonl or .csv).",
        ),
        (["score", "a.txt"], 2, "a.txt: predictions are read from .jsonl or .csv; name such a file."),
        (["score", "empty.jsonl"], 1, "empty.jsonl: holds no predictions; there is nothing to score."),
        (
            ["score", "beans_zero_eval.jsonl", "--output-path", "x.csv"],
            2,
            "--output-path x.csv: metrics are written as JSON; let the name end in .json.",
        ),
        (
            ["score", "beans_zero_eval.jsonl", "--output-path", "beans_zero_eval.json"],
            2,
            "Writing beans_zero_eval.json and beans_zero_eval.jsonl would overwrite the predictions in "
            "beans_zero_eval.jsonl; choose another --output-path.",
        ),
        (
            ["score", "digits.jsonl"],
            1,
            "digits.jsonl, line 1: is not JSON (a number in it has too many digits)",
        ),
        (["score", "deep.jsonl"], 1, "deep.jsonl, line 1: is not JSON (it is nested too deeply); each line"),
        (
            ["report", "odd.json"],
            1,
            "odd.json: is not a file of metrics (skipped a is a JSON dict where text should stand); name one",
        ),
        (["report", "deep.jsonl"], 1, "deep.jsonl: is not a file of metrics (it is nested too deeply); name"),
        (
            ["--data-path", "rows.jsonl", "--output-path", "rows.jsonl", "--overwrite"],
            2,
            "Writing rows.jsonl, rows_metrics.json and rows_metrics.jsonl would overwrite the rows in "
            "rows.jsonl; choose another --output-path.",
        ),
        (
            ["score", "beans_zero_eval.jsonl", "--output-path", "missing/x.json"],
            1,
            "missing/x.json: cannot be written (No such file or directory).",
        ),
        (
            ["score", "beans_zero_eval.jsonl", "--spice-jar", "none.jar"],
            2,
            "--spice-jar none.jar: no such file; give the spice-1.0.jar of SPICE's authors.",
        ),
        (
            ["score", "beans_zero_eval.jsonl", "--labels", "all"],
            2,
            "Invalid value for '--labels': ",
        ),
        (
            ["info", "esc5"],
            2,
            "'esc5' is not a component of BEANS-Zero; the nearest is 'esc50' (beans info lists all).",
        ),
        (
            ["report", "none.json"],
            2,
            "none.json: no such file; name a file of metrics that beans score wrote.",
        ),
        (
            ["report", "none.json", "--picture", "x.gif"],
            2,
            "--picture x.gif: pictures are .png or .svg; let the name end so.",
        ),
        (
            ["--data-path", "x", "score", "beans_zero_eval.jsonl"],
            2,
            "--data-path before score belongs to the run; leave it out, or see beans score --help.",
        ),
        (["scor", "x"], 2, "No such command 'scor'."),
        (["--data-path", "none"], 2, "--data-path none: does not exist; expected a hub id, a folder that"),
        (["--data-path", "../none"], 2, "--data-path ../none: does not exist; expected a hub id, a folder"),
        (
            ["--data-path", "rows.jsonl", "--components", "", "--output-path", "new.jsonl"],
            2,
            "--components '': there must be a name on either side of a comma, as in esc50,watkins; leave",
        ),
        (
            ["--data-path", "rows.jsonl", "--options", "silence_db=-60", "--output-path", "new.jsonl"],
            2,
            "--options silence_db: the benchmark says how rows are heard; leave it out.",
        ),
        (["--data-path", "a.csv", "--output-path", "b.csv"], 2, "--output-path b.csv: predictions are JSON"),
        (
            ["--data-path", "rows.jsonl", "--components", "esc5", "--output-path", "new.jsonl"],
            2,
            "'esc5' is not a component of BEANS-Zero; the nearest is 'esc50' (beans info lists all).",
        ),
        (
            ["--data-path", "rows.jsonl", "--components", "esc50, watkins", "--output-path", "new.jsonl"],
            2,
            "--components watkins: rows.jsonl holds no row of it; of those asked for there are esc50.",
        ),
        (
            ["--data-path", "rows.jsonl"],
            2,
            "--output-path beans_zero_eval.jsonl: exists already; choose another name, or replace it",
        ),
        (
            ["--data-path", "rows.jsonl", "--limit", "0"],
            2,
            "Invalid value for '--limit': ",
        ),
        (
            ["--data-path", "rows.jsonl", "--options", "generation.beams=2", "--output-path", "new.jsonl"],
            2,
            "command line: unknown key 'generation.beams'; the nearest known key is 'generation.num_beams'.",
        ),
        (
            ["--data-path", "rows.jsonl", "--cfg-path", "falls_back.yml", "--output-path", "new.jsonl"],
            1,
            "There is no model folder './no-model'; give 'bundled', an existing folder",
        ),
    ],
)
def test_bad_usage_and_bad_files_are_one_line(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty.jsonl").touch()
    Path("digits.jsonl").write_text(json.dumps(ROWS[0]).replace('"1"', "1" * 5_000) + "\n")
    Path("deep.jsonl").write_text("[" * 100_000 + "\n")
    Path("odd.json").write_text('{"esc50": {"Accuracy": 0.5, "rows": 2, "skipped": {"a": {"x": 1}}}}')
    Path("falls_back.yml").write_text("model: ./no-model\nfallback: bundled\n")
    row = {"dataset_name": "esc50", "output": "rain", "instruction": "What is it?", "audio": "rain.wav"}
    Path("rows.jsonl").write_text(json.dumps(row) + "\n")
    assert beans(*arguments) == status
    error = capsys.readouterr().err.removeprefix("Reading which rows rows.jsonl holds ...\n")
    assert error.startswith(f"beans: error: {message}")
    assert error.count("\n") == 1
    assert not list(Path().glob("*metrics*"))
    assert [json.loads(line) for line in Path("beans_zero_eval.jsonl").read_text().splitlines()] == ROWS
    assert json.loads(Path("rows.jsonl").read_text()) == row


def test_metrics_of_a_run_do_not_overwrite_its_rows(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"dataset_name": "esc50", "output": "rain", "instruction": "What is it?", "audio": "rain.wav"}
    Path("new_metrics.jsonl").write_text(json.dumps(row) + "\n")
    assert beans("--data-path", "new_metrics.jsonl", "--output-path", "new.jsonl") == 2
    assert capsys.readouterr().err == (
        "beans: error: Writing new.jsonl, new_metrics.json and new_metrics.jsonl would overwrite the rows "
        "in new_metrics.jsonl; choose another --output-path.\n"
    )
    assert json.loads(Path("new_metrics.jsonl").read_text()) == row
    assert not Path("new.jsonl").exists()


def test_metrics_replace_nothing_but_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    others = json.dumps(ROWS[0]) + "\n"
    Path("other.jsonl").write_text(others)
    assert beans("score", "beans_zero_eval.jsonl", "--output-path", "other.json") == 2
    assert capsys.readouterr().err == (
        "beans: error: other.jsonl: exists already and holds something else than metrics; choose another "
        "--output-path.\n"
    )
    assert Path("other.jsonl").read_text() == others and not Path("other.json").exists()
    Path("list.json").write_text("[1]")
    assert beans("score", "beans_zero_eval.jsonl", "--output-path", "list.json") == 2
    for _ in range(2):
        assert beans("score", "beans_zero_eval.jsonl", "--output-path", "m.json", "--resamples", "0") == 0


def test_score_keeps_what_the_record_of_the_run_says(capsys: pytest.CaptureFixture[str]) -> None:
    record = {"benchmark": "BEANS-Zero", "data_path": "rows.jsonl", "limit": 2, "model": {"name": "lite"}}
    Path("beans_zero_eval.jsonl.run.json").write_text(json.dumps(record))
    limit = "at most 2 rows a component (--limit); the paper's figures are of all."
    assert beans("score", "beans_zero_eval.jsonl", "--resamples", "0", "--labels", "component") == 0
    assert limit in capsys.readouterr().err
    about = json.loads(Path("beans_zero_eval_metrics.json").read_text())["about"]
    assert (about["model"], about["data_path"], about["limit"]) == ("lite", "rows.jsonl", 2)
    for ending in (".json", ".jsonl"):
        assert beans("report", f"beans_zero_eval_metrics{ending}") == 0
        shown = capsys.readouterr()
        assert limit in shown.err and "lite" in shown.out
    for other in ("{}", "[]", '{"benchmark": "BEANS-Zero", "model": 1}'):
        Path("beans_zero_eval.jsonl.run.json").write_text(other)
        assert beans("score", "beans_zero_eval.jsonl", "--resamples", "0") == 0
        about = json.loads(Path("beans_zero_eval_metrics.json").read_text())["about"]
        assert about["model"] == "beans_zero_eval" and "limit" not in about


def test_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert beans("score", "beans_zero_eval.jsonl", "--model", "mine", "--resamples", "0") == 0
    capsys.readouterr()
    assert beans("report", "beans_zero_eval_metrics.json", "--format", "csv") == 0
    assert capsys.readouterr().out.splitlines()[1] == (
        "esc50,classification,Accuracy,0.82,mine,0.6666666666666666,,,3"
    )
    assert beans("report", "beans_zero_eval_metrics.jsonl", "--format", "markdown") == 0
    assert "| esc50 | Accuracy | 0.820 | 0.667 |" in capsys.readouterr().out
    assert beans("report", "beans_zero_eval_metrics.json") == 0
    assert "Accuracy" in capsys.readouterr().out


def test_report_with_a_picture(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert beans("score", "beans_zero_eval.jsonl", "--resamples", "50") == 0
    assert beans("report", "beans_zero_eval_metrics.json", "--picture", "a.svg") == 0
    assert capsys.readouterr().err == "Picture in a.svg.\n"
    assert Path("a.svg").read_text().startswith("<?xml")


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert beans("info") == 0
    assert len(capsys.readouterr().out.splitlines()) == 23
    assert beans("info", "watkins") == 0
    assert "Fin, Finback Whale" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", [["--help"], ["score", "--help"], ["report", "--help"], ["info", "cbi"]])
def test_heavy_packages_are_not_imported_before_they_are_needed(
    command: list[str], imported: Callable[..., set[str]]
) -> None:
    names = imported("NatureLM.cli.beans", *command)
    assert "typer" in names
    assert names.isdisjoint({"torch", "numpy", "rapidfuzz", "matplotlib", "rich"})


def test_a_hundred_thousand_rows_take_seconds() -> None:
    names = ["call", "song"]
    with Path("many.jsonl").open("w") as rows:
        for number in range(100_000):
            said = names[number % 3 == 0] + "s" * (number % 5)
            row = {"prediction": said, "label": names[number % 2], "dataset_name": "call-type", "id": number}
            rows.write(json.dumps(row) + "\n")
    before = os.times()
    assert beans("score", "many.jsonl") == 0
    after = os.times()
    assert after.user - before.user < 20.0
    low, high = json.loads(Path("many_metrics.json").read_text())["call-type"]["intervals"]["Accuracy"]
    assert 0.0 < high - low < 0.01
