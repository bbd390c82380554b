import json
from pathlib import Path

import pytest

from NatureLM.errors import ConfigError
from NatureLM.infer.writers import JsonlWriter, read_rows


def test_rows_are_on_disk_as_soon_as_they_are_written(tmp_path: Path) -> None:
    writer = JsonlWriter(tmp_path / "out.jsonl")
    writer.write({"species": "Großer Brachvogel", "scores": [0.5, float("nan")], "end": float("-inf")})
    first = (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    assert first == '{"species": "Großer Brachvogel", "scores": [0.5, null], "end": null}\n'
    writer.write({"species": "line\nbreak"})
    writer.close()
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[1] == {"species": "line\nbreak"}


def test_file_names_that_are_no_utf8_survive(tmp_path: Path) -> None:
    name = b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    writer = JsonlWriter(tmp_path / "out.jsonl")
    writer.write({"audio_path": name})
    writer.close()
    assert json.loads((tmp_path / "out.jsonl").read_bytes())["audio_path"] == name


def test_descriptor_of_another_keeps_what_it_held(tmp_path: Path) -> None:
    path = tmp_path / "shell.jsonl"
    path.write_text("earlier\n")
    with path.open("ab") as file:
        writer = JsonlWriter(file.fileno())
        writer.write({"audio_path": "a.wav"})
        writer.close()
        file.write(b"later\n")
    assert path.read_text() == 'earlier\n{"audio_path": "a.wav"}\nlater\n'


def test_rows_are_read_back_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"audio_path": "a.wav"}\n{"audio_path": "b.w')
    rows = read_rows(path)
    assert next(rows) == {"audio_path": "a.wav"}
    with pytest.raises(ConfigError, match=r"out\.jsonl, line 2: is no row of answers; give the jsonl file"):
        next(rows)


@pytest.mark.parametrize("line", ["[" * 100_000, '{"audio_path": "a.wav", "score": ' + "1" * 5_000 + "}"])
def test_rows_that_python_cannot_hold_are_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(ConfigError, match=r"out\.jsonl, line 1: is no row of answers; give the jsonl file"):
        next(read_rows(path))
