"""Whatever way an answer is chosen, it is made of labels of the list."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerBase

from NatureLM.errors import ConfigError
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.label_rules import AnswerKind, LabelChoice, LabelRules
from NatureLM.models.label_scores import LabelScorer
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.species import SpeciesTable

NAME = "What is the common name for the focal species in the audio?"
LIST = "What are the common names for the species in the audio, if any?"
LENGTH = 60


@pytest.fixture(scope="module")
def features(spelling_model: NatureLM) -> list[Any]:
    rng = np.random.default_rng(1)
    lengths = (16_000, 32_000, 16_000, 24_000)
    return spelling_model.encode_audio([rng.normal(0, 0.1, size).astype(np.float32) for size in lengths])


def choice_of(
    model: NatureLM, labels: list[str], kind: AnswerKind, length: int = LENGTH, none: bool = False
) -> LabelChoice:
    ends = set(model.language_model.generation_config.eos_token_id)
    return LabelChoice(labels, kind, model.processor.tokenizer, ends, length, none=none)


def ways(length: int = LENGTH, seeds: int = 4) -> list[AnswerSettings]:
    """Greedy, beams, and random draws."""
    searches = [AnswerSettings(max_new_tokens=length, num_beams=beams) for beams in (1, 2, 5)]
    draws = [
        AnswerSettings(max_new_tokens=length, temperature=1.5, top_p=0.95, seed=seed) for seed in range(seeds)
    ]
    return [*searches, *draws]


def readings(text: str, labels: list[str]) -> list[list[str]]:
    """All ways to read a text as labels joined by commas."""
    found = [[text]] if text in labels else []
    for label in labels:
        if text.startswith(f"{label}, "):
            found += [[label, *rest] for rest in readings(text[len(label) + 2 :], labels)]
    return found


def test_names_are_always_in_the_list(
    spelling_model: NatureLM, features: list[Any], odd_labels: list[str]
) -> None:
    choice = choice_of(spelling_model, odd_labels, "name")
    seen = set()
    for settings in ways(seeds=12):
        answers = spelling_model.answer(features, [NAME] * 4, settings, choices=[choice] * 4)
        assert all(answer.text in odd_labels for answer in answers)
        assert all(0.0 <= answer.confidence < 1.0 for answer in answers)
        seen |= {answer.text for answer in answers}
    assert len(seen) >= 4


def test_lists_are_made_of_labels_none_twice(
    spelling_model: NatureLM, features: list[Any], odd_labels: list[str]
) -> None:
    choice = choice_of(spelling_model, odd_labels, "list", none=True)
    assert choice.labels == odd_labels
    names = odd_labels[:-1]
    lengths = set()
    for settings in ways():
        for answer in spelling_model.answer(features, [LIST] * 4, settings, choices=[choice] * 4):
            if answer.text == "None":
                continue
            found = readings(answer.text, names)
            assert found, answer.text
            assert any(len(set(labels)) == len(labels) for labels in found), answer.text
            lengths.add(max(map(len, found)))
    assert max(lengths) > 1


@pytest.mark.parametrize("count", [1, 264, 6522])
def test_lists_of_every_length(
    spelling_model: NatureLM, features: list[Any], table: SpeciesTable, count: int
) -> None:
    labels = [item.common_name for item in table][:count]
    for kind in ("name", "list") if count < 6522 else ("list",):
        choice = choice_of(spelling_model, labels, kind)
        settings = AnswerSettings(max_new_tokens=LENGTH, num_beams=2)
        for answer in spelling_model.answer(features[:2], [NAME] * 2, settings, choices=[choice] * 2):
            assert set(answer.text.split(", ")) <= set(labels)


def test_enough_beams_find_the_most_probable_label(
    spelling_model: NatureLM, features: list[Any], odd_labels: list[str]
) -> None:
    scorer = LabelScorer(spelling_model, odd_labels)
    scores = scorer.logprobs(features, [NAME] * 4)
    choice = choice_of(spelling_model, odd_labels, "name")
    settings = AnswerSettings(max_new_tokens=LENGTH, num_beams=40, length_penalty=0.0)
    answers = spelling_model.answer(features, [NAME] * 4, settings, choices=[choice] * 4)
    best = scores.argmax(-1).tolist()
    assert [answer.text for answer in answers] == [odd_labels[place] for place in best]


def test_confidence_is_that_of_the_tokens_without_the_list(
    spelling_model: NatureLM, features: list[Any]
) -> None:
    model = spelling_model
    (only,) = model.answer(
        features[:1],
        [NAME],
        AnswerSettings(max_new_tokens=LENGTH),
        choices=[choice_of(model, ["Great Tit"], "name")],
    )
    asked = model.read_questions(features[:1], [NAME], AnswerSettings())
    ids = model.processor.tokenizer.encode("Great Tit", add_special_tokens=False)
    spelled = model.get_input_embeddings()(torch.tensor(ids))[None]
    with torch.inference_mode():
        logits = model.language_model(inputs_embeds=torch.cat([asked.embeds, spelled], dim=1)).logits[0]
        logits[:, model.language_model.generation_config.suppress_tokens] = -torch.inf
        steps = logits.log_softmax(-1)[asked.embeds.shape[1] - 1 :]
    end = float(steps[-1, model.language_model.generation_config.eos_token_id].max())
    total = sum(float(steps[place, token]) for place, token in enumerate(ids)) + end
    assert only.text == "Great Tit"
    assert only.mean_logprob == pytest.approx(total / (len(ids) + 1), abs=1e-4)
    assert only.confidence == pytest.approx(math.exp(only.mean_logprob))


def test_rows_do_not_depend_on_each_other(
    spelling_model: NatureLM, features: list[Any], odd_labels: list[str]
) -> None:
    names = [label for label in odd_labels if len(label) < 20]
    choices = [
        choice_of(spelling_model, names, "name", 24),
        None,
        choice_of(spelling_model, names, "list", 24),
        choice_of(spelling_model, ["Coal Tit"], "list", 24, none=True),
    ]
    queries = [NAME, "Caption the audio.", LIST, LIST]
    draw = AnswerSettings(max_new_tokens=24, temperature=1.5)
    for settings in (AnswerSettings(max_new_tokens=24, num_beams=2), draw):
        together = spelling_model.answer(features, queries, settings, choices=choices)
        for row in range(4):
            (alone,) = spelling_model.answer(
                features[row : row + 1], queries[row : row + 1], settings, choices=choices[row : row + 1]
            )
            assert (alone.text, alone.detections) == (together[row].text, together[row].detections)
            assert alone.confidence == pytest.approx(together[row].confidence, abs=1e-4)
        (free,) = spelling_model.answer(features[1:2], queries[1:2], settings)
        assert free.text == together[1].text
        assert together[3].text in ("Coal Tit", "None")


def spell(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


def after(choice: LabelChoice, ids: list[int]) -> set[int]:
    places = choice.start
    for length, token in enumerate(ids, 1):
        places = choice.follow(places, token, length)
    return set(choice.next_tokens(places))


def test_what_may_follow(spelling_model: NatureLM, tokenizer: PreTrainedTokenizerBase) -> None:
    ends = set(spelling_model.language_model.generation_config.eos_token_id)
    (comma,) = spell(tokenizer, ",")
    name = choice_of(spelling_model, ["Tit", "Tit (song)"], "name")
    bracket = spell(tokenizer, "Tit (song)")[len(spell(tokenizer, "Tit"))]
    assert after(name, spell(tokenizer, "Tit")) == {*ends, bracket}
    assert after(name, spell(tokenizer, "Tit (song)")) == ends
    assert after(name, spell(tokenizer, "Owl")) == set()

    several = choice_of(spelling_model, ["Tit", "Owl"], "list", none=True)
    assert after(several, spell(tokenizer, "Tit")) == {*ends, comma}
    assert after(several, spell(tokenizer, "None")) == ends
    assert after(several, spell(tokenizer, "Tit,")) == {spell(tokenizer, " Owl")[0]}
    assert after(several, spell(tokenizer, "Tit, Owl")) == ends, "no label is left"
    assert after(several, spell(tokenizer, "None,")) == set()


def test_a_list_ends_within_its_greatest_length(
    spelling_model: NatureLM, tokenizer: PreTrainedTokenizerBase
) -> None:
    ends = set(spelling_model.language_model.generation_config.eos_token_id)
    labels = ["Great Tit", "Coal Tit", "Marsh Tit"]
    longest = choice_of(spelling_model, labels, "list").longest
    first = spell(tokenizer, "Great Tit")
    assert after(choice_of(spelling_model, labels, "list", 2 * longest - 1), first) == ends
    assert after(choice_of(spelling_model, labels, "list", 2 * longest), first) > ends
    with pytest.raises(ConfigError, match=f"takes {longest} tokens, but answers have at most {longest - 1}"):
        choice_of(spelling_model, labels, "list", longest - 1)


def test_lists_are_read_back(
    spelling_model: NatureLM, tokenizer: PreTrainedTokenizerBase, odd_labels: list[str]
) -> None:
    choice = choice_of(spelling_model, odd_labels, "list", none=True)
    end = choice.ends[0]
    text = "Rüppell's Warbler, Zopilote rey (cóndor), Swainson's Thrush"
    assert choice.read([*spell(tokenizer, text), end]) == text.split(", ")
    assert choice.read([*spell(tokenizer, "None"), end]) == ["None"]
    assert choice.read(spell(tokenizer, "Great, Gre")) is None
    for label in odd_labels[:-1]:
        assert ", ".join(choice.read(spell(tokenizer, f"{label}, Tit")) or []) == (
            f"{label}, Tit" if label != "Tit" else ""
        )


def test_lists_that_hold_nothing_are_refused(spelling_model: NatureLM) -> None:
    with pytest.raises(ConfigError, match="list of labels is empty"):
        choice_of(spelling_model, [], "name")
    with pytest.raises(ConfigError, match="nothing but None"):
        choice_of(spelling_model, ["None"], "list")
    with pytest.raises(ConfigError, match="names no eos_token_id"):
        LabelChoice(["Tit"], "name", spelling_model.processor.tokenizer, set(), 9)
    choice = choice_of(spelling_model, ["Tit"], "name", 30)
    with pytest.raises(ConfigError, match="for answers of 30 tokens, but answers have at most 20"):
        LabelRules([choice], 20)
