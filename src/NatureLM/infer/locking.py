"""One run at a time writes an output: a lock that ends with the process that holds it, however it ends."""

from __future__ import annotations

import errno
import sys
from typing import IO

HELD_BY_ANOTHER = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
"""What systems say of a lock that another process holds; other errors mean that this disk has no locks."""

LOCKED_BYTE = 2**40
"""Far behind any content: Windows lets nobody read a byte that is locked."""


def try_lock(file: IO[bytes]) -> bool:
    """Lock an open file until it is closed; False if another process holds the lock.

    On disks that know no locks (some network shares) every file counts as free.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            place = file.tell()
            file.seek(LOCKED_BYTE)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            finally:
                file.seek(place)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in HELD_BY_ANOTHER
    return True
