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


def test_metrics_that_cannot_be_written_name_their_file(tmp_path: Path) -> None:
    paths = metrics_paths(tmp_path / "a.csv", tmp_path / "missing" / "b.json")
    with pytest.raises(NatureLMError, match=r"missing/b\.json: cannot be written \(No such file"):
        write_results(Results("m", {}), paths)
