"""While the files of a run are written: a full disk is one sentence, and names change together."""

from __future__ import annotations

import errno
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from NatureLM.errors import NatureLMError

ADVICE = {
    errno.ENOSPC: "make room on the disk and ",
    getattr(errno, "EDQUOT", errno.ENOSPC): "make room on the disk and ",
    errno.EACCES: "close it in other programs, or have its folder made writable, and ",
    errno.EPERM: "close it in other programs, or have its folder made writable, and ",
}
"""What helps, by the number of the system's error."""


@contextmanager
def written_or_said(path: Path) -> Iterator[None]:
    """Within it what the system refuses to write is an error that says what to do."""
    try:
        yield
    except OSError as error:
        advice = ADVICE.get(error.errno or 0, "")
        raise NatureLMError(
            f"cannot write {path} ({error.strerror or error}); {advice}give the same command again, or name "
            "another place with --output-path."
        ) from error


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within it a second Ctrl-C is not heard, so that files get their names together."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
