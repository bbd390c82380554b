from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from NatureLM.errors import NatureLMError
from NatureLM.infer.guards import written_or_said


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "; make room on the disk and give the same command again, or name another place"),
        (errno.EACCES, "; close it in other programs, or have its folder made writable, and give the same"),
        (errno.ENAMETOOLONG, "; give the same command again, or name another place with --output-path."),
    ],
)
def test_advice_is_for_what_is_wrong(number: int, advice: str) -> None:
    with pytest.raises(NatureLMError) as told, written_or_said(Path("june.csv")):
        raise OSError(number, os.strerror(number), "june.csv")
    assert str(told.value).startswith(f"cannot write june.csv ({os.strerror(number)}){advice}")
