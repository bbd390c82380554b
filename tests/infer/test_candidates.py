"""Lists and places in whole runs: rows, parameters, dates of recordings, and what is refused."""

from __future__ import annotations

import json
import logging
from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import soundfile

from NatureLM.config import CandidatesConfig
from NatureLM.errors import ConfigError
from NatureLM.infer import Pipeline
from NatureLM.infer.candidates import (
    ExpectedCandidates,
    ListedCandidates,
    candidate_source,
    chosen_week,
    read_candidates,
)
from NatureLM.models.species_range import SpeciesRange

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

ASSETS = Path(__file__).parents[2] / "assets"
FOCAL = "What is the common name for the focal species in the audio?"
LIST = "What are the common names for the species in the audio, if any?"
ITHACA = {"latitude": 42.5, "longitude": -76.45}
MIXED = str(ASSETS / "great_tit_and_common_cuckoo.ogg")


def test_rows_are_restricted_and_scored(model: NatureLM) -> None:
    free = list(Pipeline(model).answers(MIXED, [FOCAL, LIST]))
    assert [answer.output for answer in free] == ["Common Cuckoo", "Common Cuckoo, Great Tit"]
    assert [answer.scores for answer in free] == [None, None]

    pipeline = Pipeline(model, candidates="gretit1, Coal Tit", min_evidence=0.1)
    focal, listed = pipeline.answers(MIXED, [FOCAL, LIST])
    assert (focal.output, listed.output) == ("Great Tit", "Great Tit")
    assert list(focal.scores or {}) == ["gretit1", "None", "Coal Tit"]
    assert sum((focal.scores or {}).values()) == pytest.approx(1.0)
    (evidence,) = (found.score for found in free[1].detections if found.common_name == "Great Tit")
    assert (listed.scores or {})["gretit1"] == pytest.approx(evidence, abs=1e-3)
    conversation = pipeline.conversation(MIXED)
    assert [conversation.ask(FOCAL).text, conversation.ask("Which other species are there?").text] == [
        "Great Tit",
        "None",
    ]


def test_run_is_told_by_its_candidates(model: NatureLM, tmp_path: Path) -> None:
    (tmp_path / "tits.txt").write_text("Coal Tit\nGreat Tit\n")
    target = tmp_path / "found.jsonl"
    pipeline = Pipeline(model, candidates=tmp_path / "tits.txt", top_k=1, min_confidence=1.0)
    pipeline.write(MIXED, FOCAL, target, formats="jsonl,csv")
    (row,) = map(json.loads, target.read_text().splitlines())
    assert (row["output"], row["withheld"], row["detections"]) == ("None", "Great Tit", [])
    assert list(row["scores"]) == ["Great Tit"] and 0.25 < row["scores"]["Great Tit"] < 1.0
    assert row["confidence"] < 1.0
    parameters = json.loads((tmp_path / "found.jsonl.run.json").read_text())
    assert parameters["candidates"] == {"names": ["Coal Tit", "Great Tit"], "top_k": 1}
    assert parameters["settings"]["min_confidence"] == 1.0
    for other in ({}, {"candidates": "Great Tit"}, ITHACA):
        with pytest.raises(ConfigError, match=r"other parameters|exists already"):
            Pipeline(model, **other).write(MIXED, FOCAL, target, formats="jsonl,csv")  # type: ignore[arg-type]


def test_each_recording_has_the_week_of_its_date(model: NatureLM, caplog: pytest.LogCaptureFixture) -> None:
    source = ExpectedCandidates(model, **ITHACA, week=None, threshold=0.03)
    expected = SpeciesRange(model.adapter.table)  # type: ignore[arg-type]

    def birds(week: int) -> set[str]:
        return {one.species.common_name for one in expected.expected(42.5, -76.45, week, 0.03)}

    others = {species.common_name for species in expected.without_range}
    may, january = source.of("a.wav", datetime(2024, 5, 17)), source.of("b.wav", datetime(2023, 1, 31))
    assert set(may.labels) == birds(19) | others
    assert set(january.labels) == birds(4) | others
    assert "Scarlet Tanager" in may.labels and "Scarlet Tanager" not in january.labels
    assert {"Spring Peeper", "Snowy Tree Cricket", "engine noise"} <= set(january.labels)
    with caplog.at_level(logging.WARNING, "NatureLM.infer"):
        assert set(source.of("c.wav", None).labels) == birds(-1) | others
        source.of("d.wav", None)
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == [
        "c.wav states no date of recording"
    ]
    always = ExpectedCandidates(model, **ITHACA, week=2, threshold=0.03)
    assert set(always.of("a.wav", datetime(2024, 5, 17)).labels) == birds(2) | others
    assert always.parameters == {**ITHACA, "week": 2, "threshold": 0.03, "top_k": None}


