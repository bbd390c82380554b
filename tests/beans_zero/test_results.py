import json
from pathlib import Path

import pytest

from NatureLM.beans_zero.results import Results, metrics_paths, read_results, write_results
from NatureLM.beans_zero.scoring import Score
from NatureLM.errors import ConfigError, NatureLMError, PredictionsError

SCORES = {
    "esc50": Score(4, {"Accuracy": 0.5}, {"Accuracy": (0.25, 0.75)}),
    "captioning": Score(2, {"CIDEr": 1.5}, {}, {"SPIDEr": "no Java"}),
    "nope": Score(1, problem="unknown."),
}


def test_both_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    paths = metrics_paths(tmp_path / "beans_zero_eval.jsonl")
    assert [path.name for path in paths] == ["beans_zero_eval_metrics.json", "beans_zero_eval_metrics.jsonl"]
    write_results(Results("mine", SCORES, {"seed": 0}), paths)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    whole, lines = read_results([paths[0]])[0], read_results([paths[1]])[0]
    assert whole == Results("mine", SCORES, {"model": "mine", "seed": 0})
    assert lines == Results("mine", SCORES, {"model": "mine"})


def test_metrics_stand_where_the_benchmarks_own_program_puts_them(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_results(Results("mine", SCORES), (path, tmp_path / "a.jsonl"))
    assert json.loads(path.read_text())["esc50"] == {
        "Accuracy": 0.5,
        "rows": 4,
        "intervals": {"Accuracy": [0.25, 0.75]},
    }


def test_files_of_the_benchmarks_own_program_are_read(tmp_path: Path) -> None:
    path = tmp_path / "theirs_metrics.json"
    path.write_text('{"esc50": {"Accuracy": 0.5}, "captioning": {"spider_score": 0.4}}')
    (found,) = read_results([path])
    assert found.model == "theirs"
    assert found.scores["captioning"].metrics == {"SPIDEr": 0.4}


def test_models_of_one_name_are_told_apart_by_their_files(tmp_path: Path) -> None:
    for name in "ab":
        write_results(Results("mine", SCORES), (tmp_path / f"{name}.json", tmp_path / f"{name}.jsonl"))
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    assert [each.model for each in read_results(paths)] == [f"mine ({path})" for path in paths]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "a JSON list stands where an object should"),
        ('{"esc50": 1}', "a JSON int stands where an object should"),
        ("{}", "it has no component"),
        (
            '{"about": {"model": {"a": 1}}, "esc50": {"Accuracy": 0.5, "rows": 2}}',
            "model is a JSON dict where text should stand",
        ),
        (
            '{"esc50": {"Accuracy": 0.5, "rows": Infinity}}',
            "rows is inf where a whole number should stand",
        ),
        ('{"esc50": {"rows": NaN}}', "rows is nan where a whole number should stand"),
        ('{"esc50": {"rows": 2.5}}', "rows is 2.5 where a whole number should stand"),
        ('{"esc50": {"rows": -1}}', "rows is -1.0 where a whole number should stand"),
        ('{"esc50": {"rows": "2"}}', "rows is a JSON str where a number should stand"),
        ('{"esc50": {"rows": true}}', "rows is a JSON bool where a number should stand"),
        ('{"esc50": {"Accuracy": null}}', "Accuracy is a JSON NoneType where a number should stand"),
        ('{"esc50": {"Accuracy": 1' + "0" * 400 + "}}", "Accuracy is too large a number"),
        (
            '{"esc50": {"Accuracy": 0.5, "rows": 2, "skipped": {"a": {"x": 1}}}}',
            "skipped a is a JSON dict where text should stand",
        ),
        ('{"esc50": {"skipped": "all"}}', "a JSON str stands where an object should"),
        ('{"esc50": {"problem": {"a": 1}}}', "problem is a JSON dict where text should stand"),
        ('{"esc50": {"intervals": {"F1": [0.1]}}}', "the interval of F1 is not a pair of numbers"),
        ('{"esc50": {"intervals": {"F1": "ab"}}}', "the interval of F1 is not a pair of numbers"),
        ('{"esc50": {"intervals": {"F1": [0.1, {}]}}}', "F1 is a JSON dict where a number should stand"),
        ("[" * 100_000, "it is nested too deeply"),
        ('{"esc50": {"rows": ' + "1" * 5_000 + "}}", "a number in it has too many digits"),
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (
            '{"esk50": {"Accuracy": 1}}',
            "'esk50' is not a component of BEANS-Zero; the nearest is 'esc50' (beans info lists all)",
        ),
    ],
)
def test_other_files_are_refused(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text(text)
    with pytest.raises(PredictionsError) as error:
        read_results([Path("a.json")])
    assert (
        str(error.value) == f"a.json: is not a file of metrics ({reason}); name one that beans score wrote."
    )


def test_a_missing_file_is_bad_usage() -> None:
    with pytest.raises(
        ConfigError, match=r"none\.json: no such file; name a file of metrics that beans score"
    ):
        read_results([Path("none.json")])


def test_the_name_of_metrics_ends_in_json() -> None:
    assert metrics_paths(Path("a.csv"), Path("b.json")) == (Path("b.json"), Path("b.jsonl"))
    with pytest.raises(
        ConfigError, match=r"--output-path b\.txt: metrics are written as JSON; let the name end"
    ):
        metrics_paths(Path("a.csv"), Path("b.txt"))


@pytest.mark.parametrize("folder", [".", "/"])
def test_a_folder_is_no_file_of_predictions(folder: str) -> None:
    with pytest.raises(ConfigError, match=r"is a folder; name a file of predictions"):
        metrics_paths(Path(folder))


def test_lines_of_odd_metrics_are_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "a_metrics.jsonl"
    path.write_text('{"component": "esc50", "model": ["a"], "Accuracy": 0.5, "rows": 2}\n')
    with pytest.raises(PredictionsError, match="model is a JSON list where text should stand"):
        read_results([path])


def test_rows_and_a_model_may_be_missing_and_rows_be_written_as_a_float(tmp_path: Path) -> None:
    path = tmp_path / "a_metrics.json"
    path.write_text('{"about": {"model": null}, "esc50": {"Accuracy": NaN, "rows": 2.0}, "cbi": {}}')
    (found,) = read_results([path])
    assert found.model == "a"
    assert (found.scores["esc50"].rows, found.scores["cbi"].rows) == (2, 0)


@pytest.mark.parametrize(
    ("predictions", "output", "second"),
    [
        ("q.jsonl", "q.json", "q.jsonl"),
        ("q.jsonl", "folder/../q.JSON", "folder/../q.jsonl"),
        ("{here}/q.jsonl", "q.json", "q.jsonl"),
        ("q.jsonl", "{here}/q.json", "{here}/q.jsonl"),
        ("link.jsonl", "q.json", "q.jsonl"),
        ("q.jsonl", "link.json", "link.jsonl"),
        ("q.jsonl", "Q/q.json", "Q/q.jsonl"),
        ("q.csv", "table.json", "table.jsonl"),
        ("new.jsonl", "Q/new.json", "Q/new.jsonl"),
    ],
)
def test_metrics_never_take_the_name_of_their_predictions(
    predictions: str, output: str, second: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("q.jsonl", "q.csv"):
        Path(name).touch()
    Path("folder").mkdir()
    Path("link.jsonl").symlink_to("q.jsonl")
    Path("table.json").symlink_to("q.csv")
    Path("Q").symlink_to(tmp_path, target_is_directory=True)
    predictions, output, second = (text.format(here=tmp_path) for text in (predictions, output, second))
    with pytest.raises(ConfigError) as error:
        metrics_paths(Path(predictions), Path(output))
    assert str(error.value) == (
        f"Writing {output} and {second} would overwrite the predictions in {predictions}; "
        "choose another --output-path."
    )


def test_a_link_that_leads_to_the_default_name_is_seen(tmp_path: Path) -> None:
    (tmp_path / "q_metrics.jsonl").touch()
    (tmp_path / "q.jsonl").symlink_to("q_metrics.jsonl")
    with pytest.raises(ConfigError, match=r"would overwrite the predictions in .*q\.jsonl; choose another"):
        metrics_paths(tmp_path / "q.jsonl")
    assert metrics_paths(tmp_path / "q_metrics.jsonl")[1] == tmp_path / "q_metrics_metrics.jsonl"


def test_metrics_that_cannot_be_written_name_their_file(tmp_path: Path) -> None:
    paths = metrics_paths(tmp_path / "a.csv", tmp_path / "missing" / "b.json")
    with pytest.raises(NatureLMError, match=r"missing/b\.json: cannot be written \(No such file"):
        write_results(Results("m", {}), paths)
