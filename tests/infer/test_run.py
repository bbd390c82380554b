from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from NatureLM.config import InferenceConfig
from NatureLM.errors import ConfigError
from NatureLM.infer import run as run_module
from NatureLM.infer.answers import Answer, Failure
from NatureLM.infer.engine import Event
from NatureLM.infer.run import RunRequest, Summary, _without_fallback, run_inference
from NatureLM.infer.settings import Configuration

FOCAL = "What is the common name for the focal species in the audio?"
JOURNAL = "inference_output.jsonl.journal"


class Listener:
    """Hears what a run says, and may interrupt it."""

    def __init__(self, stop_at_plan: bool = False, stop_at_answer: int | None = None) -> None:
        self.said: list[str] = []
        self.events: list[Event] = []
        self.stop_at_plan = stop_at_plan
        self.stop_at_answer = stop_at_answer

    def say(self, message: str) -> None:
        self.said.append(message)

    def planned(self, paths: Sequence[Path]) -> None:
        if self.stop_at_plan:
            raise KeyboardInterrupt

    def happened(self, index: int, event: Event) -> None:
        self.events.append(event)
        if self.stop_at_answer == sum(isinstance(one, Answer) for one in self.events):
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder


def ask(*paths: Path, listener: Listener | None = None, queries: Sequence[str] = (FOCAL,)) -> Summary:
    configuration = Configuration(InferenceConfig(device="cpu", batch_size=1))
    request = RunRequest(paths, queries, configuration=configuration)
    return run_inference(request, listener or Listener())


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def test_run_in_which_all_recordings_fail_is_a_finished_run(tmp_path: Path) -> None:
    for name in ("a.wav", "b.flac"):
        (tmp_path / name).write_text("no sound")
    listener = Listener()
    summary = ask(tmp_path / "a.wav", tmp_path / "b.flac", listener=listener)
    assert (summary.recordings, summary.windows, summary.failures) == (2, 0, 2)
    assert [type(event) for event in listener.events] == [Failure, Failure]
    assert rows("inference_output.jsonl") == []
    reasons = [row["reason"] for row in rows("inference_output.jsonl.failures.jsonl")]
    assert all("is not audio that can be read" in reason for reason in reasons) and len(reasons) == 2


@pytest.mark.parametrize("stop", [{"stop_at_plan": True}, {"stop_at_answer": 0}])
def test_run_stopped_before_its_first_answer_leaves_all_as_it_was(
    stop: dict[str, Any], make_noise: Callable[..., Path]
) -> None:
    Path("inference_output.jsonl").write_text("precious\n")
    listener = Listener(**stop)
    with pytest.raises(KeyboardInterrupt):
        ask(make_noise("a.wav", 3.0), listener=listener)
    assert names() == ["inference_output.jsonl"]
    assert Path("inference_output.jsonl").read_text() == "precious\n"
    assert not [message for message in listener.said if "held another run" in message]


def test_run_stopped_between_answers_keeps_them_and_the_output_of_another(
    make_noise: Callable[..., Path],
) -> None:
    Path("inference_output.jsonl").write_text("precious\n")
    listener = Listener(stop_at_answer=2)
    with pytest.raises(KeyboardInterrupt):
        ask(make_noise("a.wav", 60.0), listener=listener)
    assert names() == [
        "inference_output.jsonl",
        "inference_output.jsonl.journal",
        "inference_output.jsonl.partial",
        "inference_output.jsonl.partial.run.json",
    ]
    assert Path("inference_output.jsonl").read_text() == "precious\n"
    assert [row["start_seconds"] for row in rows("inference_output.jsonl.partial")] == [0.0, 10.0]
    assert listener.said[-1] == (
        "Stopped: the 2 answers so far are kept in inference_output.jsonl.partial. The same command goes on "
        "from here."
    )


def test_finished_run_moves_the_output_of_another_aside(make_noise: Callable[..., Path]) -> None:
    Path("inference_output.jsonl").write_text("precious\n")
    listener = Listener()
    ask(make_noise("a.wav", 3.0), listener=listener)
    assert Path("inference_output.1.jsonl").read_text() == "precious\n"
    assert listener.said[-1].startswith("inference_output.jsonl held another run; its files are now")


@pytest.mark.parametrize(
    ("query", "message"),
    [("<AudioHere> or <AudioHere>?", "AudioHere"), ("Which species is it? " * 500, "shorten it")],
)
def test_every_query_is_checked_before_any_work(
    query: str, message: str, make_noise: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_noise("a.wav", 3.0)
    monkeypatch.setattr(run_module, "model_fingerprint", None)  # the first work after the checks
    with pytest.raises(ConfigError, match=message):
        ask(path, queries=(FOCAL, query))
    assert names() == []


@pytest.mark.parametrize(
    ("asked", "before", "fallback"),
    [
        ("hub/model", None, "bundled"),
        ("hub/model", {"requested": "hub/model", "loaded": "hub/model"}, None),
        ("hub/model", {"requested": "hub/model", "loaded": "bundled"}, "bundled"),
        ("other", {"requested": "hub/model", "loaded": "hub/model"}, "bundled"),
    ],
)
def test_run_goes_on_with_no_other_model(asked: str, before: dict[str, str] | None, fallback: str) -> None:
    config = InferenceConfig(model=asked, fallback="bundled")
    request = RunRequest([], [FOCAL], configuration=Configuration(config))
    parameters = {"queries": [FOCAL], "window_length_seconds": 10.0, "channel": "mix", "model": before}
    configuration = _without_fallback(request, (FOCAL,), parameters if before else None)
    assert configuration.config.fallback == fallback
    changed = {**parameters, "queries": ["Another?"]}
    assert _without_fallback(request, (FOCAL,), changed).config.fallback == "bundled"


def test_request_that_was_answered_whole_before_loads_no_model(
    make_noise: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_noise("a.wav", 12.0)
    ask(path)
    whole = {name: Path(name).read_bytes() for name in names()}
    record = "inference_output.jsonl.run.json"
    monkeypatch.setattr(run_module, "build_engine", None)  # whoever asks for a model fails
    listener = Listener()
    again = ask(path, listener=listener)
    assert (again.recordings, again.windows, again.reused, again.failures) == (1, 2, 1, 0)
    assert listener.events == [] and listener.said == [
        "Model: naturelm-lite on cpu.",
        "Going on with an earlier run: 1 of 1 recordings and 2 windows are done.",
    ]
    fleeting = {"started_at", "finished_at", "waiting_for_audio_share"}
    records = [json.loads(content) for content in (whole.pop(record), Path(record).read_bytes())]
    assert len({json.dumps({k: v for k, v in one.items() if k not in fleeting}) for one in records}) == 1
    assert {name: Path(name).read_bytes() for name in names() if name not in (record, JOURNAL)} == {
        name: content for name, content in whole.items() if name != JOURNAL
    }
    for other in ({"queries": ("Caption the audio",)}, {"paths": (path, make_noise("b.wav", 3.0))}):
        with pytest.raises(TypeError):
            ask(*other.get("paths", (path,)), queries=other.get("queries", (FOCAL,)))
