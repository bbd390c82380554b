import os
import signal
import subprocess
import sys

import pytest
import typer

from NatureLM.cli.running import run, run_and_exit
from NatureLM.errors import ConfigError, NatureLMError


def app_that_raises(error: BaseException) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ConfigError("--x: wrong."), 2, "tool: error: --x: wrong.\n"),
        (NatureLMError("cannot write\n x."), 1, "tool: error: cannot write x.\n"),
        (KeyboardInterrupt(), 130, "tool: error: interrupted.\n"),
    ],
)
def test_errors_are_one_line_and_a_status(
    error: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(app_that_raises(error), "tool", []) == status
    assert capsys.readouterr().err == message


def test_handlers_of_signals_are_as_they_were() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert run(app_that_raises(KeyboardInterrupt()), "tool", []) == 130
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_second_interrupt_does_not_garble_the_end_of_the_process() -> None:
    code = (
        "import atexit, os, signal, typer\n"
        "from NatureLM.cli.running import run_and_exit\n"
        "app = typer.Typer()\n"
        "@app.command()\n"
        "def fail():\n    raise KeyboardInterrupt\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "run_and_exit(app, 'tool', [])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "tool: error: interrupted.\n")


def test_process_ends_with_the_status_of_the_command() -> None:
    with pytest.raises(SystemExit) as caught:
        run_and_exit(app_that_raises(ConfigError("wrong.")), "tool", [])
    assert caught.value.code == 2
