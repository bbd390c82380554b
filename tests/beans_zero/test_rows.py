"""Which rows are asked about, and what: no sound, no model."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import pytest

from NatureLM.beans_zero.data import Fields
from NatureLM.beans_zero.rows import check_queries, plan_rows
from NatureLM.errors import ConfigError

WHAT = "What is the common name for the focal species in the audio?"


class Rows:
    """Rows in memory, which count how many of them were looked at."""

    name = "rows"

    def __init__(self, *rows: dict[str, Any], stamp: tuple[int, int] = (1, 2)) -> None:
        self._rows = rows
        self._stamp = stamp
        self.seen = 0

    def fields(self, components: Collection[str]) -> Iterator[Fields]:
        for place, row in enumerate(self._rows):
            self.seen += 1
            yield Fields(place, row, self._stamp)

    def sounds(self, places: Any) -> Any:
        raise NotImplementedError


def row(component: str, identity: object = None, **values: Any) -> dict[str, Any]:
    return {
        "dataset_name": component,
        "id": identity,
        "output": "Great Tit",
        "instruction": WHAT,
        "metadata": '{"sample_rate": 16000}',
        **values,
    }


def test_the_first_rows_of_each_component_in_the_order_of_the_data() -> None:
    data = Rows(row("cbi", "a"), row("watkins", "b"), row("cbi", "c"), row("cbi", "d"), row("esc50", "e"))
    assert [each.name for each in plan_rows(data, limit=2).rows] == [
        "cbi/a",
        "watkins/b",
        "cbi/c",
        "esc50/e",
    ]
    assert [(each.name, each.place) for each in plan_rows(data, ["watkins", "cbi"], limit=1).rows] == [
        ("cbi/a", 0),
        ("watkins/b", 1),
    ]


def test_no_further_row_is_looked_at_when_all_limits_are_reached() -> None:
    data = Rows(row("cbi"), row("watkins"), row("cbi"), row("cbi"))
    plan_rows(data, ["cbi", "watkins"], limit=1)
    assert data.seen == 2


def test_what_a_row_is_asked_and_how_much_of_it_is_heard() -> None:
    options = "Which of these, if any? single, duet"
    plan = plan_rows(
        Rows(
            row("cbi", instruction=f"<Audio><AudioHere></Audio> {WHAT}"),
            row("enabirds", instruction=options),
            row("gibbons", instruction=None, instruction_text=options),
            row("watkins", metadata={"sample_rate": 44100.0}),
        )
    )
    assert [(each.query, each.seconds, each.sample_rate) for each in plan.rows] == [
        (f"<Audio><AudioHere></Audio> {WHAT}", 10.0, 16000),
        ("What are the common names for the species in the audio, if any?", 10.0, 16000),
        (options, 10.0, 16000),
        (WHAT, 3.0, 44100),
    ]


def test_rows_of_one_id_are_told_apart_and_rows_without_one_get_their_place() -> None:
    plan = plan_rows(Rows(row("cbi", "x"), row("cbi", "x"), row("cbi", 7), row("cbi"), row("watkins", "x")))
    assert [each.id for each in plan.rows] == ["x", "x (2)", "7", "3", "x"]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"output": None}, "it has no output, the true label."),
        ({"instruction": "  "}, "it has no instruction, so there is nothing to ask."),
    ],
)
def test_a_row_that_cannot_be_asked_about_says_why(values: dict[str, Any], problem: str) -> None:
    assert [each.problem for each in plan_rows(Rows(row("cbi", **values), row("cbi"))).rows] == [
        problem,
        None,
    ]


def test_a_question_that_the_model_refuses_is_the_problem_of_its_rows() -> None:
    def refuse(query: str) -> None:
        if query == "long":
            raise ConfigError("The query is 900 tokens long.")

    rows = plan_rows(Rows(row("cbi", instruction="long"), row("cbi"))).rows
    assert [each.problem for each in check_queries(rows, refuse)] == [
        "it cannot be asked: The query is 900 tokens long.",
        None,
    ]


@pytest.mark.parametrize(
    "metadata",
    [None, "not JSON", "{}", '{"sample_rate": -1}', '{"sample_rate": true}', "[1]", "[" * 100_000],
)
def test_without_a_rate_there_is_none(metadata: Any) -> None:
    assert plan_rows(Rows(row("cbi", metadata=metadata))).rows[0].sample_rate is None


def test_a_row_has_another_key_when_it_or_its_file_changes() -> None:
    def key(stamp: tuple[int, int] = (1, 2), **values: Any) -> tuple[int, int]:
        return plan_rows(Rows(row("cbi", "a", **values), stamp=stamp)).rows[0].key

    assert key() == key()
    assert len({key(), key(output="Blue Tit"), key((9, 2)), key((1, 9))}) == 4


def test_what_is_no_component_is_counted() -> None:
    plan = plan_rows(Rows(row("cbi"), row("mine"), row("mine")))
    assert (len(plan.rows), plan.unknown) == (1, {"mine": 2})
    assert plan_rows(Rows(row("cbi"), row("mine")), ["cbi"]).unknown == {}


@pytest.mark.parametrize(
    ("components", "message"),
    [
        (["watkin"], "'watkin' is not a component of BEANS-Zero; the nearest is 'watkins'"),
        (
            ["cbi", "watkins"],
            "--components watkins: rows holds no row of it; of those asked for there are cbi. Leave it out",
        ),
        (["watkins"], "--components watkins: rows holds no row of it. Leave it out"),
    ],
)
def test_components_that_cannot_be_run_are_bad_usage(components: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_rows(Rows(row("cbi"), row("esc50")), components)
    assert message in str(caught.value)


def test_data_of_another_kind_are_bad_usage() -> None:
    with pytest.raises(
        ConfigError, match="holds no row of a component of BEANS-Zero; found mine; beans info"
    ):
        plan_rows(Rows(row("mine")))
