from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from NatureLM.errors import ConfigError, NatureLMError
from NatureLM.infer.answers import Answer, Failure
from NatureLM.infer.journal import Part
from NatureLM.infer.output_names import move_aside
from NatureLM.infer.outputs import RunFiles

ANSWER = Answer("a.wav", "mix", 0.0, 10.0, "Which?", "Great Tit", 0.9, -0.1, "naturelm-lite")
FAILURE = Failure("b.wav", "b.wav is empty.")
KEYS = {"a.wav": (1000, 1), "b.wav": (0, 1)}
JOURNAL = "inference_output.jsonl.journal"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def part(item: Answer | Failure) -> Part:
    if isinstance(item, Failure):
        return Part(item.audio_path, KEYS[item.audio_path], state="failed", reason=item.reason)
    return Part(item.audio_path, KEYS[item.audio_path], windows=1, rows=[item.as_row()])


def begun(parameters: dict[str, Any], *items: Answer | Failure, **options: Any) -> RunFiles:
    files = RunFiles(**options)
    files.begin(parameters, KEYS)
    for item in items:
        files.write([part(item)])
    return files


def whole_run(parameters: dict[str, Any], *items: Answer | Failure, **options: Any) -> Path | None:
    files = begun(parameters, *items, **options)
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
    files = begun({"query": "Which?"}, ANSWER)
    assert names() == [JOURNAL]
    assert json.loads(Path(JOURNAL).read_text().splitlines()[1])["parts"][0]["rows"] == [ANSWER.as_row()]
    files.write([part(FAILURE)])
    files.finish({"answers": 1, "started_at": "now"})
    assert names() == [
        "inference_output.jsonl",
        "inference_output.jsonl.failures.jsonl",
        JOURNAL,
        "inference_output.jsonl.run.json",
    ]
    run = json.loads(Path("inference_output.jsonl.run.json").read_text())
    assert run == {"query": "Which?", "answers": 1, "started_at": "now", "complete": True}
    failure = json.loads(Path("inference_output.jsonl.failures.jsonl").read_text())
    assert failure == {"audio_path": "b.wav", "reason": "b.wav is empty."}


@pytest.mark.parametrize("results", [None, Path("mine.jsonl")])
def test_same_parameters_go_on_and_replace_the_output_and_its_old_failures(results: Path | None) -> None:
    main = results or Path("inference_output.jsonl")
    assert whole_run({"query": "Which?"}, ANSWER, FAILURE, results=results) is None
    other = replace(ANSWER, audio_path="b.wav")
    assert whole_run({"query": "Which?"}, other, results=results) is None
    assert names() == [f"{main}", f"{main}.journal", f"{main}.run.json"]
    assert [json.loads(line)["audio_path"] for line in main.read_text().splitlines()] == ["a.wav", "b.wav"]


def test_other_parameters_move_the_default_output_aside() -> None:
    whole_run({"query": "Which?"}, ANSWER, FAILURE)
    moved = whole_run({"query": "How many?"}, ANSWER)
    assert moved == Path("inference_output.1.jsonl")
    assert names() == [
        "inference_output.1.jsonl",
        "inference_output.1.jsonl.failures.jsonl",
        "inference_output.1.jsonl.journal",
        "inference_output.1.jsonl.run.json",
        "inference_output.jsonl",
        JOURNAL,
        "inference_output.jsonl.run.json",
    ]
    assert whole_run({"query": "Who?"}) == Path("inference_output.2.jsonl")


@pytest.mark.parametrize("run_file", [None, "{", "[1]", "[" * 100_000])
def test_default_output_of_unknown_origin_is_moved_aside(run_file: str | None) -> None:
    Path("inference_output.jsonl").write_text("precious\n")
    if run_file is not None:
        Path("inference_output.jsonl.run.json").write_text(run_file)
    assert whole_run({"query": "Which?"}, ANSWER) == Path("inference_output.1.jsonl")
    assert Path("inference_output.1.jsonl").read_text() == "precious\n"


