"""What an app leaves behind: nothing, however it ends, once another has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from NatureLM.app.temporary import LOCK, TemporaryFolder, remove_abandoned

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither SIGHUP nor flock")

DAWN = Path(__file__).parents[2] / "assets" / "dawn_25s.ogg"

HOLDING = (
    "from NatureLM.app.temporary import TemporaryFolder as F; f = F(); print(f.path, flush=True); input()"
)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process makes its temporary folders."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def another_process(temporary: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Yield a process that uses a folder, and the folder."""
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        (folder / "uploads" / "night.wav").write_bytes(b"RIFF")
        yield process, folder
    finally:
        process.kill()
        process.communicate()


def test_the_folder_of_a_killed_app_is_removed_and_that_of_a_living_one_stays(temporary: Path) -> None:
    mine = TemporaryFolder()
    with another_process(temporary) as (process, folder):
        remove_abandoned()
        assert (folder / "uploads" / "night.wav").exists()
        assert mine.uploads.exists()
        process.kill()
        process.wait(30)
        remove_abandoned()
        assert not folder.exists()
        assert mine.uploads.exists()
    mine.remove()
    assert list(temporary.iterdir()) == []


def test_what_is_not_ours_is_never_removed(temporary: Path) -> None:
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK).touch()
    (temporary / "naturelm-app-link").symlink_to(elsewhere)
    (temporary / "naturelm-app-notes").mkdir()  # no lock's file
    (temporary / "naturelm-app-file").touch()
    linked = temporary / "naturelm-app-linked"
    linked.mkdir()
    (linked / LOCK).symlink_to(elsewhere / LOCK)
    before = sorted(temporary.rglob("*"))
    remove_abandoned()
    assert sorted(temporary.rglob("*")) == before


def test_the_folder_of_another_user_is_never_removed(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = temporary / "naturelm-app-theirs"
    folder.mkdir()
    (folder / LOCK).touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
        remove_abandoned()
        assert folder.exists()
    remove_abandoned()
    assert not folder.exists()


@contextmanager
def an_app(tmp_path: Path, temporary: Path, status: Callable[..., int]) -> Iterator[tuple[Any, str]]:
    """Yield the process of an app as a user starts it, and where its page is."""
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "TMPDIR": str(temporary)}
    environment |= {"PYTHONUNBUFFERED": "1", "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-m", "NatureLM.cli.main", "inference-app", "--port", "0", "--device", "cpu"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().partition(" is at ")[2].split(" ")[0]
            end = time.monotonic() + 180
            while status(url + "config") != 200:
                assert time.monotonic() < end, "the app did not come up"
                time.sleep(0.5)
            yield process, url
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM"])
def test_an_app_whose_terminal_is_closed_leaves_nothing(
    tmp_path: Path, name: str, status: Callable[..., int]
) -> None:
    pytest.importorskip("gradio")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    abandoned = temporary / "naturelm-app-killed"
    abandoned.mkdir()
    (abandoned / LOCK).touch()
    with an_app(tmp_path, temporary, status) as (process, _):
        (folder,) = temporary.glob("naturelm-app-*")
        assert folder != abandoned
        process.send_signal(getattr(signal, name))
        assert process.wait(60) == 130
    assert list(temporary.glob("naturelm-app-*")) == []


@pytest.mark.slow
def test_an_app_ends_in_order_during_a_run(tmp_path: Path, status: Callable[..., int]) -> None:
    pytest.importorskip("gradio")
    gradio_client = pytest.importorskip("gradio_client")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with an_app(tmp_path, temporary, status) as (process, url):
        client = gradio_client.Client(url, verbose=False)
        files = [gradio_client.handle_file(DAWN)] * 4
        client.submit(files, "What species is this?", 1.0, 0.1, 0.25, api_name="/batch")
        end = time.monotonic() + 180
        while not any(path.stat().st_size for path in temporary.glob("*/uploads/*/results.jsonl")):
            assert time.monotonic() < end, "the run did not begin"
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert said.endswith("naturelm: error: interrupted.\n")
    assert list(temporary.glob("naturelm-app-*")) == []
