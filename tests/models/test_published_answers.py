"""Answers of the recorded published-shape models: upstream's single runs, alone and in batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from NatureLM.config import GenerationConfig
from NatureLM.errors import ConfigError
from NatureLM.infer.checks import check_settings
from NatureLM.infer.settings import answer_settings
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.encoders.beats import padded_patches
from NatureLM.models.encoders.fbank import beats_filter_bank
from NatureLM.models.lora import lora_layers, set_lora_strength, unmerge_lora
from NatureLM.models.naturelm import NatureLM

RUNS = [
    "greedy_single{}",
    "beam2_single{}",
    "beam4_lp2_single{}",
    "greedy_single{}_alpha0.5",
    "greedy_single{}_reppen1.3",
]

VALID_SAMPLES = (160_000, 120_000, 64_000)
"""Of the recordings of scenario b; the rest is padding."""


@pytest.fixture(scope="module")
def model(recorded: Any) -> NatureLM:
    return NatureLM.from_pretrained(recorded.published.folder)


@pytest.fixture(scope="module")
def features(model: NatureLM, parity: Path) -> list[Any]:
    return model.encode_audio(list(np.load(parity / "inputs.npz")["raw_wav"][:2]))


@pytest.fixture(scope="module")
def padded_features(model: NatureLM, parity: Path) -> list[Any]:
    """Of scenario b: a recording, and two for one prompt, all but the first padded."""
    beats = model.audio_encoder.beats
    waves = torch.from_numpy(np.load(parity / "inputs.npz")["raw_wav"])
    padding = torch.arange(160_000) >= torch.tensor(VALID_SAMPLES)[:, None]
    filter_bank = beats_filter_bank(waves.masked_fill(padding, 0.0))
    with torch.inference_mode():
        heard = beats(filter_bank, padded_patches(padding, filter_bank.shape[1], 496))
    return [heard[0], [heard[1], heard[2]]]


@pytest.mark.parametrize("name", RUNS)
def test_answers_are_those_of_the_published_code(
    model: NatureLM,
    features: list[Any],
    padded_features: list[Any],
    recorded: Any,
    name: str,
    scenario: str,
) -> None:
    golden = recorded.golden[scenario]
    windows = features if scenario == "a" else padded_features
    runs = [golden["generation"][name.format(row)] for row in (0, 1)]
    beams, length_penalty = runs[0]["num_beams"], runs[0]["length_penalty"]
    settings = AnswerSettings(
        num_beams=beams,
        max_new_tokens=20,
        merging_alpha=runs[0]["merging_alpha"],
        length_penalty=length_penalty,
        repetition_penalty=runs[0]["repetition_penalty"],
    )
    expected = [run["text"][0].strip() for run in runs]
    together = model.answer(windows, golden["prompts"], settings)
    assert [answer.text for answer in together] == expected
    for row in (0, 1):
        (alone,) = model.answer(windows[row : row + 1], golden["prompts"][row : row + 1], settings)
        assert alone.text == expected[row]
        assert alone.mean_logprob == pytest.approx(together[row].mean_logprob, abs=1e-4)
        assert alone.detections == []
        if beams > 1:
            # Beams are scored by the sum over the length to the power of the penalty.
            (score,), (ids,) = runs[row]["sequences_scores"], runs[row]["ids"]
            mean = score * len(ids) ** (length_penalty - 1.0)
            assert alone.mean_logprob == pytest.approx(mean, abs=1e-4)


def test_merging_alpha_is_applied_anew_each_time(model: NatureLM, features: list[Any], recorded: Any) -> None:
    prompts = recorded.golden["a"]["prompts"]
    settings = [AnswerSettings(max_new_tokens=8, merging_alpha=alpha) for alpha in (None, 0.5, 1.0)]
    plain, half, whole = (model.answer(features, prompts, item) for item in settings)
    assert [answer.text for answer in whole] == [answer.text for answer in plain]
    assert [answer.text for answer in half] != [answer.text for answer in plain]


@pytest.fixture(scope="module", params=["a", "b"])
def scenario(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def arrays(recorded: Any, parity: Path, scenario: str) -> dict[str, torch.Tensor]:
    """What was recorded of a scenario beside the answers."""
    return load_file(parity / recorded.kind / f"golden_{scenario}.safetensors")


@pytest.fixture(scope="module")
def prompts(
    model: NatureLM, features: list[Any], padded_features: list[Any], recorded: Any, scenario: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """The scenario's prompts as the language model reads them, and their mask."""
    windows = features if scenario == "a" else padded_features
    conversations = [[model.processor.normalise(prompt)] for prompt in recorded.golden[scenario]["prompts"]]
    contexts = [
        model.adapter.context(heard if isinstance(heard, list) else [heard], texts, AnswerSettings())
        for heard, texts in zip(windows, conversations, strict=True)
    ]
    with torch.inference_mode():
        return model.embed_prompts(conversations, contexts)


