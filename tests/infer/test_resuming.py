"""Runs killed with ``kill -9``, and gone on with: the files are those of a run that nothing disturbed."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
import torch

from NatureLM.audio.decoding import SoundReader
from NatureLM.cli import main
from NatureLM.cli.running import run

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

ASSETS = Path(__file__).parents[2] / "assets"
FOCAL = "What is the common name for the focal species in the audio?"
LIST = "What are the common names for the species in the audio, if any?"
FORMATS = "jsonl,csv,raven,raven-combined"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return folder


@pytest.fixture(autouse=True)
def one_model_and_one_thread(model: NatureLM, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs in this process share the model, and compute as those that are killed do."""
    monkeypatch.setattr("NatureLM.models.loading.load_model", lambda *_: model)
    monkeypatch.setattr(model, "requested_as", "bundled", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def card() -> Path:
    """Birds, noise, a file that is no sound, one damaged in its middle, one longer than a batch."""
    folder = Path("card")
    (folder / "more").mkdir(parents=True)
    shutil.copy(ASSETS / "great_tit.ogg", folder / "b.ogg")
    shutil.copy(ASSETS / "dawn_25s.ogg", folder / "more" / "a.ogg")
    shutil.copy(ASSETS / "boreal_owl.flac", folder / "z.flac")
    (folder / "a.wav").write_text("no sound")
    noise(folder / "c.wav", 27.0, damaged_from=23.0)
    noise(folder / "d.wav", 47.0)
    return folder


def noise(path: Path, seconds: float, damaged_from: float | None = None) -> None:
    rng = np.random.default_rng(round(seconds))
    samples = rng.normal(0, 0.02, round(seconds * 16000)).astype(np.float32)
    if damaged_from is not None:
        samples[round(damaged_from * 16000)] = np.nan
    soundfile.write(path, samples, 16000, subtype="FLOAT")


def command(output: str, *more: str) -> list[str]:
    return [
        *("infer", "--audio-path", "card", "--query", FOCAL, "--query", LIST, "--device", "cpu"),
        *("--window-length-seconds", "5", "--batch-size", "3", "--output-path", output),
        *(more or ("--format", FORMATS)),
    ]


def ask(output: str, *more: str) -> int:
    return run(main.app, "naturelm", command(output, *more))


def files_of(stem: str) -> dict[str, bytes]:
    """Return what a run has written, its journal and record apart, under names without the stem."""
    found = [path for start in Path().glob(f"{stem}.*") for path in [start, *start.rglob("*")]]
    return {
        str(path).removeprefix(stem): path.read_bytes()
        for path in found
        if path.is_file() and path.suffix not in (".journal", ".json")
    }


def journal_lines(stem: str) -> list[dict[str, Any]]:
    lines = Path(f"{stem}.jsonl.journal").read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1]]


def answered(lines: list[dict[str, Any]]) -> Counter[tuple[str, float, str]]:
    return Counter(
        (row["audio_path"], row["start_seconds"], row["query"])
        for line in lines
        for part in line.get("parts", ())
        for row in part["rows"]
    )


