"""The temporary folder of a running app, and those that killed apps left."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

PREFIX = "naturelm-app-"

LOCK = "in-use"
"""File in the folder; whoever uses the folder holds its lock, which ends with the process, however it ends.

A process number would not do: it is given again, and means another process in another container.
"""


class TemporaryFolder:
    """A new folder that is this process's while it lives.

    Attributes
    ----------
    path : Path
    uploads : Path
        Folder within it.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        self._lock = _new_lock(self.path)
        self.uploads = self.path / "uploads"
        self.uploads.mkdir()

    def remove(self) -> None:
        """Remove it with all that it holds."""
        _remove(self.path)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def remove_abandoned() -> None:
    """Remove the folders of this user's apps that were killed; folders without a lock's file are left."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            lock = _lock_of_dead(folder)
        except OSError:
            continue
        if lock is not None:
            _remove(folder)
            os.close(lock)


def _remove(folder: Path) -> None:
    # The lock's file goes last: what is left, should this be interrupted, can still be recognised.
    shutil.rmtree(folder / "uploads", ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


if sys.platform == "win32":  # an app that was killed leaves its folder

    def _new_lock(folder: Path) -> int | None:
        return None

    def _lock_of_dead(folder: Path) -> int | None:
        return None

else:
    import fcntl

    # Stricter than NatureLM.infer.locking: where a lock cannot be had or asked for, nothing is removed.

    def _new_lock(folder: Path) -> int | None:
        """Lock a new folder; it gets the lock's name once locked, so that nobody finds it free."""
        unnamed = folder / f"{LOCK}.new"
        lock = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # a file system without locks
            os.close(lock)
            unnamed.unlink()
            return None
        unnamed.rename(folder / LOCK)
        return lock

    def _lock_of_dead(folder: Path) -> int | None:
        """Lock a folder of this user's that no process uses; None where it is none."""
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            return None
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(lock)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid():
                raise OSError(f"{folder / LOCK} is no lock of ours")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise
        return lock