def test_prompts_are_put_together_as_published(
    prompts: tuple[torch.Tensor, torch.Tensor], arrays: dict[str, torch.Tensor]
) -> None:
    embeds, mask = prompts
    for row, length in enumerate(arrays["wrap_atts"].sum(dim=1).tolist()):
        # Upstream puts the first token in front later, and pads on the right.
        ours = embeds[row][mask[row].bool()][1:]
        assert len(ours) == length
        torch.testing.assert_close(ours, arrays["wrap_embeds"][row, :length], atol=1e-4, rtol=0)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_logits_of_the_first_new_token(
    model: NatureLM,
    prompts: tuple[torch.Tensor, torch.Tensor],
    arrays: dict[str, torch.Tensor],
    alpha: float,
) -> None:
    embeds, mask = prompts
    set_lora_strength(model.language_model, alpha)
    suffix = "" if alpha == 1.0 else "_alpha0.5"
    with torch.inference_mode():
        together = model(
            inputs_embeds=embeds, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)
        ).logits[:, -1]
        for row in (0, 1):
            expected = arrays[f"gen_first_step_logits_greedy_single{row}{suffix}"][0]
            alone = model(inputs_embeds=embeds[row][mask[row].bool()][None]).logits[0, -1]
            # [PAD] has no row of its own in the published output layer.
            for ours in (alone, together[row]):
                torch.testing.assert_close(ours[:512], expected[:512], atol=1e-3, rtol=0)


def training_inputs(
    model: NatureLM, prompts: tuple[torch.Tensor, torch.Tensor], golden: dict[str, Any], length: int
) -> torch.Tensor:
    """Return prompts and answers in a row, padded on the right, as the published code trains on them."""
    embeds, mask = prompts
    embed_tokens = model.get_input_embeddings()
    rows = []
    for row, ids in enumerate(golden["text_ids_with_end_sym"]):
        whole = torch.cat([embeds[row][mask[row].bool()], embed_tokens(torch.tensor(ids))])
        rows.append(functional.pad(whole, (0, 0, 0, length - len(whole))))
    return torch.stack(rows)