def test_named_output_without_a_journal_is_refused_unless_overwritten() -> None:
    Path("mine.jsonl").write_text("precious\n")
    with pytest.raises(ConfigError, match=r"--output-path mine\.jsonl: exists already.*--overwrite"):
        RunFiles(Path("mine.jsonl"))
    whole_run({"query": "Which?"}, ANSWER, results=Path("mine.jsonl"), overwrite=True)
    assert "Great Tit" in Path("mine.jsonl").read_text()
    Path("mine.csv").write_text("not of this run\n")
    with pytest.raises(ConfigError, match=r"--output-path mine\.csv: exists already"):
        RunFiles(Path("mine"), "jsonl,csv")


def test_named_output_of_other_parameters_is_refused_and_the_difference_named() -> None:
    mine = Path("mine.jsonl")
    whole_run({"query": "Which?", "settings": {"num_beams": 1}}, ANSWER, results=mine)
    before = {name: Path(name).read_bytes() for name in names()}
    with (
        closing(RunFiles(mine)) as files,
        pytest.raises(
            ConfigError, match=r"mine\.jsonl\.journal.*settings\.num_beams: 1 there, 2 now.*--over"
        ),
    ):
        files.begin({"query": "Which?", "settings": {"num_beams": 2}}, KEYS)
    assert {name: Path(name).read_bytes() for name in names()} == before
    other = {"query": "Which?", "settings": {"num_beams": 2}}
    whole_run(other, replace(ANSWER, output="Blue Tit"), results=mine, overwrite=True)
    assert [json.loads(line)["output"] for line in mine.read_text().splitlines()] == ["Blue Tit"]


def test_recordings_that_are_not_asked_about_any_more_cost_no_answers() -> None:
    mine = Path("mine.jsonl")
    whole_run({}, ANSWER, replace(ANSWER, audio_path="b.wav"), results=mine)
    with (
        closing(RunFiles(mine)) as files,
        pytest.raises(ConfigError, match=r"holds answers about 1 recordings.*\(a\.wav is one\)"),
    ):
        files.begin({}, {"b.wav": KEYS["b.wav"]})
    for overwrite in (True, False):  # what was left out once is not missed again
        files = RunFiles(mine, overwrite=overwrite)
        files.begin({}, {"b.wav": KEYS["b.wav"]})
        files.finish({})
        assert [json.loads(line)["audio_path"] for line in mine.read_text().splitlines()] == ["b.wav"]
    assert whole_run({}, results=mine) is None  # nothing computed anew
    assert len(mine.read_text().splitlines()) == 2


def test_default_output_with_answers_about_other_recordings_is_moved_aside() -> None:
    whole_run({}, ANSWER)
    files = RunFiles()
    files.begin({}, {"b.wav": KEYS["b.wav"]})
    files.write([part(replace(ANSWER, audio_path="b.wav"))])
    assert files.finish({}) == Path("inference_output.1.jsonl")
    assert "a.wav" in Path("inference_output.1.jsonl").read_text()
    assert "a.wav" not in Path("inference_output.jsonl").read_text()


def test_two_runs_into_one_output_are_refused() -> None:
    first = begun({}, ANSWER, results=Path("mine.csv"))
    with pytest.raises(ConfigError, match=r"mine\.csv\.journal: another run is writing there; wait"):
        RunFiles(Path("mine.csv"))
    first.finish({})
    RunFiles(Path("mine.csv")).close()


def test_two_runs_begun_at_the_same_moment_are_refused() -> None:
    first, second = RunFiles(), RunFiles()
    first.begin({}, KEYS)
    with pytest.raises(ConfigError, match="another run is writing there"):
        second.begin({}, KEYS)
    assert second.answers == 0 and second.keep_partial({}) is None
    assert names() == [JOURNAL]


