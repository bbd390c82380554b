"""Labels scored in one reading of their tree have the scores of each alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from NatureLM.errors import ConfigError
from NatureLM.models import label_scores, tree_reading
from NatureLM.models.answering import AnswerSettings, Turn
from NatureLM.models.label_scores import PRESENCE_QUESTION, LabelScorer, presence_log_odds, trie_logprobs
from NatureLM.models.label_trie import TokenTrie, label_ids
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.species import SpeciesTable

QUERIES = [
    "What is the common name for the focal species in the audio?",
    "Name it.",
    "What is the scientific name for the focal species?",
]
SETTINGS = AnswerSettings()


@pytest.fixture(scope="module")
def features(spelling_model: NatureLM) -> list[Any]:
    rng = np.random.default_rng(0)
    lengths = (16_000, 40_000, 24_000)
    return spelling_model.encode_audio([rng.normal(0, 0.1, size).astype(np.float32) for size in lengths])


@torch.inference_mode()
def alone(model: NatureLM, feature: Any, query: str, label: str) -> float:
    """Score one label after one prompt in one plain forward pass."""
    asked = model.read_questions([feature], [query], SETTINGS)
    ids = model.processor.tokenizer.encode(label, add_special_tokens=False)
    spelled = model.get_input_embeddings()(torch.tensor(ids))[None]
    logits = model.language_model(inputs_embeds=torch.cat([asked.embeds, spelled], dim=1)).logits[0].double()
    config = model.language_model.generation_config
    logits[:, config.suppress_tokens] = -torch.inf
    steps = logits.log_softmax(-1)[asked.embeds.shape[1] - 1 :]
    total = sum(float(steps[place, token]) for place, token in enumerate(ids))
    return total + float(torch.log(sum(steps[-1, end].exp() for end in config.eos_token_id)))


@pytest.fixture(scope="module")
def expected(spelling_model: NatureLM, features: list[Any], odd_labels: list[str]) -> torch.Tensor:
    """The scores of each label alone."""
    return torch.tensor(
        [
            [alone(spelling_model, feature, query, label) for label in odd_labels]
            for feature, query in zip(features, QUERIES, strict=True)
        ],
        dtype=torch.float64,
    )


@pytest.mark.parametrize("chunk", [8, 96])
def test_scores_are_those_of_each_label_alone(
    spelling_model: NatureLM,
    features: list[Any],
    odd_labels: list[str],
    expected: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
) -> None:
    monkeypatch.setattr(tree_reading, "CHUNK", chunk)
    scores = LabelScorer(spelling_model, odd_labels).logprobs(features, QUERIES)
    assert scores.shape == (3, len(odd_labels))
    assert float(expected.std()) > 1.0
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


def test_scores_do_not_depend_on_batch_order_or_the_other_labels(
    spelling_model: NatureLM, features: list[Any], monkeypatch: pytest.MonkeyPatch, odd_labels: list[str]
) -> None:
    together = LabelScorer(spelling_model, odd_labels).logprobs(features, QUERIES)
    reordered = LabelScorer(spelling_model, odd_labels[::-1]).logprobs(features[::-1], QUERIES[::-1])
    torch.testing.assert_close(reordered.flip(0, 1), together, atol=1e-5, rtol=0)
    single = LabelScorer(spelling_model, odd_labels[:1]).logprobs(features[1:2], QUERIES[1:2])
    torch.testing.assert_close(single, together[1:2, :1], atol=1e-5, rtol=0)
    monkeypatch.setattr(tree_reading, "BYTES_AT_ONCE", 1)
    monkeypatch.setattr(label_scores, "LOGITS_AT_ONCE", 1)
    torch.testing.assert_close(
        LabelScorer(spelling_model, odd_labels).logprobs(features, QUERIES), together, atol=1e-5, rtol=0
    )


def test_a_conversation_and_the_strength_of_lora_change_scores(
    spelling_model: NatureLM, features: list[Any], odd_labels: list[str]
) -> None:
    scorer = LabelScorer(spelling_model, odd_labels)
    plain = scorer.logprobs(features[:1], QUERIES[:1])
    weak = scorer.logprobs(features[:1], QUERIES[:1], AnswerSettings(merging_alpha=0.0))
    turns = [[Turn("Caption the audio.", "A bird sings.")]]
    later = scorer.logprobs(features[:1], QUERIES[:1], histories=turns)
    assert float((plain - weak).abs().max()) > 0.01
    assert float((plain - later).abs().max()) > 0.01
    torch.testing.assert_close(scorer.logprobs(features[:1], QUERIES[:1]), plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [264, pytest.param(6522, marks=pytest.mark.slow)])
def test_long_lists(spelling_model: NatureLM, features: list[Any], table: SpeciesTable, count: int) -> None:
    labels = [item.common_name for item in table][:count]
    scores = LabelScorer(spelling_model, labels).logprobs(features[:1], QUERIES[:1])
    for place in (0, count // 2, count - 1):
        expected = alone(spelling_model, features[0], QUERIES[0], labels[place])
        assert float(scores[0, place]) == pytest.approx(expected, abs=1e-5)


def test_shares_sum_to_one_and_may_leave_length_out(spelling_model: NatureLM) -> None:
    scorer = LabelScorer(spelling_model, ["Tit", "Great Tit"])
    tokens = [len(ids) for ids in label_ids(scorer.labels, spelling_model.processor.tokenizer)]
    logprobs = torch.log(torch.tensor([[0.02, 0.06]], dtype=torch.float64))
    assert scorer.shares(logprobs).tolist() == [pytest.approx([0.25, 0.75])]
    means = [np.log(0.02) / (tokens[0] + 1), np.log(0.06) / (tokens[1] + 1)]
    expected = np.exp(means) / np.exp(means).sum()
    assert scorer.shares(logprobs, length_normalised=True).tolist() == [pytest.approx(expected.tolist())]


@pytest.mark.parametrize("count", [1, 9])
def test_presence_is_that_of_each_question_alone(
    spelling_model: NatureLM, features: list[Any], odd_labels: list[str], count: int
) -> None:
    scores = presence_log_odds(spelling_model, features, odd_labels[:count])
    yes, no = (spelling_model.processor.tokenizer.encode(text)[0] for text in ("Yes", "No"))
    for row, feature in enumerate(features):
        for column, label in enumerate(odd_labels[:count]):
            asked = spelling_model.read_questions(
                [feature], [PRESENCE_QUESTION.format(label=label)], SETTINGS
            )
            with torch.inference_mode():
                logits = spelling_model.language_model(inputs_embeds=asked.embeds).logits[0, -1]
            expected = float(logits[yes] - logits[no])
            assert float(scores[row, column]) == pytest.approx(expected, abs=1e-5)


def test_products_of_presence_are_not_rounded(spelling_model: NatureLM) -> None:
    head = spelling_model.language_model.lm_head
    states = torch.randn(64, head.in_features, generator=torch.Generator().manual_seed(0)).bfloat16()
    rounded = torch.nn.Linear(head.in_features, head.out_features, bias=False).bfloat16()
    exact = states.double() @ rounded.weight.data.double().T
    found = label_scores._logits_of(rounded, states, [3, 7])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact[:, [3, 7]], atol=1e-5, rtol=0)
    assert float((rounded(states).detach().double() - exact).abs().max()) > 1e-4


def test_presence_does_not_depend_on_order_or_batch(
    spelling_model: NatureLM, features: list[Any], odd_labels: list[str]
) -> None:
    together = presence_log_odds(spelling_model, features, odd_labels)
    reordered = presence_log_odds(spelling_model, features[::-1], odd_labels[::-1])
    torch.testing.assert_close(reordered.flip(0, 1), together, atol=1e-5, rtol=0)
    single = presence_log_odds(spelling_model, features[1:2], odd_labels[:4])
    torch.testing.assert_close(single, together[1:2, :4], atol=1e-5, rtol=0)


def test_a_prompt_of_one_token(spelling_model: NatureLM) -> None:
    lm = spelling_model.language_model
    embeds = torch.randn(2, 1, 32, generator=torch.Generator().manual_seed(0))
    trie = TokenTrie.of([[40, 41], [40]])
    scores = trie_logprobs(lm, embeds, torch.ones(2, 1, dtype=torch.long), trie)
    with torch.inference_mode():
        spelled = lm.get_input_embeddings()(torch.tensor([[40, 41]])).expand(2, -1, -1)
        logits = lm(inputs_embeds=torch.cat([embeds, spelled], dim=1)).logits.double().clone()
        logits[..., lm.generation_config.suppress_tokens] = -torch.inf
    steps = logits.log_softmax(-1)
    ending = steps[..., lm.generation_config.eos_token_id].logsumexp(-1)
    expected = torch.stack(
        [steps[:, 0, 40] + steps[:, 1, 41] + ending[:, 2], steps[:, 0, 40] + ending[:, 1]], dim=1
    )
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


def test_empty_lists_are_refused(spelling_model: NatureLM, features: list[Any]) -> None:
    with pytest.raises(ConfigError, match="list of labels is empty"):
        LabelScorer(spelling_model, [])
    with pytest.raises(ConfigError, match="list of labels is empty"):
        presence_log_odds(spelling_model, features, [])
