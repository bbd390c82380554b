"""Lists of candidates as users have them: a file with a name a line, or names with commas between."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from NatureLM.errors import ConfigError

Names = str | os.PathLike[str] | Sequence[str]
"""A file, names with commas between, or the names themselves."""

_COMMENT = re.compile(r"(?:^|\s)#.*")
_LOOKS_LIKE_A_FILE = re.compile(r"[/\\]|\.(?:txt|csv|tsv|list)$", re.IGNORECASE)


def read_names(names: Names, option: str = "--candidates") -> tuple[str, ...]:
    """Return the names of a list, each once, in its order.

    Parameters
    ----------
    names : str, path or sequence of str
        A sequence holds the names as they are. Text is a file if there is one of that name (UTF-8; a line is
        a name, whatever commas it holds; empty lines, and what stands behind a ``#``, are passed over), and
        otherwise names with commas between.
    option : str
        What messages call the list.

    Raises
    ------
    ConfigError
        There is no such file, it cannot be read, or the list is empty.
    """
    if isinstance(names, (str, os.PathLike)):
        path = Path(names)
        if not _is_file(path):
            if isinstance(names, os.PathLike) or _LOOKS_LIKE_A_FILE.search(names):
                wrong = "it is a folder" if path.is_dir() else "no such file"
                raise ConfigError(f"{option} {names}: {wrong}; name a text file with a name a line.")
            return _each_once(names.split(","), f"{option} {names!r}")
        return _each_once(_lines(path), str(path))
    return _each_once(names, option.strip("-"))


def _is_file(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):  # too long for a name, such as a list of many
        return False


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ConfigError(
            f"{path}: cannot be read as a list of names ({reason}); expected a text file with a name a line."
        ) from None
    return [_COMMENT.sub("", line) for line in text.splitlines()]


def _each_once(names: Sequence[str], source: str) -> tuple[str, ...]:
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{source}: expected names as text, for example ['Great Tit', 'Coal Tit'].")
    kept = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    if not kept:
        raise ConfigError(f"{source}: holds no name; give at least one, for example 'Great Tit'.")
    return kept


def candidate_options(names: Names | None, known_names: Names | None, **others: Any) -> dict[str, Any]:
    """Return the options of the configuration that say what answers are restricted to."""
    options = {"names": _as_option(names), "known_names": _as_option(known_names)} | others
    return {f"candidates.{name}": value for name, value in options.items()}


def _as_option(names: Names | None) -> str | list[str] | None:
    if names is None:
        return None
    return os.fspath(names) if isinstance(names, (str, os.PathLike)) else list(names)