def test_overwritten_output_stays_until_the_run_is_finished() -> None:
    Path("mine.jsonl").write_text("precious\n")
    files = begun({}, ANSWER, results=Path("mine.jsonl"), overwrite=True)
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
    Path("out.jsonl.journal").write_text("my diary\n")
    with pytest.raises(ConfigError, match=r"out\.jsonl\.journal: is no journal of a run"):
        RunFiles(Path("out.jsonl"), overwrite=True)
    assert Path("out.jsonl.journal").read_text() == "my diary\n"


def test_stopped_run_keeps_what_it_has_and_another_runs_partial() -> None:
    for output in ("first", "second"):
        files = begun({"query": output}, ANSWER)
        assert files.keep_partial({"answers": 1}) == Path("inference_output.jsonl.partial")
    assert names() == [
        "inference_output.1.jsonl.journal",
        "inference_output.jsonl.1.partial",
        "inference_output.jsonl.1.partial.run.json",
        JOURNAL,
        "inference_output.jsonl.partial",
        "inference_output.jsonl.partial.run.json",
    ]
    assert json.loads(Path("inference_output.jsonl.partial.run.json").read_text()) == {
        "query": "second",
        "answers": 1,
        "complete": False,
    }
    begun({"query": "third"}, ANSWER).keep_partial({})
    assert (
        Path("inference_output.1.jsonl.journal").exists()
        and Path("inference_output.2.jsonl.journal").exists()
    )


def test_going_on_replaces_the_partial_files_and_finishing_removes_them() -> None:
    begun({}, ANSWER, FAILURE).keep_partial({})
    assert "inference_output.jsonl.partial.failures.jsonl" in names()
    begun({}, replace(ANSWER, audio_path="b.wav")).keep_partial({})
    assert names() == [JOURNAL, "inference_output.jsonl.partial", "inference_output.jsonl.partial.run.json"]
    assert len(Path("inference_output.jsonl.partial").read_text().splitlines()) == 2
    whole_run({})
    assert names() == ["inference_output.jsonl", JOURNAL, "inference_output.jsonl.run.json"]


def test_stopped_run_without_answers_leaves_nothing() -> None:
    assert begun({}).keep_partial({}) is None
    assert names() == []


def test_stopped_run_leaves_an_earlier_output_where_it_is() -> None:
    whole_run({"query": "Which?"}, ANSWER, FAILURE)
    before = {name: Path(name).read_bytes() for name in names()}
    assert begun({"query": "How many?"}).keep_partial({}) is None
    assert {name: Path(name).read_bytes() for name in names()} == before
    begun({"query": "How many?"}, ANSWER).keep_partial({})
    kept = [name for name in before if name != JOURNAL]
    assert {name: Path(name).read_bytes() for name in kept} == {name: before[name] for name in kept}
    assert Path("inference_output.1.jsonl.journal").read_bytes() == before[JOURNAL]


def test_batch_that_does_not_fit_is_an_error_and_those_before_it_are_kept() -> None:
    files = begun({"query": "Which?"}, ANSWER)
    size = Path(JOURNAL).stat().st_size
    with files_of_at_most(size + 10):
        with pytest.raises(NatureLMError, match=r"^cannot write inference_output\.jsonl \(File too large\)"):
            files.write([part(ANSWER)])
        assert files.keep_partial({"answers": files.answers}) == Path("inference_output.jsonl.partial")
    kept = [json.loads(line) for line in Path("inference_output.jsonl.partial").read_text().splitlines()]
    assert kept == [ANSWER.as_row()] and Path(JOURNAL).stat().st_size == size


def test_answers_are_in_the_journal_where_nothing_else_fits() -> None:
    files = begun({"query": "Which?" * 1000}, ANSWER, FAILURE)
    with files_of_at_most(1000):
        with pytest.raises(NatureLMError, match="cannot write inference_output"):
            files.finish({})
        assert files.keep_partial({}) == Path(JOURNAL)
    assert names() == [JOURNAL]
    whole_run({"query": "Which?" * 1000})
    assert json.loads(Path("inference_output.jsonl").read_text())["output"] == "Great Tit"


