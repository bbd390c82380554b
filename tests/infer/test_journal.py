from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from NatureLM.errors import ConfigError
from NatureLM.infer.journal import Journal, Part, difference, file_key, fingerprint

PARAMETERS: dict[str, Any] = {"version": "1", "queries": ["Which?"], "settings": {"num_beams": 1}}
KEY = (1000, 17)


def row(path: str, start: float) -> dict[str, Any]:
    return {
        "audio_path": path,
        "start_seconds": start,
        "end_seconds": start + 10.0,
        "output": "Grünfink \udce9",
        "score": 0.1,
    }


def part(path: str, *starts: float, key: tuple[int, int] = KEY, **rest: Any) -> Part:
    return Part(path, key, windows=len(starts), rows=[row(path, start) for start in starts], **rest)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl.journal"


def written(path: Path, *batches: list[Part]) -> bytes:
    journal = Journal.create(path, PARAMETERS)
    for batch in batches:
        journal.add(batch)
    journal.close()
    return path.read_bytes()


def reopened(path: Path) -> Journal:
    journal = Journal.open(path)
    assert journal is not None
    return journal


def test_what_was_written_is_read_again(path: Path) -> None:
    written(
        path,
        [part("a", 0.0, 10.0, state="finished"), part("b", 0.0)],
        [part("b", 10.0), part("c", state="failed", reason="c is empty."), part("d")],
    )
    journal = reopened(path)
    assert journal.parameters == PARAMETERS
    states = {name: journal.progress(name, KEY) for name in "abcd"}
    assert {name: (one.state, one.windows, one.answers, one.reason) for name, one in states.items()} == {
        "a": ("finished", 2, 2, None),
        "b": ("open", 2, 2, None),
        "c": ("failed", 0, 0, "c is empty."),
        "d": ("open", 0, 0, None),
    }
    assert list(journal.answered()) == ["a", "b"]
    expected = [row("b", 0.0), row("b", 10.0), row("a", 0.0), row("a", 10.0)]
    assert list(journal.rows(dict.fromkeys(("b", "c", "a", "x"), KEY))) == expected


def test_rows_of_many_recordings_in_shared_and_scattered_lines(path: Path) -> None:
    names = [f"{number:03}" for number in range(100)]
    batches = [[part(names[place], 0.0) for place in range(start, 100, 10)] for start in range(10)]
    written(path, *batches)
    rows = list(reopened(path).rows(dict.fromkeys(names, KEY)))
    assert rows == [row(name, 0.0) for name in names]


@pytest.mark.parametrize("lost", [1, 2, 40])
def test_torn_last_line_is_cut_off(lost: int, path: Path) -> None:
    whole = written(path, [part("a", 0.0)])
    torn = written(path, [part("a", 0.0)], [part("a", 10.0)])[:-lost]
    path.write_bytes(torn)
    journal = reopened(path)
    assert path.read_bytes() == whole and journal.progress("a", KEY).windows == 1
    journal.add([part("a", 10.0, state="finished")])
    journal.close()
    assert [one["start_seconds"] for one in reopened(path).rows({"a": KEY})] == [0.0, 10.0]


@pytest.mark.parametrize("length", [0, 1, 10, 60])
def test_torn_header_is_no_journal(length: int, path: Path) -> None:
    path.write_bytes(written(path)[:length])
    assert Journal.open(path) is None
    assert written(path, [part("a", 0.0)]).count(b"\n") == 2


@pytest.mark.parametrize(
    "content", ["my diary", "my diary\n", "{}\n", '{"naturelm_journal": 99}\n', "[" * 100_000 + "\n"]
)
def test_other_files_are_refused_and_left_alone(content: str, path: Path) -> None:
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"out\.jsonl\.journal: is no journal of a run.*move it away"):
        Journal.open(path)
    assert path.read_text() == content


def test_recording_that_has_changed_is_at_its_beginning(path: Path) -> None:
    written(path, [part("a", 0.0, 10.0, state="finished")], [part("b", 0.0)])
    journal = reopened(path)
    assert journal.progress("a", (1000, 18)).windows == 0
    journal.add([part("a", 0.0, key=(1000, 18))])
    for one in (journal, (journal.close(), reopened(path))[1]):
        assert one.progress("a", (1000, 18)).windows == 1 and one.progress("a", KEY).windows == 0
        assert list(one.rows({"a": (1000, 18), "b": KEY})) == [row("a", 0.0), row("b", 0.0)]


def test_failure_that_is_tried_again_keeps_its_rows(path: Path) -> None:
    written(path, [part("a", 0.0, state="failed", reason="broken")], [part("a", 10.0, state="finished")])
    progress = reopened(path).progress("a", KEY)
    assert (progress.state, progress.reason, progress.windows) == ("finished", None, 2)


def test_what_was_said_before_does_not_hold_where_a_recording_is_begun_anew(path: Path) -> None:
    written(path, [part("a", 0.0, 10.0, state="failed", reason="broken")])
    journal = reopened(path)
    assert journal.progress("a", KEY).until == 20.0
    journal.add([part("a", anew=True)])
    journal.add([part("a", 0.0, state="finished"), part("b", 0.0)])
    for one in (journal, (journal.close(), reopened(path))[1]):
        progress = one.progress("a", KEY)
        assert (progress.state, progress.windows, progress.answers) == ("finished", 1, 1)
        assert list(one.rows({"a": KEY, "b": KEY})) == [row("a", 0.0), row("b", 0.0)]


def test_tables_are_remembered(path: Path) -> None:
    journal = Journal.create(path, PARAMETERS)
    journal.add_tables({"a.csv": "1f"}, ["x.wav"])
    journal.add_tables({"a.jsonl": "2f", "a.csv": "3f"}, [])
    for one in (journal, (journal.close(), reopened(path))[1]):
        assert (one.tables, one.left_out) == ({"a.csv", "a.jsonl"}, set())
        assert one.stamps == {"a.csv": {"1f", "3f"}, "a.jsonl": {"2f"}}


def test_one_run_at_a_time(path: Path) -> None:
    first = Journal.create(path, PARAMETERS)
    for begin in (Journal.open, lambda path: Journal.create(path, PARAMETERS)):
        with pytest.raises(ConfigError, match="another run is writing there; wait"):
            begin(path)
    first.close()
    reopened(path)


def test_parameters_that_change_an_answer_make_another_run() -> None:
    same = {**PARAMETERS, "audio_paths": ["b"], "model": {"requested": "x"}}
    assert difference(PARAMETERS, same) is None and fingerprint(PARAMETERS) == fingerprint(same)
    for other, said in (
        ({**PARAMETERS, "queries": ["Who?"]}, "queries: ['Which?'] there, ['Who?'] now"),
        ({**PARAMETERS, "settings": {"num_beams": 2}}, "settings.num_beams: 1 there, 2 now"),
        ({**PARAMETERS, "channel": 2}, "channel: None there, 2 now"),
        ({"version": "1", "queries": ["Which?"]}, "settings.num_beams: 1 there, None now"),
    ):
        assert difference(PARAMETERS, other) == said
        assert fingerprint(PARAMETERS) != fingerprint(other)


def test_key_of_a_file(path: Path) -> None:
    assert file_key(path) == (-1, -1)
    path.write_text("12345")
    status = path.stat()
    assert file_key(path) == (5, status.st_mtime_ns)


def test_header_has_the_fingerprint(path: Path) -> None:
    header = json.loads(written(path))
    assert header == {
        "naturelm_journal": 1,
        "fingerprint": fingerprint(PARAMETERS),
        "parameters": PARAMETERS,
    }
