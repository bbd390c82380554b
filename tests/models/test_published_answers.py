"""Answers of the recorded published-shape models: upstream's single runs, alone and in batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from NatureLM.models.answering import AnswerSettings
from NatureLM.models.naturelm import NatureLM

RUNS = [
    pytest.param(f"{way}_single{{}}{suffix}", beams, alpha, id=f"{way}{suffix}")
    for way, suffix, beams, alpha in (
        ("greedy", "", 1, None),
        ("beam2", "", 2, None),
        ("greedy", "_alpha0.5", 1, 0.5),
    )
]


@pytest.fixture(scope="module")
def model(recorded: Any) -> NatureLM:
    return NatureLM.from_pretrained(recorded.published.folder)


@pytest.fixture(scope="module")
def features(model: NatureLM, parity: Path) -> list[Any]:
    return model.encode_audio(list(np.load(parity / "inputs.npz")["raw_wav"][:2]))


@pytest.mark.parametrize(("name", "num_beams", "merging_alpha"), RUNS)
def test_answers_are_those_of_the_published_code(
    model: NatureLM,
    features: list[Any],
    recorded: Any,
    name: str,
    num_beams: int,
    merging_alpha: float | None,
) -> None:
    golden = recorded.golden["a"]
    settings = AnswerSettings(num_beams=num_beams, max_new_tokens=20, merging_alpha=merging_alpha)
    expected = [golden["generation"][name.format(row)]["text"][0].strip() for row in (0, 1)]
    together = model.answer(features, golden["prompts"], settings)
    assert [answer.text for answer in together] == expected
    for row in (0, 1):
        (alone,) = model.answer(features[row : row + 1], golden["prompts"][row : row + 1], settings)
        assert alone.text == expected[row]
        assert alone.mean_logprob == pytest.approx(together[row].mean_logprob, abs=1e-4)
        assert alone.detections == []


def test_merging_alpha_is_applied_anew_each_time(model: NatureLM, features: list[Any], recorded: Any) -> None:
    prompts = recorded.golden["a"]["prompts"]
    settings = [AnswerSettings(max_new_tokens=8, merging_alpha=alpha) for alpha in (None, 0.5, 1.0)]
    plain, half, whole = (model.answer(features, prompts, item) for item in settings)
    assert [answer.text for answer in whole] == [answer.text for answer in plain]
    assert [answer.text for answer in half] != [answer.text for answer in plain]