def test_name_that_the_system_refuses_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"cannot be written \(File name too long\)"):
        RunFiles(Path("x" * 300 + ".jsonl"))
    with pytest.raises(ConfigError, match=r"cannot be written \(File name too long\)"):
        RunFiles(Path("x" * 300) / "out.jsonl")
    with pytest.raises(ConfigError, match=r"cannot be written \(File name too long\)"):
        RunFiles(Path("x" * 245 + ".jsonl"))  # fits, but its journal's name does not
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
    assert names() == ["mine.csv", "mine.csv.failures.jsonl", "mine.csv.journal", "mine.csv.run.json"]
    assert Path("mine.csv").read_text().splitlines()[1] == (
        "a.wav,mix,0.0,10.0,Which?,Great Tit,0.9,-0.1,naturelm-lite,,,false,,[],"
    )


def test_several_formats_are_one_output() -> None:
    whole_run({}, ANSWER, results=Path("mine"), formats="csv,jsonl,audacity")
    assert names() == ["mine.audacity", "mine.csv", "mine.jsonl", "mine.jsonl.journal", "mine.jsonl.run.json"]
    with pytest.raises(ConfigError, match=r"--output-path mine\.csv: exists already"):
        RunFiles(Path("mine"), "csv")
    whole_run({"n": 2}, results=Path("mine"), formats="csv,jsonl,audacity", overwrite=True)
    assert Path("mine.jsonl").read_text() == "" and not list(Path("mine.audacity").iterdir())


def test_tables_that_were_changed_meanwhile_are_set_aside() -> None:
    """Verdicts that people write into them, and files that they put beside them, are not lost."""
    again = {"results": Path("mine"), "formats": "csv,jsonl,audacity,raven"}
    whole_run({}, ANSWER, **again)
    label, note = Path("mine.audacity/a.txt"), Path("mine.audacity/my_notes.txt")
    note.write_text("wind")
    reviewed = Path("mine.csv").read_text().replace("Great Tit", "Great Tit, sure")
    Path("mine.csv").write_text(reviewed)
    for expected in ("changed", "changed.2"):
        files = begun({}, **again)
        files.finish({"answers": files.answers})
        assert files.set_aside == {
            Path("mine.csv"): Path(f"mine.{expected}.csv"),
            Path("mine.audacity"): Path(f"mine.{expected}.audacity"),
        }
        assert Path(f"mine.{expected}.csv").read_text() == reviewed
        assert sorted(path.name for path in Path(f"mine.{expected}.audacity").iterdir()) == [
            label.name,
            note.name,
        ]
        assert "sure" not in Path("mine.csv").read_text() and label.exists() and not note.exists()
        Path("mine.csv").write_text(reviewed)
        note.write_text("wind")
    assert not list(Path().glob("mine.changed*.jsonl")) and not list(Path().glob("mine.changed*.raven"))
    files = begun({}, overwrite=True, **again)
    files.finish({"answers": files.answers})
    assert files.set_aside == {} and "sure" not in Path("mine.csv").read_text()


def test_parameters_and_lasting_counts_are_in_parquet() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    files = begun({"query": "Which?"}, ANSWER, results=Path("mine.parquet"))
    files.finish({"answers": 1, "started_at": "now"})
    metadata = json.loads(parquet.read_schema("mine.parquet").metadata[b"naturelm_run"])
    assert metadata == {"query": "Which?", "answers": 1, "complete": True}