@pytest.mark.parametrize(("alpha", "suffix"), [(1.0, ""), (0.5, "_merging_alpha_0.5"), (0.0, "")])
def test_training_logits_and_losses(
    model: NatureLM,
    prompts: tuple[torch.Tensor, torch.Tensor],
    arrays: dict[str, torch.Tensor],
    recorded: Any,
    scenario: str,
    alpha: float,
    suffix: str,
) -> None:
    set_lora_strength(model.language_model, alpha)
    mask, labels = arrays["train_attention_mask"].long(), arrays["train_labels"].long()
    with torch.inference_mode():
        inputs = training_inputs(model, prompts, recorded.golden[scenario], mask.shape[1])
        output = model(inputs_embeds=inputs, attention_mask=mask, labels=labels)
    if alpha == 0.0:
        expected_loss = arrays["train_loss_merging_alpha_0.0"].reshape(())
        torch.testing.assert_close(output.loss, expected_loss, atol=1e-4, rtol=0)
        return
    heard = mask.bool()
    if "train_inputs_embeds" in arrays:
        torch.testing.assert_close(inputs[heard], arrays["train_inputs_embeds"][heard], atol=1e-4, rtol=0)
    expected = arrays[f"train_logits{suffix}"]
    torch.testing.assert_close(output.logits[heard], expected[heard], atol=1e-3, rtol=0)
    torch.testing.assert_close(output.loss, arrays[f"train_loss{suffix}"].reshape(()), atol=1e-4, rtol=0)
    if alpha == 1.0:
        following = labels[:, 1:]
        losses = functional.cross_entropy(output.logits[:, :-1].transpose(1, 2), following, reduction="none")
        counted = following != -100
        assert counted.sum(1).tolist() == arrays["train_total_per_sample"].tolist()
        means = losses.sum(1) / counted.sum(1)
        torch.testing.assert_close(means, arrays["train_per_example_loss"], atol=1e-4, rtol=0)
        right = (output.logits[:, :-1].argmax(-1) == following).sum(1)
        assert right.tolist() == arrays["train_correct_per_sample"].tolist()


@contextmanager
def swapped_rows(model: NatureLM, first: int, second: int) -> Iterator[None]:
    """Exchange two rows of the output layer, so that one token comes in the other's place."""
    rows = model.language_model.lm_head.weight
    for _ in range(2):
        with torch.no_grad():
            rows[[first, second]] = rows[[second, first]]
        if _ == 0:
            yield


@pytest.mark.parametrize("name", ["eos_eot_in_row0", "eos_eot_in_row0_beam2", "eos_eot_in_row0_minlength30"])
def test_an_end_token_ends_its_own_row_only(
    model: NatureLM, recorded: Any, features: list[Any], name: str
) -> None:
    golden = recorded.golden["a"]
    run = golden["generation"][name]
    prompts = [golden["prompts"][0]] * 2
    settings = AnswerSettings(num_beams=run["num_beams"], max_new_tokens=20)
    with swapped_rows(model, *run["lm_head_rows_swapped_before_run"]):
        answers = model.answer(features, prompts, settings)
    assert [answer.text for answer in answers] == [text.strip() for text in run["text"]]


def test_a_token_of_upstreams_own_stops_nothing(model: NatureLM, recorded: Any, features: list[Any]) -> None:
    """Upstream stops all rows where the first ends in token 2; here an answer just goes on."""
    golden = recorded.golden["a"]
    run = golden["generation"]["stop_id2_in_row0"]
    assert [len(ids) for ids in run["ids"]] == [4, 4]
    settings = AnswerSettings(max_new_tokens=20)
    with swapped_rows(model, *run["lm_head_rows_swapped_before_run"]):
        answers = model.answer(features, [golden["prompts"][0]] * 2, settings)
    for answer, stopped in zip(answers, run["text"], strict=True):
        assert answer.text.startswith(stopped.strip())
        assert len(answer.text) > len(stopped) + 5


def test_lora_gradients(recorded: Any, parity: Path, scenario: str) -> None:
    file = parity / recorded.kind / f"grads_{scenario}.safetensors"
    if not file.exists():
        pytest.skip("of this model no gradients were recorded")
    model = NatureLM.from_pretrained(recorded.published.folder)
    arrays = load_file(parity / recorded.kind / f"golden_{scenario}.safetensors")
    model(
        inputs_embeds=arrays["train_inputs_embeds"],
        attention_mask=arrays["train_attention_mask"].long(),
        labels=arrays["train_labels"].long(),
    ).loss.backward()
    prefix = "llama_model.base_model.model."
    expected = {name: grad for name, grad in load_file(file).items() if ".lora_" in name}
    assert len(expected) == 16
    found = dict(model.language_model.named_parameters())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name.removeprefix(prefix)].grad, gradient, atol=1e-5, rtol=1e-3)


