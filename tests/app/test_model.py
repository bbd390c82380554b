from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from NatureLM.app.model import Stopped, Turn
from NatureLM.app.settings import AppSettings


def test_the_turn_is_had_in_the_order_in_which_it_is_asked_for() -> None:
    turn, had = Turn(), list[str]()

    def run() -> None:
        for _ in range(3):
            with turn:
                had.append("run")
                time.sleep(0.2)

    def question(name: str) -> None:
        with turn:
            had.append(name)

    threads = [threading.Thread(target=run)]
    threads += [threading.Thread(target=question, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join(30)
    assert had == ["run", "first", "second", "run", "run"]


def test_whoever_is_stopped_waits_no_longer() -> None:
    turn, stopped, ended = Turn(), threading.Event(), threading.Event()

    def question() -> None:
        with pytest.raises(Stopped), turn.unless(stopped.is_set):
            pytest.fail("had the turn")
        ended.set()

    with turn:
        threading.Thread(target=question, daemon=True).start()
        time.sleep(0.2)
        assert not ended.is_set()
        stopped.set()
        assert ended.wait(30)
    with turn.unless(lambda: False):
        pass
    with pytest.raises(Stopped), turn.unless(lambda: True):
        pytest.fail("had the turn")
    with turn:  # it was given back
        pass


def test_only_what_the_loading_warns_of_is_kept_and_without_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("gradio")
    from NatureLM.app.house import House

    model = object()

    def configured(_: Any) -> object:
        warn = logging.getLogger("NatureLM.audio").warning
        page = threading.Thread(target=warn, args=("%s holds no recordings.", tmp_path))
        page.start()
        page.join()
        warn("%s:  another answers instead.", tmp_path / "june" / "model")
        return model

    monkeypatch.setattr("NatureLM.app.model.Pipeline.configured", configured)
    house = House(AppSettings(recordings_dir=tmp_path))
    house.model.load()
    assert house.model.pipeline(30) is model
    assert house.model.warnings == ["june/model: another answers instead."]
    house.files.remove()
