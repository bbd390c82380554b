"""Presses, the floor and leaving, at any moment of a run."""

import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from NatureLM.app.api import Api
from NatureLM.app.app import page
from NatureLM.app.batch import Batch
from NatureLM.app.house import House
from NatureLM.app.long_recording import LongRecording
from NatureLM.app.run_tab import RunState
from NatureLM.app.runs import Run
from NatureLM.app.settings import AppSettings
from NatureLM.errors import ConfigError, NatureLMError
from NatureLM.infer.kept_features import KeptFeatures
from NatureLM.infer.settings import read_configuration

ASSETS = Path(__file__).parents[2] / "assets"
QUERY = "What are the common names for the species in the audio, if any?"
DAWN = [str(ASSETS / "dawn_25s.ogg")]
LONG = (DAWN, QUERY, 1.0, 0.02, 0.25)
"""Inputs of a run that takes its time."""
SURE = ["Northern Saw-whet Owl", "None", "None"]
"""Answers of the short run with a floor of 0.99."""
SHORT = (DAWN, QUERY, 10.0, 10.0, 0.25)

Outputs = Generator[tuple[Any, ...], None, None]


def begun(tab: Batch, state: RunState, inputs: tuple[Any, ...]) -> tuple[Outputs, Run]:
    """Begin a run as the page does; return its outputs and itself."""
    tab.press(state, *inputs)
    outputs = tab.run(state, *inputs)
    next(outputs)
    assert state.run is not None
    return outputs, state.run


def texts(outputs: Outputs) -> list[str]:
    """Return what the progress says, up to the end."""
    return [text for _, text, *_ in outputs if isinstance(text, str)]


def is_nothing(outputs: tuple[Any, ...]) -> bool:
    return all(isinstance(each, dict) and set(each) == {"__type__"} for each in outputs)


def test_a_press_during_a_run_ends_it_and_begins_anew(house: House) -> None:
    tab, state = Batch(house), RunState()
    first, old = begun(tab, state, LONG)
    _, waiting = tab.press(state, *SHORT)
    assert "Waiting" in waiting
    second = tab.run(state, *SHORT)
    assert "Done.</b> 3 answers about 1 of 1" in texts(second)[-1]
    assert old.cancelled
    rest = list(first)
    assert rest
    assert all(is_nothing(outputs) for outputs in rest)  # nothing of the old run is written over the new
    assert state.run is not old


def test_a_press_waits_for_what_the_old_run_is_sending(house: House) -> None:
    tab, state = Batch(house), RunState()
    first, old = begun(tab, state, LONG)  # Gradio has not gone on with it: it is still sending
    pressing = threading.Thread(target=tab.press, args=(state, *SHORT))
    pressing.start()
    pressing.join(0.3)
    assert pressing.is_alive()
    assert is_nothing(next(first))
    pressing.join(10)
    assert not pressing.is_alive()
    assert old.is_over


def test_cancel_says_so_at_once(house: House) -> None:
    tab, state = Batch(house), RunState()
    with house.model.turn:  # what is with the model takes long
        outputs, run = begun(tab, state, LONG)
        while not house.model.turn._waiting:  # the run itself
            time.sleep(0.01)
        tab.cancel(state)
        _, text, *_ = next(outputs)
        assert not run.wait(0.0)
        assert "Cancelling" in text
        assert "left" not in text
    assert "<b>Cancelled.</b>" in texts(outputs)[-1]


def test_cancel_followed_by_a_press_begins_anew(house: House) -> None:
    tab, state = Batch(house), RunState()
    first, _ = begun(tab, state, LONG)
    tab.cancel(state)
    tab.press(state, *SHORT)
    assert "Done." in texts(tab.run(state, *SHORT))[-1]
    assert state.run is not None
    assert not state.run.cancelled
    first.close()


def test_a_run_is_cancelled_before_it_has_begun(house: House) -> None:
    tab, state = Batch(house), RunState()
    tab.press(state, *LONG)
    _, text = tab.cancel(state)
    assert "Cancelled." in text
    assert "Cancelled." in texts(tab.run(state, *LONG))[-1]
    assert state.run is None
    tab.press(state, *SHORT)
    assert "Done." in texts(tab.run(state, *SHORT))[-1]