def test_all_formats_of_a_default_output_move_aside_together() -> None:
    whole_run({"query": "Which?"}, ANSWER, formats="jsonl,csv,raven")
    assert whole_run({"query": "Which?"}, formats="jsonl,csv,raven") is None
    assert whole_run({"query": "How many?"}, ANSWER) == Path("inference_output.1.jsonl")
    assert names() == [
        "inference_output.1.csv",
        "inference_output.1.jsonl",
        "inference_output.1.jsonl.journal",
        "inference_output.1.jsonl.run.json",
        "inference_output.1.raven",
        "inference_output.jsonl",
        JOURNAL,
        "inference_output.jsonl.run.json",
    ]


def test_another_run_in_another_format_is_left_where_it_is() -> None:
    whole_run({"query": "Which?"}, ANSWER, FAILURE)
    whole_run({"query": "Which?"}, ANSWER, FAILURE, formats="csv")
    before = {name: Path(name).read_bytes() for name in names()}
    moved = whole_run({"query": "How many?"}, ANSWER, formats="csv")
    assert moved == Path("inference_output.1.csv")
    for name, content in before.items():
        now = name.replace("output.csv", "output.1.csv") if name.startswith("inference_output.csv") else name
        assert Path(now).read_bytes() == content
    moved = whole_run({"query": "What is it?"}, ANSWER, formats="jsonl,csv")  # both are in its way
    assert moved == Path("inference_output.2.jsonl")
    for end in ("", ".run.json", ".failures.jsonl"):
        assert Path(f"inference_output.2.jsonl{end}").read_bytes() == before[f"inference_output.jsonl{end}"]
    assert json.loads(Path("inference_output.2.csv.run.json").read_text())["query"] == "How many?"


def test_stopped_run_keeps_every_format() -> None:
    for query in (1, 2):
        files = begun(
            {"query": query}, ANSWER, results=Path("mine"), formats="jsonl,csv,raven", overwrite=True
        )
        assert files.keep_partial({}) == Path("mine.jsonl.partial")
    assert names() == [
        "mine.csv.1.partial",
        "mine.csv.partial",
        "mine.jsonl.1.partial",
        "mine.jsonl.1.partial.run.json",
        "mine.jsonl.journal",
        "mine.jsonl.partial",
        "mine.jsonl.partial.run.json",
        "mine.raven.1.partial",
        "mine.raven.partial",
    ]


def test_interruption_while_tables_are_made_keeps_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    files = begun({}, ANSWER, results=Path("mine"), formats="jsonl,csv")
    monkeypatch.setattr("NatureLM.infer.outputs.write_unfinished", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.finish({})
    assert files.keep_partial({}) == Path("mine.jsonl.journal")
    assert names() == ["mine.jsonl.journal"]


def test_folder_and_file_are_not_taken_for_one_another() -> None:
    Path("mine.raven").touch()
    with pytest.raises(ConfigError, match=r"mine\.raven: is a file, but is to be a folder"):
        RunFiles(Path("mine.raven"), overwrite=True)


def test_record_of_a_run_tells_whether_it_left_nothing_to_do() -> None:
    def told(**recordings: tuple[int, int]) -> Any:
        with closing(RunFiles()) as files:
            return files.record_if_all_done({f"{name}.wav": key for name, key in recordings.items()})

    assert told(a=KEYS["a.wav"]) is None  # no run before
    files = begun({"query": "Which?"}, ANSWER, FAILURE)
    files.write([Part("a.wav", KEYS["a.wav"], state="finished")])
    files.close()
    assert told(a=KEYS["a.wav"]) is None  # no files of it yet
    files = begun({"query": "Which?"})
    files.finish({"asked": "x"})
    assert told(a=KEYS["a.wav"])["asked"] == "x"
    assert told(a=(1001, 1)) is None  # changed since
    assert told(a=KEYS["a.wav"], c=(5, 1)) is None  # new
    assert told(a=KEYS["a.wav"], b=KEYS["b.wav"]) is None  # failures are tried again
    record = Path("inference_output.jsonl.run.json")
    record.write_text(record.read_text().replace("Which?", "Another?"))
    assert told(a=KEYS["a.wav"]) is None  # of another run than the journal
