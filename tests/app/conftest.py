"""The web app: its parts in this process, and a whole one as a user starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from NatureLM.app.house import House
from NatureLM.app.settings import AppSettings

ASSETS = Path(__file__).parents[2] / "assets"


@dataclass(frozen=True)
class Server:
    """A running app.

    Attributes
    ----------
    url : str
    recordings : Path
        Its ``--recordings-dir``.
    outside : Path
        A file that it has no business with.
    temporary : Path
        The folder in which it makes its temporary files.
    seconds : float
        From the command to the first answer.
    process : Popen
    """

    url: str
    recordings: Path
    outside: Path
    temporary: Path
    seconds: float
    process: subprocess.Popen[str]


def status_of(url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> int:
    """Return the status of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers or {}), timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="session")
def status() -> Callable[..., int]:
    """Return the status that an address answers with."""
    return status_of


def wait_for_page(url: str, seconds: float) -> None:
    """Wait until Gradio itself answers."""
    end = time.monotonic() + seconds
    while status_of(url + "config") != 200:
        assert time.monotonic() < end, "the app did not come up"
        time.sleep(0.5)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An app as `naturelm inference-app` starts it, with uploads of up to 5 MB."""
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("app")
    recordings, temporary = folder / "recordings", folder / "tmp"
    (recordings / "june").mkdir(parents=True)
    temporary.mkdir()
    samples, rate = soundfile.read(ASSETS / "dawn_25s.ogg", dtype="float32")
    soundfile.write(recordings / "june" / "long.flac", np.tile(samples, 24), rate)  # 10 minutes
    outside = folder / "secret.wav"
    soundfile.write(outside, samples[:rate], rate)
    (recordings / "link.wav").symlink_to(outside)
    environment = {
        **os.environ,
        "XDG_DATA_HOME": str(folder / "data"),
        "TMPDIR": str(temporary),
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        "no_proxy": "127.0.0.1",
    }
    began = time.monotonic()
    command = [sys.executable, "-m", "NatureLM.cli.main", "inference-app", "--port", "0"]
    options = ["--recordings-dir", str(recordings), "--max-upload-mb", "5", "--device", "cpu"]
    process = subprocess.Popen(
        command + options, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.partition(" is at ")[2].split(" ")[0]
        assert status_of(url) == 200, line
        seconds = time.monotonic() - began
        wait_for_page(url, 180)
        yield Server(url, recordings, outside, temporary, seconds, process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert list(temporary.glob("naturelm-app-*")) == []  # what was uploaded is removed


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """What the tabs share, with the bundled model loaded."""
    pytest.importorskip("gradio")
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
    patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    house = House(AppSettings(assets_dir=ASSETS))
    house.model.load()
    house.model.pipeline(300)
    yield house
    house.files.remove()
    patch.undo()
