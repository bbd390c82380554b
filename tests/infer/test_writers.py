import json
from pathlib import Path

import pytest

from NatureLM.errors import ConfigError
from NatureLM.infer.writers import JsonlWriter, check_format


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


@pytest.mark.parametrize("name", ["out.csv", "out", "out.parquet"])
def test_unknown_format_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"--output-path {name}: results are written as \.jsonl"):
        check_format(Path(name))


def test_suffix_may_be_in_capitals() -> None:
    check_format(Path("OUT.JSONL"))
