"""How every command ends: results on standard output, errors in one line, exit status 0, 1 or 2."""

from __future__ import annotations

import io
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from NatureLM.errors import ConfigError, NatureLMError

FAILED = 1
BAD_USAGE = 2
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def run(app: typer.Typer, program: str, arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status.

    Parameters
    ----------
    app : typer.Typer
    program : str
        Name of the command, as in ``naturelm: error: ...``.
    arguments : sequence of str, optional
        What follows the command's name; ``sys.argv`` unless given.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # no file name stops a run
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    with _warnings_in_one_line(), _terminated_like_interrupted():
        try:
            status = app(args=list(arguments), prog_name=program, standalone_mode=False)
        except NatureLMError as error:
            return _fail(program, str(error), BAD_USAGE if isinstance(error, ConfigError) else FAILED)
        except (KeyboardInterrupt, typer.Abort):
            status = INTERRUPTED
        except Exception as error:
            message: Callable[[], str] | None = getattr(error, "format_message", None)
            if message is None:
                raise  # a fault of ours: the traceback helps to find it
            if type(error).__name__ == "NoArgsIsHelpError":
                print(message(), file=sys.stderr)
                return BAD_USAGE
            context: Any = getattr(error, "ctx", None)
            command = context.command_path if context else program
            return _fail(program, f"{message().rstrip(chr(46))}. See {command} --help.", BAD_USAGE)
    if status == INTERRUPTED:  # newer typers turn the exception into this status
        return _fail(program, "interrupted.", INTERRUPTED)
    return status if isinstance(status, int) else 0


def run_and_exit(app: typer.Typer, program: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command line as :func:`run` does, and end the process with its status."""
    status = run(app, program, arguments)
    if status == INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would only garble the exit
    sys.exit(status)


def _fail(program: str, message: str, status: int) -> int:
    print(f"{program}: error: {' '.join(message.split())}", file=sys.stderr)
    return status


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Show what our parts warn of, and Python's own warnings, as lines of standard error."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
            print(level + " ".join(record.getMessage().split()), file=sys.stderr)

    logger, lines = logging.getLogger("NatureLM"), Lines()
    logger.addHandler(lines)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show
            yield
    finally:
        logger.removeHandler(lines)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Within it SIGTERM does what Ctrl-C does, so that what a run has answered is kept."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