def test_merged_weights_go_back_exactly(model: NatureLM, recorded: Any, features: list[Any]) -> None:
    lm = model.language_model
    unmerge_lora(lm)
    before = {name: weight.clone() for name, weight in lm.state_dict().items()}
    settings = AnswerSettings(max_new_tokens=6, merging_alpha=0.5)
    prompts = recorded.golden["a"]["prompts"]
    merged = model.answer(features, prompts, settings)
    changed = [name for name, weight in lm.named_parameters() if not torch.equal(weight, before[name])]
    assert changed and all("_proj.base_layer.weight" in name for name in changed)
    assert all(layer.merged for layer in lora_layers(lm))

    set_lora_strength(lm, 0.5)
    assert all(torch.equal(weight, before[name]) for name, weight in lm.state_dict().items())
    with patch("NatureLM.models.naturelm.room_to_merge", return_value=False):
        apart = model.answer(features, prompts, settings)
    assert [answer.text for answer in apart] == [answer.text for answer in merged]
    for one, other in zip(apart, merged, strict=True):
        assert one.mean_logprob == pytest.approx(other.mean_logprob, abs=1e-5)


def test_weights_go_out_and_come_in_without_lora(model: NatureLM, recorded: Any, features: list[Any]) -> None:
    """Although answers were given with LoRA added to them."""
    prompts = recorded.golden["a"]["prompts"]
    settings = AnswerSettings(max_new_tokens=6)
    lm = model.language_model
    unmerge_lora(lm)
    original = {name: weight.clone() for name, weight in lm.state_dict().items()}
    tuned = model.answer(features, prompts, settings)
    assert all(layer.merged for layer in lora_layers(lm))
    assert all(torch.equal(weight, original[name]) for name, weight in lm.state_dict().items())

    model.answer(features, prompts, settings)
    assert all(layer.merged for layer in lora_layers(lm))
    other = {name: weight * 3 if "lora_" in name else weight for name, weight in original.items()}
    lm.load_state_dict(other)
    assert not any(layer.merged for layer in lora_layers(lm))
    stronger = model.answer(features, prompts, settings)
    assert [answer.mean_logprob for answer in stronger] != [answer.mean_logprob for answer in tuned]
    model.load_state_dict(
        {f"language_model.{name}": weight for name, weight in original.items()}, strict=False
    )
    for answer, before in zip(model.answer(features, prompts, settings), tuned, strict=True):
        assert answer.mean_logprob == pytest.approx(before.mean_logprob, abs=1e-6)


def test_weights_are_saved_and_trained_apart_from_lora(
    model: NatureLM, recorded: Any, features: list[Any], tmp_path: Path
) -> None:
    prompts = recorded.golden["a"]["prompts"]
    settings = AnswerSettings(max_new_tokens=6)
    answers = model.answer(features, prompts, settings)
    model.save_pretrained(tmp_path / "saved")
    again = NatureLM.from_pretrained(tmp_path / "saved")
    for answer, other in zip(answers, again.answer(features, prompts, settings), strict=True):
        assert other.text == answer.text
    again.train()
    assert not any(layer.merged for layer in lora_layers(again.language_model))


def test_random_answers_are_the_same_alone_and_in_batches(
    model: NatureLM, recorded: Any, features: list[Any]
) -> None:
    prompts = recorded.golden["a"]["prompts"]
    texts = set()
    for seed in range(3):
        settings = AnswerSettings(max_new_tokens=8, temperature=1.0, top_p=0.9, seed=seed)
        together = model.answer(features, prompts, settings)
        (alone,) = model.answer(features[1:], prompts[1:], settings)
        assert alone.text == together[1].text
        texts.add(alone.text)
    assert len(texts) == 3
    with pytest.raises(ConfigError, match=r"generation\.num_beams=1, not 2"):
        check_settings(model, AnswerSettings(temperature=0.5, num_beams=2))


def test_what_is_not_asked_for_is_as_published(model: NatureLM) -> None:
    settings = answer_settings(model)
    assert (settings.num_beams, settings.max_new_tokens) == (2, 300)
    # The Llama's own generation config asks for sampling.
    assert settings.temperature == 0.0
    assert answer_settings(model, GenerationConfig(num_beams=1, temperature=0.4)).temperature == 0.4