def test_dates_in_file_names_reach_the_answers(model: NatureLM, tmp_path: Path) -> None:
    samples, rate = soundfile.read(ASSETS / "eastern_wood_pewee.ogg")
    names = ["SITE_20230615_050000.wav", "SITE_20230115_050000.wav"]
    for name in names:
        soundfile.write(tmp_path / name, samples, rate)
    pipeline = Pipeline(model, **ITHACA, top_k=2)
    june, january = pipeline.answers([tmp_path / name for name in names], FOCAL)
    assert june.output == "Eastern Wood-Pewee" and next(iter(june.scores or {})) == "Eastern Wood-Pewee"
    assert january.output == "None" and next(iter(january.scores or {})) == "None"
    talk = pipeline.conversation(tmp_path / names[1])
    assert talk.ask(FOCAL).text == "None"
    (here,) = Pipeline(model, **ITHACA, date="2023-06-15").answers(tmp_path / names[1], FOCAL)
    (away,) = Pipeline(model, latitude=-33.9, longitude=151.2, week=-1).answers(tmp_path / names[0], FOCAL)
    assert (here.output, away.output) == ("Eastern Wood-Pewee", "None")


def test_unknown_names(model: NatureLM, caplog: pytest.LogCaptureFixture) -> None:
    names = ("Grate Tit", "Great Tit", *(f"unicorn {number}" for number in range(6)))
    with pytest.raises(ConfigError) as told:
        candidate_source(CandidatesConfig(), names, model)
    assert str(told.value).startswith(
        "--candidates: naturelm-lite does not know 'Grate Tit' (nearest: Great Tit), 'unicorn 0' (nearest: "
    )
    assert str(told.value).endswith(
        " and 2 more; correct the list, or leave unknown names out with --ignore-unknown."
    )
    with caplog.at_level(logging.WARNING, "NatureLM.infer"):
        source = candidate_source(CandidatesConfig(ignore_unknown=True), names, model)
    assert isinstance(source, ListedCandidates) and source.candidates.labels == ("Great Tit",)
    assert "'Grate Tit' (nearest: Great Tit)" in caplog.text and "and 2 more" in caplog.text
    with pytest.raises(ConfigError, match=r"knows none of the names: 'Grate Tit' \(nearest: Great Tit\)\."):
        candidate_source(CandidatesConfig(ignore_unknown=True), names[:1], model)
    with pytest.raises(ConfigError, match=r"\(in a file each line is one name\); correct the list"):
        candidate_source(CandidatesConfig(), ("Great Tit, Coal Tit",), model)


def test_a_place_is_for_models_with_birdnets_classes() -> None:
    model = SimpleNamespace(
        config=SimpleNamespace(name="naturelm", audio_encoder={"type": "beats"}), adapter=None
    )
    with pytest.raises(ConfigError, match=r"the model naturelm cannot be held .* only the bundled model can"):
        candidate_source(CandidatesConfig(**ITHACA), None, model)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"latitude": 3.0}, "--latitude and --longitude go together"),
        ({"longitude": 0.0, "week": 3}, "--latitude and --longitude go together"),
        ({**ITHACA, "names": "Great Tit"}, "exclude each other; `naturelm species` prints"),
        ({"week": 3}, "--week and --date need a place"),
        ({"date": date(2024, 5, 17)}, "--week and --date need a place"),
        ({**ITHACA, "week": 3, "date": date(2024, 5, 17)}, "--week and --date exclude each other"),
        ({"range_threshold": 0.5}, "--range-threshold needs a place; give --latitude and --longitude too"),
        ({"ignore_unknown": True}, "--ignore-unknown is for a list of candidates; give --candidates"),
        ({"top_k": 3}, "--top-k is for the scores of candidates"),
        ({"names": " "}, "holds no name"),
        ({"known_names": ","}, "--known-names ',': holds no name"),
        ({"known_names": "no.txt"}, "--known-names no.txt: no such file"),
        ({"known_names": "Ruff", "names": "Ruff"}, "--known-names and other restrictions"),
        ({"known_names": "Ruff", **ITHACA}, "--known-names and other restrictions"),
        ({"known_names": "Ruff", "top_k": 3}, "--top-k is for the scores of candidates"),
        ({"normalise_length": True}, "normalise_length is for the scores of candidates"),
    ],
)
def test_contradictions(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_candidates(CandidatesConfig(**given))  # type: ignore[arg-type]


def test_weeks_and_dates() -> None:
    assert chosen_week(CandidatesConfig(**ITHACA)) is None
    assert chosen_week(CandidatesConfig(**ITHACA, week=-1)) == -1
    assert chosen_week(CandidatesConfig(**ITHACA, date=date(2024, 12, 31))) == 48
    for week in (0, 49, -2):
        with pytest.raises(ValueError, match="expected 1 to 48, four a month, or -1 for the whole year"):
            CandidatesConfig(week=week)
    assert CandidatesConfig(date="2024-05-17").date == date(2024, 5, 17)  # type: ignore[arg-type]
    for day in ("0", "20240517", "foo", "2024-13-01", 0):
        with pytest.raises(ValueError, match=f"date {day}: expected a day as YYYY-MM-DD, such as 2024-05-17"):
            CandidatesConfig(date=day)  # type: ignore[arg-type]