def test_a_press_that_asks_for_nothing_leaves_the_run_alone(house: House) -> None:
    tab, state = Batch(house), RunState()
    outputs, run = begun(tab, state, LONG)
    wrong: tuple[tuple[tuple[Any, ...], str], ...] = (
        (([], *SHORT[1:]), "There is no recording"),
        ((DAWN, " ", *SHORT[2:]), "There is no question"),
        ((DAWN, QUERY, 99.0, 10.0, 0.25), r"Window \(s\) 99"),
        ((DAWN, QUERY, 10.0, 10.0, 7.0), "^Evidence floor 7: expected a number from 0 to 1"),
        ((DAWN, f"{QUERY}\n{'and why ' * 5_000}", *SHORT[2:]), "The query is .* tokens long"),
        ((DAWN, "<AudioHere> or <AudioHere>?", *SHORT[2:]), "AudioHere"),
    )
    for inputs, message in wrong:
        with pytest.raises(NatureLMError, match=message):
            tab.press(state, *inputs)
        with pytest.raises(NatureLMError, match=message):
            next(tab.run(state, *inputs))  # programs do not press
    assert not run.cancelled
    assert not run.is_over
    assert run.jsonl.parent.is_dir()
    tab.cancel(state)
    assert "Cancelled." in texts(outputs)[-1]
    said = tab.not_begun(state)
    assert "the answers here are about dawn_25s.ogg" in said
    assert "Nothing was begun." in tab.not_begun(RunState())


