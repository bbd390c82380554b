"""Why a file cannot be read, in words for one sentence."""

from __future__ import annotations

import textwrap
from pathlib import Path

from NatureLM.errors import CheckpointError

LONGEST_REASON = 200

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
WEB_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml")
"""How pages begin, in small letters; stores answer with XML when they refuse."""


def one_line(error: BaseException) -> str:
    """Return what an error says, on one line and without a full stop; its kind where it says nothing."""
    text = textwrap.shorten(str(error), LONGEST_REASON, placeholder=" ...")
    if isinstance(error, KeyError):
        return f"there is no {text}"
    return text.removesuffix(".") or type(error).__name__


def refuse_stand_in(file: Path) -> None:
    """Refuse what often lies in a model file's place: a Git LFS pointer, a web page, nothing.

    Raises
    ------
    CheckpointError
        If it is one of these, with the way to the file itself.
    """
    try:
        with file.open("rb") as content:
            head = content.read(512)
    except OSError:
        return
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if head.startswith(LFS_POINTER):
        raise CheckpointError(
            f"The file {file} is a Git LFS pointer, not the file: fetch it with git lfs pull."
        )
    if text.startswith(WEB_PAGES):
        raise CheckpointError(f"The file {file} is a web page, not a model's file: download it again.")
    if not head:
        raise CheckpointError(f"The file {file} is empty: download it again.")
