"""A folder as field work leaves it: 25 recordings that can be heard, some of them odd, and 15 that cannot."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from NatureLM.cli.display import Display
from NatureLM.config import InferenceConfig
from NatureLM.errors import RecordingError
from NatureLM.infer.answers import Answer
from NatureLM.infer.engine import Engine, Recording
from NatureLM.infer.run import RunRequest, run_inference
from NatureLM.infer.settings import Configuration
from NatureLM.models.answering import AnswerSettings

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

FOCAL = "What is the common name for the focal species in the audio?"
RATE = 8000
ODD_NAME = os.fsdecode(b"odd \xe9\nname.wav")

ROWS_OF_DAMAGED = {
    "cut.wav": [(0.0, 10.0), (10.0, 13.0)],
    "cut.flac": [(0.0, 10.0)],
    "cut.mp3": [(0.0, 10.0)],
    "holed.flac": [(0.0, 10.0)],
    "nan.wav": [(0.0, 10.0), (10.0, 12.0)],
    "inf.wav": [],
}
"""What each damaged file still gives; the others give nothing."""

REASONS = {
    "cut.flac": "cut.flac is cut off or damaged: ",
    "cut.mp3": "cut.mp3 is cut off or damaged: ",
    "cut.wav": "cut.wav is cut off or damaged: 13.0 s of the expected 25.0 s could be decoded;",
    "empty.wav": "empty.wav is empty (0 bytes); leave it out or replace it by an intact copy.",
    "gone.wav": "gone.wav does not exist; check the path.",
    "header.flac": "header.flac holds no sound (0 samples can be decoded); leave it out",
    "header.wav": "header.wav holds no sound (0 samples can be decoded); leave it out",
    "holed.flac": "holed.flac is ",
    "inf.wav": "inf.wav is damaged: the sample at 0.000 s is inf, not a number that sound can have. ",
    "locked.wav": "locked.wav cannot be read: permission denied; ask for read access.",
    "loop.wav": "loop.wav cannot be opened: Too many levels of symbolic links; check the path and the disk.",
    "nan.wav": "nan.wav is damaged: the sample at 12.000 s is nan, not a number that sound can have. ",
    "random.mp3": "random.mp3 is not audio that can be read (Format not recognised;",
    "riff.wav": "riff.wav is not audio that can be read (",
    "text.wav": "text.wav is not audio that can be read (",
}
"""How the reason of each file that fails begins, behind its folder."""

GOOD = {
    **{f"good{number:02}.{'wav' if number % 2 else 'flac'}": [(0.0, 2.0)] for number in range(18)},
    "folder.wav/inner.wav": [(0.0, 2.0)],
    "long.wav": [(0.0, 10.0), (10.0, 12.0)],
    "bat.wav": [(0.0, 1.0)],
    "eight.wav": [(0.0, 2.0)],
    "growing.wav": [(0.0, 10.0), (10.0, 20.0)],
    "sample.wav": [(0.0, 1 / 384000)],
    ODD_NAME: [(0.0, 2.0)],
}
"""Windows of each recording that can be heard."""


def noise(seconds: float, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    shape = (round(seconds * rate), channels)
    return np.random.default_rng(seed).normal(0, 0.02, shape).astype(np.float32)


def write_good(folder: Path) -> None:
    (folder / "folder.wav").mkdir(parents=True)
    for seed, (name, windows) in enumerate(GOOD.items()):
        if name not in ("bat.wav", "eight.wav", "growing.wav", "sample.wav"):
            # soundfile itself refuses names that are no UTF-8
            with open(os.fsencode(folder / name), "wb") as file:
                suffix = name.rpartition(".")[2].upper()
                soundfile.write(file, noise(windows[-1][1], seed=seed), RATE, format=suffix, subtype="PCM_16")
    soundfile.write(folder / "bat.wav", noise(1, 384000), 384000)
    soundfile.write(folder / "eight.wav", noise(2, channels=8), RATE)
    soundfile.write(folder / "sample.wav", noise(1 / 384000, 384000), 384000)
    soundfile.write(folder / "growing.wav", noise(20), RATE)
    with (folder / "growing.wav").open("r+b") as file:  # a recorder fills in the sizes at its end
        for position in (4, 40):
            file.seek(position)
            file.write(bytes(4))


def write_damaged(folder: Path) -> None:
    (folder / "empty.wav").touch()
    for name in ("header.wav", "header.flac", "cut.wav", "cut.flac", "cut.mp3", "holed.flac", "gone.wav"):
        soundfile.write(folder / name, noise(25), RATE)
    shorten(folder / "header.wav", 44)
    shorten(folder / "header.flac", 8 + 34)
    shorten(folder / "cut.wav", 44 + 13 * 2 * RATE)
    shorten(folder / "cut.flac", (folder / "cut.flac").stat().st_size * 10.5 / 25)
    shorten(folder / "cut.mp3", (folder / "cut.mp3").stat().st_size * 10.6 / 25)
    with (folder / "holed.flac").open("r+b") as file:
        file.seek(int((folder / "holed.flac").stat().st_size * 10.4 / 25))
        file.write(bytes(4000))
    for name, bad, place in (("nan.wav", np.nan, 12 * RATE), ("inf.wav", np.inf, 0)):
        samples = noise(25)
        samples[place] = bad
        soundfile.write(folder / name, samples, RATE, subtype="FLOAT")
    soundfile.write(folder / "locked.wav", noise(2), RATE)
    (folder / "locked.wav").chmod(0)
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "random.mp3").write_bytes(np.random.default_rng(0).bytes(3000))
    (folder / "riff.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVEfm")
    (folder / "text.wav").write_text("The recorder stood by the third oak.\n")


def shorten(path: Path, size: float) -> None:
    os.truncate(path, int(size))


@contextmanager
def growing(path: Path) -> Iterator[None]:
    """Within it another sample is appended every 10 ms: too few for a further window."""
    stopped = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not stopped.wait(0.01):
                file.write(bytes(2))

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


class Vanishing(Display):
    """Shows a run in which a file is removed once all are found."""

    def planned(self, paths: Sequence[Path]) -> None:
        super().planned(paths)
        for path in paths:
            if path.name == "gone.wav":
                path.unlink()


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "card"
    write_good(folder)
    write_damaged(folder)
    monkeypatch.chdir(tmp_path)
    return Path("card")


def request(folder: Path, **options: Any) -> RunRequest:
    configuration = Configuration(InferenceConfig(device="cpu", batch_size=8))
    return RunRequest([folder], [FOCAL], Path("found.jsonl"), configuration=configuration, **options)


def test_damaged_recordings_cost_no_other_its_answers(
    field: Path, model: NatureLM, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    locked_is_readable = os.access(field / "locked.wav", os.R_OK)  # for root
    expected_rows = GOOD | ROWS_OF_DAMAGED | ({"locked.wav": [(0.0, 2.0)]} if locked_is_readable else {})
    reasons = {
        name: reason for name, reason in REASONS.items() if name != "locked.wav" or not locked_is_readable
    }

    with growing(field / "growing.wav"), Vanishing() as display:
        summary = run_inference(request(field), display)
    display.close_with(summary)

    rows = read(Path("found.jsonl"))
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        found.setdefault(row["audio_path"], []).append((row["start_seconds"], row["end_seconds"]))
    assert found == {str(field / name): windows for name, windows in expected_rows.items() if windows}

    failures = {row["audio_path"]: row["reason"] for row in read(Path("found.jsonl.failures.jsonl"))}
    assert list(failures) == [str(field / name) for name in sorted(reasons)]
    for name, reason in reasons.items():
        assert failures[str(field / name)].startswith(f"{field}{os.sep}{reason}"), failures[str(field / name)]

    shown = capsys.readouterr().err.splitlines()
    assert [line for line in shown if line.startswith("failed: ")] == [
        f"failed: {failures[str(field / name)]}" for name in sorted(reasons)
    ]
    assert re.fullmatch(
        rf"40 recordings, {len(rows)} windows, {len(reasons)} failed \(found\.jsonl\.failures\.jsonl\); "
        r"the model waited for audio \d+% of the time; results in found\.jsonl",
        shown[-1],
    )
    assert f"{field / 'folder.wav'} is a folder, not a recording; it is searched." in caplog.messages

    alone = Engine(model, AnswerSettings(), batch_size=1)
    for name in GOOD.keys() - {"growing.wav"}:
        recording = Recording(str(field / name), (FOCAL,), path=field / name)
        same = [event.as_row() for _, event in alone.run([recording]) if isinstance(event, Answer)]
        among_others = [row for row in rows if row["audio_path"] == str(field / name)]
        for one, other in zip(same, among_others, strict=True):
            for number in ("confidence", "mean_logprob"):
                assert other.pop(number) == pytest.approx(one.pop(number), abs=1e-4)
            assert one == other


def test_strict_stops_at_the_first_and_keeps_the_answers_so_far(field: Path) -> None:
    with (
        Vanishing() as display,
        pytest.raises(RecordingError, match=r"^stopped at the first recording .*: card.cut\.flac is cut"),
    ):
        run_inference(request(field, strict=True), display)
    assert not Path("found.jsonl").exists()
    # Of the batch in which it stopped everything is kept.
    kept = [row["audio_path"] for row in read(Path("found.jsonl.partial"))]
    assert kept[:2] == [str(field / "bat.wav"), str(field / "cut.flac")] and len(kept) <= 16
    assert read(Path("found.jsonl.partial.failures.jsonl"))[0]["audio_path"] == kept[1]