def test_a_run_that_cannot_be_made_leaves_the_old_answers(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab, state = Batch(house), RunState()
    outputs, old = begun(tab, state, SHORT)
    list(outputs)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(KeptFeatures, "__init__", full)
        next(tab.run(state, *SHORT))
    assert state.run is old
    time.sleep(0.2)  # what is discarded goes in a thread
    assert len(list(old.rows())) == 3
    list(tab.run(state, *SHORT))
    until = time.monotonic() + 10
    while old.jsonl.parent.exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert not old.jsonl.parent.exists()


def test_windows_are_those_of_the_configuration(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = ("batch-window", "batch-hop", "long-window", "long-hop")
    for typed, expected in (
        ([], [10.0, 10.0, 10.0, 10.0]),
        (["window_length_seconds=3"], [3.0, 3.0, 3.0, 3.0]),
        (["window_length_seconds=0.3", "hop_length_seconds=90"], [0.3, 90.0, 0.3, 90.0]),
    ):
        configured = House(AppSettings(assets_dir=ASSETS, configuration=read_configuration(None, typed)))
        parts = {part.elem_id: part for part in page(configured).blocks.values() if hasattr(part, "elem_id")}
        assert [parts[field].value for field in fields] == expected
        assert [parts[field].preprocess(parts[field].value) for field in fields] == expected  # within limits
        configured.files.remove()
    monkeypatch.setattr(house.model.pipeline(), "window_length_seconds", 3.0)
    monkeypatch.setattr(house.model.pipeline(), "hop_length_seconds", 4.0)
    for given, times in (
        ((), [(0.0, 3.0), (4.0, 7.0), (8.0, 10.0)]),
        ((5.0,), [(0.0, 5.0), (5.0, 10.0)]),
        ((None, 6.0), [(0.0, 3.0), (6.0, 9.0)]),
    ):
        rows = Api(house).ask({"path": str(ASSETS / "great_tit.ogg")}, QUERY, *given)  # type: ignore[arg-type]
        assert [(row["start_seconds"], row["end_seconds"]) for row in rows] == times


def test_faults_call_the_fields_by_their_names(house: House) -> None:
    with pytest.raises(ConfigError, match=r"^Window \(s\) -5: the model"):
        Batch(house).press(RunState(), DAWN, QUERY, -5.0, 10.0, 0.25)
    with pytest.raises(ConfigError, match=r"^Hop \(s\) 0: expected more than 0 seconds"):
        LongRecording(house).press(RunState(), DAWN[0], None, QUERY, 10.0, 0.0, 0.25)


def test_a_floor_moved_during_a_run_holds_when_it_ends(house: House) -> None:
    tab, state = Batch(house), RunState()
    with house.model.turn:
        outputs, run = begun(tab, state, (DAWN, QUERY, 10.0, 10.0, 0.25))
        (moved,) = tab.answer_again(state, 0.99)
        assert is_nothing(moved)
        _, text, *_ = next(outputs)
        assert "floor" in text
    *_, (_, done, chart, _, files) = outputs  # programs take the last one for the result
    assert "Done." in done
    assert "Northern Saw-whet Owl" in chart
    assert "Eastern Wood-Pewee" not in chart
    assert len(files) == 4
    assert run.floor == 0.99
    assert [row["output"] for row in run.rows()] == SURE


def test_a_floor_moved_before_a_run_has_begun_holds_for_it(house: House) -> None:
    tab, state = Batch(house), RunState()
    tab.press(state, *SHORT)
    list(tab.answer_again(state, 0.99))
    list(tab.run(state, *SHORT))
    assert state.run is not None
    assert [row["output"] for row in state.run.rows()] == SURE


def test_the_floor_moved_last_holds(house: House) -> None:
    tab, state = Batch(house), RunState()
    outputs, run = begun(tab, state, SHORT)
    list(outputs)
    slow = tab.answer_again(state, 0.99)
    house.model.turn.take()
    answering = threading.Thread(target=list, args=(slow,))
    answering.start()
    until = time.monotonic() + 10
    while not run.answering_again.locked() and time.monotonic() < until:
        time.sleep(0.01)
    later = threading.Thread(target=lambda: list(tab.answer_again(state, 0.2)))
    later.start()
    while run.wanted_floor != 0.2 and time.monotonic() < until:
        time.sleep(0.01)
    house.model.turn.give_back()
    answering.join(60)
    later.join(60)
    assert run.floor == 0.2
    assert [row["output"] for row in run.rows()] == ["Northern Saw-whet Owl", "None", "Eastern Wood-Pewee"]


def test_a_run_ends_when_nobody_can_see_it_any_more(house: House) -> None:
    """Gradio closes the generators of a page that is closed, reloaded or has lost its connection."""
    tab, state = Batch(house), RunState()
    outputs, run = begun(tab, state, LONG)
    outputs.close()
    assert run.cancelled
    assert run.wait(60)


def test_a_fault_late_in_a_run_leaves_its_answers(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    tab, state = Batch(house), RunState()

    def full(self: KeptFeatures, features: Any) -> None:
        if list(state_files(state)):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(KeptFeatures, "add", full)
    tab.press(state, *LONG)
    *_, (_, text, _, _, files) = (shown for shown in tab.run(state, *LONG) if not is_nothing(shown))
    assert state.run is not None
    assert 0 < state.run.answers < 1250
    assert f"Ended before its time.</b> {state.run.answers} answers about 1 of 1" in text
    assert "The run ended by a fault: [Errno 28] No space left on device" in text
    assert [Path(path).name for path in files][:2] == ["results.jsonl", "results.csv"]
    assert len(Path(files[0]).read_text().splitlines()) == state.run.answers


def state_files(state: RunState) -> list[Path]:
    """Return the run's results, where it has any."""
    jsonl = state.run.jsonl if state.run else None
    return [jsonl] if jsonl is not None and jsonl.exists() and jsonl.stat().st_size else []


def test_a_fault_of_a_run_is_not_called_no_run(house: House) -> None:
    tab, state = Batch(house), RunState()
    outputs, run = begun(tab, state, LONG)
    assert "Ended by a fault" in tab.broken_off(state)
    tab.press(state, *SHORT)
    assert "Nothing was begun" in tab.broken_off(state)
    run.cancel()
    list(outputs)


def test_all_runs_are_ended_with_the_app(house: House) -> None:
    tab, state = Batch(house), RunState()
    _, run = begun(tab, state, LONG)
    assert run in house.runs
    house.end_runs(60)
    assert run.cancelled
    assert not any(thread.name == "answers a run" for thread in threading.enumerate())