def begin_anew() -> None:
    for path in Path().glob("killed.*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def kill_at(moment: Callable[[], bool]) -> None:
    """Run the command in a process of its own and kill it, without mercy, as soon as the moment has come."""
    with subprocess.Popen(
        [sys.executable, "-m", "NatureLM.cli.main", *command("killed")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None and not moment():
            time.sleep(0.001)
        process.kill()


def assert_goes_on_as_if_nothing_had_happened(whole: Mapping[str, bytes]) -> None:
    journal = Path("killed.jsonl.journal")
    before = journal.read_bytes() if journal.exists() else b""
    assert ask("killed") == 1  # two recordings fail
    kept = before[: before.rfind(b"\n") + 1]
    assert journal.read_bytes().startswith(kept)
    assert set(answered(journal_lines("killed")).values()) == {1}  # nothing was computed twice
    assert files_of("killed") == whole
    records = [json.loads(Path(f"{stem}.jsonl.run.json").read_text()) for stem in ("killed", "whole")]
    for record in records:
        for fleeting in ("started_at", "finished_at", "waiting_for_audio_share"):
            record.pop(fleeting, None)
    assert records[0] == records[1]


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_killed_run_goes_on(card: Path) -> None:
    assert ask("whole") == 1
    whole = files_of("whole")
    assert len(whole) == 9 and whole[".csv"].count(b"\n") == 49
    rng = random.Random(0)
    for _ in range(2):
        begin_anew()
        lines, delay = rng.randint(2, 7), rng.uniform(0.0, 0.1)

        def moment(lines: int = lines, delay: float = delay) -> bool:
            journal = Path("killed.jsonl.journal")
            if not journal.exists() or journal.read_bytes().count(b"\n") < lines:
                return False
            time.sleep(delay)
            return True

        kill_at(moment)
        assert lines <= len(journal_lines("killed")) < len(journal_lines("whole"))
        assert_goes_on_as_if_nothing_had_happened(whole)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_run_killed_again_and_again_at_any_moment(card: Path) -> None:
    assert ask("whole") == 1
    whole = files_of("whole")
    began = time.monotonic()
    kill_at(lambda: False)
    duration = time.monotonic() - began
    rng = random.Random(0)
    for number in range(20):
        if number % 3 == 0:  # begin anew; else kill the run that goes on
            begin_anew()
        end = time.monotonic() + rng.uniform(0.3, 1.1) * duration
        kill_at(lambda end=end: time.monotonic() > end)
        if number % 3 == 2:
            assert_goes_on_as_if_nothing_had_happened(whole)


def test_grown_folder_is_answered_only_where_it_is_new(card: Path, model: NatureLM) -> None:
    late = [card / "b.ogg", card / "more" / "a.ogg"]
    away = [path.rename(path.with_suffix(".later")) for path in late]
    assert ask("grown") == 1
    before = answered(journal_lines("grown"))
    for path, original in zip(away, late, strict=True):
        path.rename(original)
    assert ask("grown") == 1 and ask("whole") == 1
    new = answered(journal_lines("grown")) - before
    assert {path for path, _, _ in new} == {str(path) for path in late}
    assert set(answered(journal_lines("grown")).values()) == {1}
    rows = [
        [(row["audio_path"], row["start_seconds"], row["query"], row["output"]) for row in rows]
        for rows in (
            [json.loads(line) for line in Path(f"{stem}.jsonl").read_text().splitlines()]
            for stem in ("grown", "whole")
        )
    ]
    assert rows[0] == rows[1] and len(rows[0]) == 48


def test_changed_and_mended_files_are_answered_anew(card: Path) -> None:
    assert ask("out") == 1
    before = answered(journal_lines("out"))
    status = (card / "b.ogg").stat()
    os.utime(card / "b.ogg", ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    noise(card / "c.wav", 12.0)
    assert ask("out") == 1  # a.wav still fails
    assert {path for path, _, _ in answered(journal_lines("out")) - before} == {"card/b.ogg", "card/c.wav"}
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [row["end_seconds"] for row in rows if row["audio_path"] == "card/c.wav"] == [
        *(5.0, 5.0, 10.0, 10.0, 12.0, 12.0)
    ]
    assert [row["start_seconds"] for row in rows if row["audio_path"] == "card/b.ogg"] == [0.0, 0.0, 5.0, 5.0]
    failures = Path("out.jsonl.failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["audio_path"] for line in failures] == ["card/a.wav"]


def test_sound_that_could_not_be_read_for_a_while_is_heard_when_it_can(
    card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card reader that loses contact: the file is the same before and after."""
    read_into = SoundReader.read_into

    def loses_contact(self: SoundReader, buffer: np.ndarray) -> int:
        if self.sample_rate == 16000 and self._position >= 13 * 16000:
            return 0
        return read_into(self, buffer)

    with monkeypatch.context() as disturbed:
        disturbed.setattr(SoundReader, "read_into", loses_contact)
        assert ask("out") == 1
    ends = [row["end_seconds"] for row in rows_of("out") if row["audio_path"] == "card/d.wav"][::2]
    assert ends[:2] == [5.0, 10.0] and ends[-1] < 15.0
    assert ask("out") == 1 and ask("whole") == 1
    assert files_of("out") == files_of("whole")


def rows_of(stem: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(f"{stem}.jsonl").read_text().splitlines()]


def test_other_parameters_are_bad_usage_and_named(card: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in card.rglob("*.wav"):
        path.unlink()
    assert ask("out.csv", "--max-species", "2") == 0
    before = files_of("out")
    capsys.readouterr()
    assert ask("out.csv", "--max-species", "3") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "out.csv.journal is the journal of a run with other parameters" in error
    assert "settings.max_species: 2 there, 3 now" in error and "--overwrite" in error
    assert files_of("out") == before
    assert ask("out.csv", "--max-species", "3", "--overwrite") == 0
