"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(contents: Mapping[Path, bytes]) -> None:
    """Write files under temporary names and then give all of them their own.

    Raises
    ------
    OSError
        One cannot be written; then none is. Its ``filename`` is the one that was asked for.
    """
    unfinished = {path: path.with_name(f"{path.name}.{os.getpid()}.writing") for path in contents}
    path = Path()
    try:
        for path, temporary in unfinished.items():
            temporary.write_bytes(contents[path])
        for path, temporary in unfinished.items():
            temporary.replace(path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        for temporary in unfinished.values():
            with suppress(OSError):
                temporary.unlink()
