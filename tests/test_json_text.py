"""What JSON of others is refused for."""

import json

import pytest

from NatureLM.json_text import parse_json


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, null, "é"]}', '{"a": [1, 2.5, null, "é"]}'.encode()])
def test_json_is_read(text: str | bytes) -> None:
    assert parse_json(text) == {"a": [1, 2.5, None, "é"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "it is nested too deeply"),
        ('{"a":' * 100_000, "it is nested too deeply"),
        ("1" * 5_000, "a number in it has too many digits"),
    ],
)
def test_what_python_cannot_hold_is_a_value_error(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_json(text)
    assert str(error.value) == reason


def test_other_faults_keep_their_kind() -> None:
    with pytest.raises(json.JSONDecodeError, match="Expecting value"):
        parse_json("[1, ")
    with pytest.raises(UnicodeDecodeError):
        parse_json(b'"caf\xe9"')
