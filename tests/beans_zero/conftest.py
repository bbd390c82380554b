"""What the benchmark's own program (v1.0.0) answered: a copy of ../shared/parity/beans_zero in ``golden``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).with_name("golden")


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """Each recorded file by its stem."""
    files = {path.stem: json.loads(path.read_text()) for path in GOLDEN.glob("*.json")}
    rows = (GOLDEN / "rows.jsonl").read_text().splitlines()
    return {**files, "rows": [json.loads(row) for row in rows]}
