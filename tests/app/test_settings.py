from pathlib import Path

import pytest

from NatureLM.app.settings import AppSettings
from NatureLM.errors import ConfigError


@pytest.mark.parametrize(
    ("host", "given", "megabytes"),
    [("127.0.0.1", None, 4096), ("localhost", None, 4096), ("0.0.0.0", None, 500), ("0.0.0.0", 20, 20)],
)
def test_uploads_are_smaller_where_others_reach_the_page(
    host: str, given: int | None, megabytes: int
) -> None:
    assert AppSettings(host=host, max_upload_mb=given).upload_bytes == megabytes * 1_000_000


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"assets_dir": Path("nowhere")}, "--assets-dir nowhere: no such folder"),
        ({"recordings_dir": Path("nowhere")}, "--recordings-dir nowhere: no such folder"),
        ({"max_upload_mb": 0}, "--max-upload-mb 0: expected 1 or more"),
        ({"port": 70000}, "--port 70000: expected a number from 0 to 65535"),
    ],
)
def test_what_makes_no_sense_is_said(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AppSettings(**wrong)  # type: ignore[arg-type]
