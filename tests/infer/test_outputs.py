from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from NatureLM.errors import ConfigError, NatureLMError
from NatureLM.infer.answers import Answer, Failure
from NatureLM.infer.outputs import RunFiles, move_aside

ANSWER = Answer("a.wav", "mix", 0.0, 10.0, "Which?", "Great Tit", 0.9, -0.1, "naturelm-lite")
FAILURE = Failure("b.wav", "b.wav is empty.")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def whole_run(parameters: dict[str, Any], *items: Answer | Failure, **options: Any) -> Path | None:
    files = RunFiles(**options)
    files.begin(parameters)
    for item in items:
        if isinstance(item, Answer):
            files.write_answer(item)
        else:
            files.write_failure(item)
    return files.finish({"answers": files.answers})


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system refuse to write more than ``size`` bytes to any file, as it does on a full disk."""
    resource = pytest.importorskip("resource", reason="POSIX limits")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


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


def test_stopped_run_leaves_an_earlier_output_where_it_is() -> None:
    whole_run({"query": "Which?"}, ANSWER, FAILURE)
    before = {name: Path(name).read_bytes() for name in names()}
    files = RunFiles()
    files.begin({"query": "How many?"})
    assert files.keep_partial({}) is None
    assert {name: Path(name).read_bytes() for name in names()} == before
    files.begin({"query": "How many?"})
    files.write_answer(ANSWER)
    files.keep_partial({})
    assert {name: Path(name).read_bytes() for name in before} == before


def test_row_that_does_not_fit_is_an_error_and_the_rows_before_it_are_kept() -> None:
    files = RunFiles()
    files.begin({"query": "Which?"})
    row = len(json.dumps(ANSWER.as_row(), ensure_ascii=False)) + 1
    with files_of_at_most(2 * row + 10):
        files.write_answer(ANSWER)
        files.write_answer(ANSWER)
        with pytest.raises(NatureLMError, match=r"^cannot write inference_output\.jsonl \(File too large\)"):
            files.write_answer(ANSWER)
    assert files.keep_partial({"answers": files.answers}) == Path("inference_output.jsonl.partial")
    kept = [json.loads(line) for line in Path("inference_output.jsonl.partial").read_text().splitlines()]
    assert kept == [ANSWER.as_row(), ANSWER.as_row()]


def test_rows_outlive_a_record_of_the_run_that_does_not_fit() -> None:
    files = RunFiles()
    files.begin({"query": "Which?" * 1000})
    files.write_answer(ANSWER)
    files.write_failure(FAILURE)
    with files_of_at_most(1000):
        with pytest.raises(NatureLMError, match="cannot write inference_output"):
            files.finish({})
        assert files.keep_partial({}) == Path("inference_output.jsonl.partial")
    assert names() == ["inference_output.jsonl.partial", "inference_output.jsonl.partial.failures.jsonl"]
    assert json.loads(Path("inference_output.jsonl.partial").read_text())["output"] == "Great Tit"


def test_rows_that_cannot_be_renamed_stay_under_their_unfinished_name() -> None:
    files = RunFiles(Path("mine.jsonl"))
    files.begin({})
    files.write_answer(ANSWER)
    Path("mine.jsonl.partial.failures.jsonl").mkdir()  # in the way of this file only
    Path("mine.jsonl.partial.failures.jsonl", "full").touch()
    files.write_failure(FAILURE)
    assert files.keep_partial({}) == Path("mine.jsonl.partial")
    assert "b.wav is empty" in next(Path().glob("mine.jsonl.failures.jsonl.*.unfinished")).read_text()


def test_name_that_the_system_refuses_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"cannot be written \(File name too long\)"):
        RunFiles(Path("x" * 300 + ".jsonl"))
    with pytest.raises(ConfigError, match=r"cannot be written \(File name too long\)"):
        RunFiles(Path("x" * 300) / "out.jsonl")
    files = RunFiles(Path("x" * 245 + ".jsonl"))  # fits, but its unfinished name does not
    with pytest.raises(ConfigError, match=r"cannot be written \(File name too long\)"):
        files.begin({})
    assert files.keep_partial({}) is None
    assert names() == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions bind no administrator")
def test_folder_without_access_is_one_sentence() -> None:
    Path("closed").mkdir(mode=0o000)
    with pytest.raises(ConfigError, match=r"--output-path closed/out\.jsonl: .*(Permission|no folder)"):
        RunFiles(Path("closed/out.jsonl"))


def test_folder_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    code = (
        "import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
        "from NatureLM.errors import ConfigError\n"
        "from NatureLM.infer.outputs import RunFiles\n"
        "try:\n    RunFiles()\nexcept ConfigError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "inference_output.jsonl: cannot be written" in done.stdout, done.stderr


def test_move_aside_takes_a_number_that_no_companion_has() -> None:
    Path("out.jsonl").write_text("")
    Path("out.1.jsonl.run.json").write_text("{}")
    assert move_aside(Path("out.jsonl")) == Path("out.2.jsonl")


def test_named_csv_is_the_only_file_of_results() -> None:
    whole_run({"query": "Which?"}, ANSWER, FAILURE, results=Path("mine.csv"))
    assert names() == ["mine.csv", "mine.csv.failures.jsonl", "mine.csv.run.json"]
    assert Path("mine.csv").read_text().splitlines()[1] == (
        "a.wav,mix,0.0,10.0,Which?,Great Tit,0.9,-0.1,naturelm-lite,,,[]"
    )


def test_rows_are_written_as_jsonl_until_the_end_whatever_the_format() -> None:
    files = RunFiles(Path("mine.csv"))
    files.begin({})
    files.write_answer(ANSWER)
    assert names() == [f"mine.jsonl.{os.getpid()}.unfinished"]
    assert json.loads(Path(names()[0]).read_text())["output"] == "Great Tit"


def test_several_formats_are_one_output() -> None:
    whole_run({}, ANSWER, results=Path("mine"), formats="csv,jsonl,audacity")
    assert names() == ["mine.audacity", "mine.csv", "mine.jsonl", "mine.jsonl.run.json"]
    with pytest.raises(ConfigError, match=r"--output-path mine\.csv: exists already"):
        RunFiles(Path("mine"), "csv")
    whole_run({}, results=Path("mine"), formats="csv,jsonl,audacity", overwrite=True)
    assert Path("mine.jsonl").read_text() == "" and not list(Path("mine.audacity").iterdir())


def test_parameters_and_counts_are_in_parquet() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    whole_run({"query": "Which?"}, ANSWER, results=Path("mine.parquet"))
    metadata = json.loads(parquet.read_schema("mine.parquet").metadata[b"naturelm_run"])
    assert metadata == {"query": "Which?", "answers": 1, "complete": True}


def test_all_formats_of_a_default_output_move_aside_together() -> None:
    whole_run({"query": "Which?"}, ANSWER, formats="jsonl,csv,raven")
    assert whole_run({"query": "Which?"}, ANSWER, formats="jsonl,csv,raven") is None
    assert whole_run({"query": "How many?"}, ANSWER) == Path("inference_output.1.jsonl")
    assert names() == [
        "inference_output.1.csv",
        "inference_output.1.jsonl",
        "inference_output.1.jsonl.run.json",
        "inference_output.1.raven",
        "inference_output.jsonl",
        "inference_output.jsonl.run.json",
    ]


def test_stopped_run_keeps_every_format() -> None:
    for _ in range(2):
        files = RunFiles(Path("mine"), "jsonl,csv,raven")
        files.begin({})
        files.write_answer(ANSWER)
        assert files.keep_partial({}) == Path("mine.jsonl.partial")
    assert names() == [
        "mine.csv.1.partial",
        "mine.csv.partial",
        "mine.jsonl.1.partial",
        "mine.jsonl.1.partial.run.json",
        "mine.jsonl.partial",
        "mine.jsonl.partial.run.json",
        "mine.raven.1.partial",
        "mine.raven.partial",
    ]
    files = RunFiles(Path("other.csv"))
    files.begin({})
    files.write_answer(ANSWER)
    assert files.keep_partial({}) == Path("other.csv.partial")
    assert [name for name in names() if name.startswith("other")] == [
        "other.csv.partial",
        "other.csv.partial.run.json",
    ]


def test_table_that_does_not_fit_costs_no_row() -> None:
    files = RunFiles(Path("mine.csv"))
    files.begin({})
    files.write_answer(ANSWER)
    Path(f"mine.csv.{os.getpid()}.writing").mkdir()
    Path(f"mine.csv.{os.getpid()}.writing/full").touch()
    row = len(Path(f"mine.jsonl.{os.getpid()}.unfinished").read_bytes())
    for _ in range(5):
        files.write_answer(ANSWER)
    with files_of_at_most(row // 2):
        with pytest.raises(NatureLMError, match=r"^cannot write mine\.csv \(File too large\)"):
            files.finish({})
        assert files.keep_partial({}) == Path("mine.jsonl.partial")
    assert names()[0] == "mine.csv.partial.run.json" and names()[1:] == ["mine.jsonl.partial"]
    assert len(Path("mine.jsonl.partial").read_text().splitlines()) == 6


def test_interruption_while_tables_are_made_keeps_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    files = RunFiles(Path("mine"), "jsonl,csv")
    files.begin({})
    files.write_answer(ANSWER)
    monkeypatch.setattr("NatureLM.infer.outputs.write_unfinished", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.finish({})
    assert files.keep_partial({}) == Path("mine.jsonl.partial")
    assert names() == ["mine.jsonl.partial", "mine.jsonl.partial.run.json"]


def test_folder_and_file_are_not_taken_for_one_another() -> None:
    Path("mine.raven").touch()
    with pytest.raises(ConfigError, match=r"mine\.raven: is a file, but is to be a folder"):
        RunFiles(Path("mine.raven"), overwrite=True)
