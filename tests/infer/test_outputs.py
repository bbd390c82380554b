import json
from pathlib import Path
from typing import Any

import pytest

from NatureLM.errors import ConfigError
from NatureLM.infer.answers import Answer, Failure
from NatureLM.infer.outputs import RunFiles, move_aside

ANSWER = Answer("a.wav", "mix", 0.0, 10.0, "Which?", "Great Tit", 0.9, -0.1, "naturelm-lite")
FAILURE = Failure("b.wav", "b.wav is empty.")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def whole_run(parameters: dict[str, Any], *items: Answer | Failure, **options: Any) -> Path | None:
    files = RunFiles(**options)
    moved = files.begin(parameters)
    for item in items:
        if isinstance(item, Answer):
            files.write_answer(item)
        else:
            files.write_failure(item)
    files.finish({"answers": files.answers})
    return moved


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def test_files_take_their_names_only_at_the_end() -> None:
    files = RunFiles()
    files.begin({"query": "Which?"})
    files.write_answer(ANSWER)
    assert not Path("inference_output.jsonl").exists()
    (unfinished,) = Path().glob("inference_output.jsonl.*.unfinished")
    assert json.loads(unfinished.read_text())["output"] == "Great Tit"
    files.write_failure(FAILURE)
    files.finish({"answers": 1})
    assert names() == [
        "inference_output.jsonl",
        "inference_output.jsonl.failures.jsonl",
        "inference_output.jsonl.run.json",
    ]
    run = json.loads(Path("inference_output.jsonl.run.json").read_text())
    assert run == {"query": "Which?", "answers": 1, "complete": True}
    failure = json.loads(Path("inference_output.jsonl.failures.jsonl").read_text())
    assert failure == {"audio_path": "b.wav", "reason": "b.wav is empty."}


def test_same_parameters_replace_the_default_output_and_its_old_failures() -> None:
    assert whole_run({"query": "Which?"}, ANSWER, FAILURE) is None
    assert whole_run({"query": "Which?"}, ANSWER, ANSWER) is None
    assert names() == ["inference_output.jsonl", "inference_output.jsonl.run.json"]
    assert len(Path("inference_output.jsonl").read_text().splitlines()) == 2


def test_other_parameters_move_the_default_output_aside() -> None:
    whole_run({"query": "Which?"}, ANSWER, FAILURE)
    moved = whole_run({"query": "How many?"}, ANSWER)
    assert moved == Path("inference_output.1.jsonl")
    assert names() == [
        "inference_output.1.jsonl",
        "inference_output.1.jsonl.failures.jsonl",
        "inference_output.1.jsonl.run.json",
        "inference_output.jsonl",
        "inference_output.jsonl.run.json",
    ]
    assert whole_run({"query": "Who?"}) == Path("inference_output.2.jsonl")


@pytest.mark.parametrize("run_file", [None, "{", "[1]"])
def test_default_output_of_unknown_origin_is_moved_aside(run_file: str | None) -> None:
    Path("inference_output.jsonl").write_text("precious\n")
    if run_file is not None:
        Path("inference_output.jsonl.run.json").write_text(run_file)
    assert whole_run({"query": "Which?"}, ANSWER) == Path("inference_output.1.jsonl")
    assert Path("inference_output.1.jsonl").read_text() == "precious\n"


def test_named_output_that_exists_is_refused_unless_overwritten() -> None:
    Path("mine.jsonl").write_text("precious\n")
    with pytest.raises(ConfigError, match=r"--output-path mine\.jsonl: exists already.*--overwrite"):
        RunFiles(Path("mine.jsonl"))
    whole_run({"query": "Which?"}, ANSWER, results=Path("mine.jsonl"), overwrite=True)
    assert "Great Tit" in Path("mine.jsonl").read_text()


def test_overwritten_output_stays_until_the_run_is_finished() -> None:
    Path("mine.jsonl").write_text("precious\n")
    files = RunFiles(Path("mine.jsonl"), overwrite=True)
    files.begin({})
    files.write_answer(ANSWER)
    assert Path("mine.jsonl").read_text() == "precious\n"
    assert files.keep_partial({}) == Path("mine.jsonl.partial")
    assert Path("mine.jsonl").read_text() == "precious\n"


def test_missing_folders_are_made() -> None:
    whole_run({}, ANSWER, results=Path("year/june.jsonl"))
    assert Path("year/june.jsonl").exists()


def test_places_that_cannot_be_written_are_refused() -> None:
    Path("folder.jsonl").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        RunFiles(Path("folder.jsonl"))
    Path("file").write_text("")
    with pytest.raises(ConfigError, match="no folder that can be written to"):
        RunFiles(Path("file/out.jsonl"))


def test_stopped_run_keeps_what_it_has_and_an_earlier_partial() -> None:
    for output in ("first", "second"):
        files = RunFiles()
        files.begin({"query": output})
        files.write_answer(ANSWER)
        assert files.keep_partial({"answers": 1}) == Path("inference_output.jsonl.partial")
    assert names() == [
        "inference_output.jsonl.1.partial",
        "inference_output.jsonl.1.partial.run.json",
        "inference_output.jsonl.partial",
        "inference_output.jsonl.partial.run.json",
    ]
    assert json.loads(Path("inference_output.jsonl.partial.run.json").read_text()) == {
        "query": "second",
        "answers": 1,
        "complete": False,
    }


def test_stopped_run_without_answers_leaves_nothing() -> None:
    files = RunFiles()
    files.begin({})
    assert files.keep_partial({}) is None
    assert names() == []


def test_move_aside_takes_a_number_that_no_companion_has() -> None:
    Path("out.jsonl").write_text("")
    Path("out.1.jsonl.run.json").write_text("{}")
    assert move_aside(Path("out.jsonl")) == Path("out.2.jsonl")
