from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from NatureLM.infer.answers import Answer
from NatureLM.infer.writers import COLUMNS, LONG_COLUMNS, annotation_rows, long_rows
from NatureLM.models.answering import Detection

COCKATOO = Detection("Galah", "Eolophus roseicapilla", 0.5)


def short(row: dict[str, Any]) -> tuple[Any, ...]:
    return (row["start_seconds"], row["end_seconds"], row["common_name"], row["score"])


def test_columns_are_those_of_an_answer() -> None:
    assert ",".join(COLUMNS) == (
        "audio_path,channel,start_seconds,end_seconds,query,output,confidence,mean_logprob,model,"
        "recorded_at,site,silent,withheld,detections,scores"
    )
    assert (*COLUMNS[:-2], "scores", "common_name", "scientific_name", "score") == LONG_COLUMNS


def test_one_row_per_species_and_window(rows: list[Answer]) -> None:
    long = list(long_rows(row.as_row() for row in rows))
    assert [short(row) for row in long] == [
        (0.0, 10.0, "Great Tit", 0.9623),
        (0.0, 10.0, "Common Cuckoo", 0.5),
        (10.0, 20.0, "Great Tit", 0.98),
        (20.0, 25.0, None, None),
        (0.0, 10.0, None, None),
    ]
    assert all(tuple(row) == LONG_COLUMNS for row in long)
    assert long[1]["output"] == "Great Tit, Common Cuckoo"


def test_neighbours_become_one_row_that_says_what_the_surer_window_said(rows: list[Answer]) -> None:
    merged = list(long_rows((row.as_row() for row in rows), merge=True))
    assert [short(row) for row in merged] == [
        (0.0, 20.0, "Great Tit", 0.98),
        (0.0, 10.0, "Common Cuckoo", 0.5),
        (20.0, 25.0, None, None),
        (0.0, 10.0, None, None),
    ]
    assert merged[0]["output"] == "Great Tit"


def test_a_merged_row_was_recorded_when_its_first_window_was(answer: Callable[..., Answer]) -> None:
    """Although the second is surer, and of the next day."""
    times = ["2023-06-21T23:59:55+00:00", "2023-06-22T00:00:05+00:00"]
    rows = [
        answer(
            "a.wav",
            10.0 * place,
            "Great Tit",
            Detection("Great Tit", "Parus major", score),
            recorded_at=times[place],
        )
        for place, score in enumerate((0.5, 0.9))
    ]
    (merged,) = long_rows((row.as_row() for row in rows), merge=True)
    assert (merged["start_seconds"], merged["score"], merged["recorded_at"]) == (0.0, 0.9, times[0])


@pytest.mark.parametrize(
    ("start", "changed", "count"),
    [
        (10.0, {}, 1),
        (5.0, {}, 1),  # overlapping
        (10.5, {}, 2),  # a gap
        (10.0, {"channel": "2"}, 2),
        (10.0, {"query": "Which parrots?"}, 2),
        (10.0, {"audio_path": "b.wav"}, 2),
        (10.0, {"detections": [Detection("Budgerigar", "Melopsittacus undulatus", 0.9)]}, 2),
    ],
)
def test_only_touching_windows_of_one_kind_are_merged(
    answer: Callable[..., Answer], start: float, changed: dict[str, Any], count: int
) -> None:
    first = answer("a.wav", 0.0, "Galah", COCKATOO)
    values: dict[str, Any] = {"audio_path": "a.wav", "detections": [COCKATOO]} | changed
    second = answer(values.pop("audio_path"), start, "Galah", **values)
    merged = list(long_rows([first.as_row(), second.as_row()], merge=True))
    assert len(merged) == count
    assert merged[-1]["end_seconds"] == start + 10.0


def test_windows_within_a_longer_one_do_not_shorten_it(answer: Callable[..., Answer]) -> None:
    last = answer("a.wav", 5.0, "Galah", COCKATOO, end_seconds=8.0)
    (row,) = long_rows([answer("a.wav", 0.0, "Galah", COCKATOO).as_row(), last.as_row()], merge=True)
    assert short(row) == (0.0, 10.0, "Galah", 0.5)


def test_captions_are_never_merged(answer: Callable[..., Answer]) -> None:
    same = [answer("a.wav", start, "A bird sings.", query="Caption").as_row() for start in (0.0, 10.0)]
    assert len(list(annotation_rows(same, merge=True))) == 2


@pytest.mark.parametrize(
    ("query", "output", "label"),
    [
        ("Which species?", "None", None),
        ("Which species?", "none.", None),
        ("Which species?", "", None),
        ("Is it male or female?", "I cannot tell from this model.", None),
        ("Caption the audio", "A frog calls.", "A frog calls."),
        ("Is it raining? Answer Yes or No.", "No", "No"),
        ("Is there a Great Tit in the audio?", "No.", None),
        ("Is there a Great Tit in the audio?", "No, there is none.", None),
        ("Is there a Great Tit in the audio?", "Yes.", "Yes."),
        ("Is this a Coal Tit or a Marsh Tit?", "Coal Tit", "Coal Tit"),
        ("Which is it?", "Northern Cardinal", "Northern Cardinal"),
    ],
)
def test_absences_have_no_label(
    answer: Callable[..., Answer], query: str, output: str, label: str | None
) -> None:
    (row,) = annotation_rows([answer("a.wav", 0.0, output, query=query).as_row()])
    assert row["label"] == label
    assert row["certainty"] == 0.998131


def test_certainty_is_the_score_where_there_is_one(answer: Callable[..., Answer]) -> None:
    unscored = Detection("Galah", "Eolophus roseicapilla", None)
    (row, other) = annotation_rows([answer("a.wav", 0.0, "Galah", COCKATOO, unscored).as_row()])
    assert (row["certainty"], other["certainty"]) == (0.5, 0.998131)
