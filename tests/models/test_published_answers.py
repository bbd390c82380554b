"""Answers of the recorded published-shape models: upstream's single runs, alone and in batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from NatureLM.models.answering import AnswerSettings
from NatureLM.models.lora import set_lora_strength
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


@pytest.fixture(scope="module")
def arrays(recorded: Any, parity: Path) -> dict[str, torch.Tensor]:
    """What was recorded of scenario a beside the answers."""
    return load_file(parity / recorded.kind / "golden_a.safetensors")


def test_prompts_are_put_together_as_published(
    model: NatureLM, features: list[Any], recorded: Any, arrays: dict[str, torch.Tensor]
) -> None:
    prompts = recorded.golden["a"]["prompts"]
    conversations = [[model.processor.normalise(prompt)] for prompt in prompts]
    contexts = [
        model.adapter.context([heard], texts, AnswerSettings())
        for heard, texts in zip(features, conversations, strict=True)
    ]
    with torch.inference_mode():
        embeds, mask = model.embed_prompts(conversations, contexts)
    for row, length in enumerate(arrays["wrap_atts"].sum(dim=1).tolist()):
        # Upstream puts the first token in front later, and pads on the right.
        ours = embeds[row][mask[row].bool()][1:]
        assert len(ours) == length
        torch.testing.assert_close(ours, arrays["wrap_embeds"][row, :length], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("alpha", "suffix"), [(1.0, ""), (0.5, "_merging_alpha_0.5")])
def test_training_logits_and_losses(
    model: NatureLM, arrays: dict[str, torch.Tensor], alpha: float, suffix: str
) -> None:
    if "train_inputs_embeds" not in arrays:
        pytest.skip("of this model the inputs of the language model were not recorded")
    set_lora_strength(model.language_model, alpha)
    mask = arrays["train_attention_mask"].long()
    with torch.inference_mode():
        output = model(
            inputs_embeds=arrays["train_inputs_embeds"],
            attention_mask=mask,
            labels=arrays["train_labels"].long(),
        )
    heard = mask.bool()
    expected = arrays[f"train_logits{suffix}"]
    torch.testing.assert_close(output.logits[heard], expected[heard], atol=1e-3, rtol=0)
    torch.testing.assert_close(output.loss, arrays[f"train_loss{suffix}"].reshape(()), atol=1e-4, rtol=0)


def test_an_end_token_ends_its_own_row_only(recorded: Any, features: list[Any], parity: Path) -> None:
    model = NatureLM.from_pretrained(recorded.published.folder)
    golden = recorded.golden["a"]
    run = golden["generation"]["eos_eot_in_row0"]
    first, second = run["lm_head_rows_swapped_before_run"]
    with torch.no_grad():
        rows = model.language_model.lm_head.weight
        rows[[first, second]] = rows[[second, first]]
    prompts = [golden["prompts"][0]] * 2
    answers = model.answer(features, prompts, AnswerSettings(num_beams=1, max_new_tokens=20))
    assert [answer.text for answer in answers] == [text.strip() for text in run["text"]]
