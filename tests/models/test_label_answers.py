"""Candidates and known names of a model that spells names: its own answers, and whole runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from NatureLM.cli import main
from NatureLM.cli.running import run
from NatureLM.errors import ConfigError
from NatureLM.infer import Pipeline
from NatureLM.infer.writers.rows import long_rows
from NatureLM.models.answering import AnswerSettings, Candidates
from NatureLM.models.generating import answer_ends
from NatureLM.models.label_detections import label_detections, with_scores
from NatureLM.models.label_rules import LabelChoice
from NatureLM.models.label_scores import LabelScorer, presence_log_odds
from NatureLM.models.naturelm import NatureLM

NAME = "What is the common name for the focal species in the audio?"
LIST = "What are the common names for the species in the audio, if any?"
SETTINGS = AnswerSettings(max_new_tokens=60)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user-data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def features(spelling_model: NatureLM) -> list[Any]:
    rng = np.random.default_rng(5)
    return spelling_model.encode_audio([rng.normal(0, 0.1, 16_000).astype(np.float32) for _ in range(3)])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(6).normal(0, 0.1, 32_000).astype(np.float32), 16_000)
    return path


@pytest.fixture(scope="module")
def labels(odd_labels: list[str]) -> tuple[str, ...]:
    return tuple(label for label in odd_labels if label != "None")


def test_the_best_name_is_the_answer(
    spelling_model: NatureLM, features: list[Any], labels: tuple[str, ...]
) -> None:
    scorer = LabelScorer(spelling_model, labels)
    logprobs = scorer.logprobs(features, [NAME] * 3)
    answers = spelling_model.answer(features, [NAME] * 3, SETTINGS, candidates=[Candidates(labels)] * 3)
    for answer, row in zip(answers, logprobs, strict=True):
        shares = row.softmax(-1)
        best = int(row.argmax())
        assert answer.text == labels[best] == next(iter(answer.scores or {}))
        assert answer.scores == pytest.approx(dict(zip(labels, shares.tolist(), strict=True)), abs=1e-6)
        assert list((answer.scores or {}).values()) == sorted((answer.scores or {}).values(), reverse=True)
        assert answer.confidence == pytest.approx(float(shares[best]), abs=1e-6)
        tokens = len(spelling_model.processor.tokenizer.encode(labels[best])) + 1
        assert answer.mean_logprob == pytest.approx(float(row[best]) / tokens, abs=1e-6)
        assert answer.withheld is None
        assert answer.detections == with_scores(label_detections([answer.text]), answer.scores or {})
        assert [found.score for found in answer.detections] == [answer.confidence]


def test_none_is_among_the_names_where_the_query_or_the_list_says_so(
    spelling_model: NatureLM, features: list[Any], labels: tuple[str, ...]
) -> None:
    def names(query: str, named: tuple[str, ...]) -> set[str]:
        (answer,) = spelling_model.answer(features[:1], [query], SETTINGS, candidates=[Candidates(named)])
        assert sum((answer.scores or {}).values()) == pytest.approx(1.0)
        return set(answer.scores or {})

    assert names(NAME, labels) == set(labels)
    assert names(NAME.replace("?", ", if any?"), labels) == {*labels, "None"}
    assert names(NAME, (*labels, "None")) == {*labels, "None"}


def test_length_top_k_and_unsure_names(
    spelling_model: NatureLM, features: list[Any], labels: tuple[str, ...]
) -> None:
    scorer = LabelScorer(spelling_model, labels)
    logprobs = scorer.logprobs(features[:1], [NAME])
    (plain,) = scorer.shares(logprobs).tolist()
    (normalised,) = scorer.shares(logprobs, length_normalised=True).tolist()
    assert np.abs(np.subtract(plain, normalised)).max() > 0.01
    candidates = Candidates(labels, top_k=2, length_normalised=True)
    settings = AnswerSettings(max_new_tokens=60, min_confidence=1.0)
    (answer,) = spelling_model.answer(features[:1], [NAME], settings, candidates=[candidates])
    order = np.argsort(normalised)[::-1][:2]
    assert answer.scores == pytest.approx({labels[place]: normalised[place] for place in order}, abs=1e-6)
    assert (answer.text, answer.withheld, answer.detections) == ("None", labels[order[0]], [])


def test_lists_have_a_score_for_each_label(
    spelling_model: NatureLM, features: list[Any], labels: tuple[str, ...]
) -> None:
    ends = answer_ends(spelling_model.language_model)
    choice = LabelChoice(labels, "list", spelling_model.processor.tokenizer, ends, 60, none=True)
    held = spelling_model.answer(features, [LIST] * 3, SETTINGS, choices=[choice] * 3)
    odds = presence_log_odds(spelling_model, features, labels)
    listed = Candidates((*labels, "None"))
    mixed = spelling_model.answer(
        [features[0], *features], [NAME, LIST, LIST, LIST], SETTINGS, candidates=[listed] * 4
    )
    assert set(mixed[0].scores or {}) == {*labels, "None"}
    for answer, expected, row in zip(mixed[1:], held, odds, strict=True):
        assert (answer.text, answer.confidence) == (expected.text, pytest.approx(expected.confidence))
        sigmoid = [1 / (1 + math.exp(-value)) for value in row.tolist()]
        assert answer.scores == pytest.approx(dict(zip(labels, sigmoid, strict=True)), abs=1e-5)
        assert answer.detections == with_scores(expected.detections, answer.scores or {})


def test_each_label_of_a_list_is_a_detection_with_its_score(
    spelling_model: NatureLM, features: list[Any]
) -> None:
    few = ("Ruff", "Great Tit", "Parus ater", "Coal Tit")
    odds = presence_log_odds(spelling_model, features, few).sigmoid().tolist()
    listed = [Candidates(few, top_k=1)] * 3
    most = 0
    for seed in range(4):
        drawn = AnswerSettings(max_new_tokens=60, temperature=2.0, seed=seed)
        answers = spelling_model.answer(features, [LIST] * 3, drawn, candidates=listed)
        for answer, row in zip(answers, odds, strict=True):
            scores = dict(zip(few, row, strict=True))
            named = [label for label in answer.text.split(", ") if label != "None"]
            assert [found.common_name for found in answer.detections] == named
            expected = [scores[label] for label in named]
            assert [found.score for found in answer.detections] == pytest.approx(expected, abs=1e-5)
            assert list(answer.scores or {}) == [max(scores, key=lambda label: scores[label])]
            most = max(most, len(named))
    assert most > 1


def test_two_recordings_have_the_candidates_of_both(spelling_model: NatureLM, features: list[Any]) -> None:
    both = [[Candidates(("Great Tit", "Ruff"), top_k=3), Candidates(("Ruff", "Coal Tit"))]]
    for query in (NAME, LIST):
        (answer,) = spelling_model.answer([features[:2]], [query], SETTINGS, candidates=both)
        assert set(answer.scores or {}) == {"Great Tit", "Ruff", "Coal Tit"}
        assert {found.common_name for found in answer.detections} <= {"Great Tit", "Ruff", "Coal Tit"}


def test_known_names_hold_without_scores(
    spelling_model: NatureLM, features: list[Any], labels: tuple[str, ...]
) -> None:
    held = [Candidates(labels, scored=False)] * 2
    name, several = spelling_model.answer(features[:2], [NAME, LIST], SETTINGS, candidates=held)
    assert name.text in labels and (name.scores, several.scores) == (None, None)
    assert name.detections == label_detections([name.text])
    assert {found.score for found in [*name.detections, *several.detections]} <= {None}
    ends = answer_ends(spelling_model.language_model)
    choice = LabelChoice(labels, "name", spelling_model.processor.tokenizer, ends, 60)
    (expected,) = spelling_model.answer(features[:1], [NAME], SETTINGS, choices=[choice])
    assert (name.text, name.confidence) == (expected.text, pytest.approx(expected.confidence))


def test_a_run_with_candidates(spelling_model: NatureLM, recording: Path) -> None:
    pipeline = Pipeline(spelling_model, candidates=["Great  Tit", "Ruff", "Great Tit"], max_new_tokens=60)
    pipeline.write(recording, [NAME, LIST], "out.jsonl", 1.0)
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [row["query"] for row in rows] == [NAME, LIST] * 2
    for row in rows:
        assert set(row["scores"]) == {"Great Tit", "Ruff"}
        named = set(row["output"].split(", ")) - {"None"}
        assert {found["common_name"] for found in row["detections"]} == named <= {"Great Tit", "Ruff"}
        assert all(found["score"] == row["scores"][found["common_name"]] for found in row["detections"])
    for row in rows[::2]:
        assert row["output"] == next(iter(row["scores"])) and sum(row["scores"].values()) == pytest.approx(
            1.0, abs=2e-6
        )
    long = list(long_rows(rows))
    assert len(long) == sum(max(1, len(row["detections"])) for row in rows)
    assert (
        long[0]["scientific_name"]
        == {"Great Tit": "Parus major", "Ruff": "Calidris pugnax"}[rows[0]["output"]]
    )
    candidates = json.loads(Path("out.jsonl.run.json").read_text())["candidates"]
    assert candidates == {"names": ["Great Tit", "Ruff"], "top_k": None}
    conversation = pipeline.conversation(recording)
    assert conversation.ask(NAME).text in ("Great Tit", "Ruff")
    with pytest.raises(ConfigError, match=r"^The query 'Caption the audio' is not answered by names alone"):
        conversation.ask("Caption the audio")


def test_what_names_do_not_answer_is_refused_before_the_run(
    spelling_model: NatureLM, recording: Path
) -> None:
    for given in ({"candidates": "Ruff"}, {"known_names": "Ruff"}):
        pipeline = Pipeline(spelling_model, max_new_tokens=60, **given)  # type: ignore[arg-type]
        for query in ("Caption the audio", "Is there a Ruff in the audio?", "How many species are there?"):
            with pytest.raises(ConfigError, match="not answered by names alone"):
                pipeline(recording, query)
            with pytest.raises(ConfigError, match="not answered by names alone"):
                pipeline.write(recording, [NAME, query], "out.jsonl")
    short = Pipeline(spelling_model, known_names="Ruff", max_new_tokens=1)
    with pytest.raises(ConfigError, match="The longest label takes"):
        short(recording, NAME)
    with pytest.raises(ConfigError, match="cannot be held to the species of a place"):
        Pipeline(spelling_model, latitude=42.5, longitude=-76.5)
    with pytest.raises(ConfigError, match="exclude each other; leave one out"):
        Pipeline(spelling_model, known_names="Ruff", candidates="Ruff")
    with pytest.raises(ConfigError, match="choices and candidates exclude each other"):
        spelling_model.answer([], [], choices=[], candidates=[])
    assert not Path("out.jsonl").exists()


def infer(folder: Path, *arguments: str) -> int:
    recording = ["--audio-path", "a.wav", "--output-path", "out.jsonl"]
    return run(main.app, "naturelm", ["infer", "--model", str(folder), *recording, *arguments])


def test_the_command_line_with_a_published_folder(
    made: Any, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("names.txt").write_text("a b\nc d e\ng\n")
    given = ["--query", NAME, "--candidates", "names.txt", "--top-k", "2", "candidates.normalise_length=true"]
    assert infer(made.folder, *given) == 0
    (row,) = map(json.loads, Path("out.jsonl").read_text().splitlines())
    assert len(row["scores"]) == 2 and row["output"] == next(iter(row["scores"])) in ("a b", "c d e", "g")
    assert row["confidence"] == pytest.approx(row["scores"][row["output"]], abs=1e-6)
    parameters = json.loads(Path("out.jsonl.run.json").read_text())["candidates"]
    assert parameters == {"names": ["a b", "c d e", "g"], "top_k": 2, "normalise_length": True}

    assert infer(made.folder, "--query", NAME, "--known-names", "names.txt", "--overwrite") == 0
    (row,) = map(json.loads, Path("out.jsonl").read_text().splitlines())
    assert row["output"] in ("a b", "c d e", "g") and row["scores"] is None
    parameters = json.loads(Path("out.jsonl.run.json").read_text())["candidates"]
    assert parameters == {"known_names": ["a b", "c d e", "g"]}

    capsys.readouterr()
    query = ["--query", "Caption the audio", "--overwrite"]
    assert infer(made.folder, *query, "--known-names", "names.txt") == 2
    assert "The query 'Caption the audio' is not answered by names alone" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--candidates", "--known-names"])
def test_a_label_that_the_model_cannot_write(
    made: Any, recording: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert infer(made.folder, "--query", NAME, option, "a b, zebra") == 2
    assert "The label 'zebra' cannot be written in the model's tokens" in capsys.readouterr().err
    assert not Path("out.jsonl").exists()


def test_the_bundled_model_spells_no_names() -> None:
    model = NatureLM.from_pretrained("bundled")
    with pytest.raises(ConfigError, match=r"^--known-names: naturelm-lite names only species that it knows"):
        Pipeline(model, known_names="Great Tit")
    with pytest.raises(ConfigError, match=r"^candidates\.normalise_length: naturelm-lite does not spell"):
        Pipeline(model, candidates="Great Tit", overrides=["candidates.normalise_length=true"])
    with pytest.raises(ConfigError, match=r"^choices: naturelm-lite does not spell names"):
        model.answer([torch.zeros(4, 6522)], [NAME], choices=[None])
