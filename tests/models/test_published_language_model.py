"""The language model against what the published code recorded, from files beside this one.

The numbers are in ``published_answers_golden.npz``, the tokenizer in ``published_tokenizer.json``; both were
copied by ``make_published_answers_golden.py`` out of ../shared/parity (small and llama_tiny), where the
public NatureLM-audio code, commit a7943f7, was recorded unmodified in float32 with random weights. The model
is read from a folder in the hub's layout. Its audio tokens are the recorded ones: only the adapter's Q-Former
is passed over (``encoders/test_beats.py`` and ``adapters/`` show that it and BEATs say what was recorded).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional
from transformers import RepetitionPenaltyLogitsProcessor

from NatureLM.models.answering import AnswerSettings, ModelAnswer
from NatureLM.models.lora import lora_layers, set_lora_strength, unmerge_lora
from NatureLM.models.naturelm import NatureLM

Arrays = dict[str, torch.Tensor]
Features = list[list[torch.Tensor]]
Prompts = tuple[torch.Tensor, torch.Tensor]

GOLDEN = Path(__file__).parent / "published_answers_golden.npz"
TOKENIZER = Path(__file__).parent / "published_tokenizer.json"
POSITIONS = slice(0, None, 7)  # as make_published_answers_golden.py stores training logits
LLAMA = "llama_model.base_model.model."
BOS = 507
PATCHES = 496
"""BEATs' patches in 10 s."""

RUNS = [
    "greedy_single{}",
    "beam2_single{}",
    "beam4_lp2_single{}",
    "greedy_single{}_alpha0.5",
    "greedy_single{}_reppen1.3",
]


@dataclass(frozen=True)
class Scenario:
    """What was asked and answered, and the recorded arrays; ``features`` stand for its recordings."""

    said: dict[str, Any]
    arrays: Arrays
    features: Features

    @property
    def prompts(self) -> list[str]:
        """The queries, as the published code was given them."""
        return self.said["prompts"]


@pytest.fixture(scope="module")
def stored() -> Arrays:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file if name != "texts"}


@pytest.fixture(scope="module")
def texts() -> dict[str, Any]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        return json.loads(str(file["texts"]))


@pytest.fixture(scope="module")
def scenarios(stored: Arrays, texts: dict[str, Any]) -> dict[str, Scenario]:
    """Scenario a: two questions of one recording each; b: one of one, one of two."""
    found = {}
    first = 0.0
    for name, said in texts["scenarios"].items():
        arrays = {key[2:]: array for key, array in stored.items() if key.startswith(f"{name}/")}
        numbers = iter(torch.arange(len(arrays["audio_embeds"])) + first)
        features = [
            [torch.full((PATCHES, 64), float(next(numbers))) for _ in range(count)]
            for count in said["audio_chunk_sizes"]
        ]
        first += len(arrays["audio_embeds"])
        found[name] = Scenario(said, arrays, features)
    return found


@pytest.fixture(scope="module")
def model(
    stored: Arrays,
    texts: dict[str, Any],
    scenarios: dict[str, Scenario],
    golden_weights: Arrays,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[NatureLM]:
    """The recorded model, read from files; a recording's features are its number among all recorded."""
    folder = tmp_path_factory.mktemp("published")
    weights = golden_weights | {name: array for name, array in stored.items() if name.startswith(LLAMA)}
    # The hub's file holds the embeddings under another name.
    weights["llama_embed_tokens.weight"] = weights.pop(f"{LLAMA}model.embed_tokens.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(texts["arguments"]))
    (folder / "llama").mkdir()
    for file, content in texts["llama"].items():
        (folder / "llama" / file).write_text(json.dumps(content))
    shutil.copyfile(TOKENIZER, folder / "llama" / "tokenizer.json")
    model = NatureLM.from_pretrained(folder)
    recorded = torch.cat([scenario.arrays["audio_embeds"] for scenario in scenarios.values()])
    with patch.object(model.adapter, "embed", lambda features: recorded[features[:, 0, 0].long()]):
        yield model


@pytest.fixture(scope="module", params=["a", "b"])
def scenario(request: pytest.FixtureRequest, scenarios: dict[str, Scenario]) -> Scenario:
    return scenarios[request.param]


@pytest.fixture(scope="module")
def prompts(model: NatureLM, scenario: Scenario) -> Prompts:
    """The scenario's prompts as the language model reads them, and their mask."""
    questions = model.read_questions(scenario.features, scenario.prompts, AnswerSettings())
    return questions.embeds, questions.mask


def recorded_settings(run: dict[str, Any]) -> AnswerSettings:
    return AnswerSettings(
        num_beams=run["num_beams"],
        max_new_tokens=run["max_new_tokens"],
        merging_alpha=run["merging_alpha"],
        length_penalty=run["length_penalty"],
        repetition_penalty=run["repetition_penalty"],
    )


def answer_with_ids(
    model: NatureLM, features: Features, prompts: list[str], settings: AnswerSettings
) -> tuple[list[ModelAnswer], list[list[int]]]:
    """Return the answers and the token ids that they were decoded from."""
    with patch.object(model.adapter, "text", wraps=model.adapter.text) as decoded:
        answers = model.answer(features, prompts, settings)
    return answers, [list(call.args[1]) for call in decoded.call_args_list]


def test_weights_are_read_as_recorded(model: NatureLM, stored: Arrays) -> None:
    names = {name.removeprefix(LLAMA): array for name, array in stored.items() if name.startswith(LLAMA)}
    unmerge_lora(model.language_model)
    found = model.language_model.state_dict()
    assert set(found) == set(names)
    assert found["lm_head.weight"].shape == (513, 64)
    for name, array in names.items():
        assert torch.equal(found[name], array), name


def test_tokenizer(model: NatureLM, texts: dict[str, Any]) -> None:
    expected, tokenizer = texts["tokenizer"], model.processor.tokenizer
    assert len(tokenizer) == expected["len"] == 513
    assert (tokenizer.bos_token_id, tokenizer.pad_token_id) == (expected["bos"], expected["pad_token_id"])
    assert len(expected["cases"]) > 5
    context = model.adapter.context([], [], AnswerSettings())
    for case in expected["cases"]:
        ids = tokenizer(case["text"], add_special_tokens=False)["input_ids"]
        assert ids == case["ids_no_special"], case["text"]
        assert tokenizer(case["text"])["input_ids"] == case["ids_with_special"], case["text"]
        assert model.adapter.text(context, ids) == case["decode_skip_special"].strip(), case["text"]


def test_prompt_ids(model: NatureLM, scenario: Scenario) -> None:
    said = scenario.said
    for query, whole, parts, recordings in zip(
        said["prompts"], said["full_prompts"], said["prompt_part_ids"], said["audio_chunk_sizes"], strict=True
    ):
        text = model.processor.normalise(query)
        assert model.processor.prompt(text, recordings) == f"<|begin_of_text|>{whole}"
        pieces = [piece.ids for piece in model.processor.pieces(text, recordings=recordings)]
        assert pieces == [[BOS, *parts[0]], *parts[1:]]


def test_prompts_are_put_together_as_published(prompts: Prompts, scenario: Scenario, stored: Arrays) -> None:
    embeds, mask = prompts
    embeddings = stored[f"{LLAMA}model.embed_tokens.weight"]
    audio = iter(scenario.arrays["audio_embeds"])
    for row, (first, *others) in enumerate(scenario.said["prompt_part_ids"]):
        expected = [embeddings[[BOS, *first]]]
        for ids in others:
            expected += [next(audio), embeddings[ids]]
        assert torch.equal(embeds[row][mask[row].bool()], torch.cat(expected))
    assert next(audio, None) is None


@pytest.mark.parametrize("name", RUNS)
def test_answers_are_those_of_the_published_code(model: NatureLM, scenario: Scenario, name: str) -> None:
    runs = [scenario.said["generation"][name.format(row)] for row in (0, 1)]
    settings = recorded_settings(runs[0])
    expected_ids = [run["ids"][0] for run in runs]
    expected_texts = [run["text"][0].strip() for run in runs]
    together, ids = answer_with_ids(model, scenario.features, scenario.prompts, settings)
    assert ids == expected_ids
    assert [answer.text for answer in together] == expected_texts
    for row, run in enumerate(runs):
        one = slice(row, row + 1)
        (alone,), ids = answer_with_ids(model, scenario.features[one], scenario.prompts[one], settings)
        assert ids == [expected_ids[row]]
        assert alone.text == expected_texts[row]
        assert alone.mean_logprob == pytest.approx(together[row].mean_logprob, abs=1e-4)
        if settings.num_beams > 1:
            # Beams are scored by the sum over the length to the power of the penalty.
            (score,), length = run["sequences_scores"], len(expected_ids[row])
            mean = score * length ** (settings.length_penalty - 1.0)
            for answer in (alone, together[row]):
                assert answer.mean_logprob == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize(("alpha", "suffix"), [(1.0, ""), (0.5, "_alpha0.5")])
def test_logits_of_the_first_new_token(
    model: NatureLM, prompts: Prompts, scenario: Scenario, alpha: float, suffix: str
) -> None:
    embeds, mask = prompts
    set_lora_strength(model.language_model, alpha)
    with torch.inference_mode():
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        together = model(inputs_embeds=embeds, attention_mask=mask, position_ids=positions).logits[:, -1]
        for row in (0, 1):
            (expected,) = scenario.arrays[f"gen_first_step_logits_greedy_single{row}{suffix}"]
            alone = model(inputs_embeds=embeds[row][mask[row].bool()][None]).logits[0, -1]
            for ours in (alone, together[row]):
                torch.testing.assert_close(ours, expected, atol=1e-3, rtol=0)


def training_inputs(model: NatureLM, prompts: Prompts, scenario: Scenario) -> torch.Tensor:
    """Return prompts and answers in a row, padded on the right, as the published code trains on them."""
    embeds, mask = prompts
    embed_tokens = model.get_input_embeddings()
    length = scenario.arrays["train_labels"].shape[1]
    rows = []
    for row, ids in enumerate(scenario.said["text_ids_with_end_sym"]):
        whole = torch.cat([embeds[row][mask[row].bool()], embed_tokens(torch.tensor(ids)).detach()])
        assert len(whole) == scenario.arrays["train_attention_mask"][row].sum()
        rows.append(functional.pad(whole, (0, 0, 0, length - len(whole))))
    return torch.stack(rows)


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
def test_training_logits_and_losses(
    model: NatureLM, prompts: Prompts, scenario: Scenario, alpha: float
) -> None:
    arrays = scenario.arrays
    mask, labels = arrays["train_attention_mask"].long(), arrays["train_labels"].long()
    suffix = "" if alpha == 1.0 else f"_merging_alpha_{alpha}"
    set_lora_strength(model.language_model, alpha)
    with torch.inference_mode():
        inputs = training_inputs(model, prompts, scenario)
        output = model(inputs_embeds=inputs, attention_mask=mask, labels=labels)
    torch.testing.assert_close(output.loss, arrays[f"train_loss{suffix}"].reshape(()), atol=1e-4, rtol=0)
    if alpha == 0.0:
        return
    heard = mask[:, POSITIONS].bool()
    assert heard.sum() >= 20
    expected = arrays[f"train_logits{suffix}"]
    torch.testing.assert_close(output.logits[:, POSITIONS][heard], expected[heard], atol=1e-3, rtol=0)
    if alpha == 1.0:
        following = labels[:, 1:]
        losses = functional.cross_entropy(output.logits[:, :-1].transpose(1, 2), following, reduction="none")
        counted = (following != -100).sum(1)
        assert counted.tolist() == arrays["train_total_per_sample"].tolist()
        means = losses.sum(1) / counted
        torch.testing.assert_close(means, arrays["train_per_example_loss"], atol=1e-4, rtol=0)
        right = (output.logits[:, :-1].argmax(-1) == following).sum(1)
        assert right.tolist() == arrays["train_correct_per_sample"].tolist()


def test_lora_gradients(model: NatureLM, prompts: Prompts, scenario: Scenario) -> None:
    set_lora_strength(model.language_model, 1.0)
    model.zero_grad()
    model(
        inputs_embeds=training_inputs(model, prompts, scenario),
        attention_mask=scenario.arrays["train_attention_mask"].long(),
        labels=scenario.arrays["train_labels"].long(),
    ).loss.backward()
    tuned = {name: weight for name, weight in model.language_model.named_parameters() if ".lora_" in name}
    assert len(tuned) == 16
    for name, weight in tuned.items():
        expected = scenario.arrays[f"grad/{LLAMA}{name}"]
        torch.testing.assert_close(weight.grad, expected, atol=1e-5, rtol=1e-3)
    model.zero_grad()


@contextmanager
def swapped_rows(model: NatureLM, first: int, second: int) -> Iterator[None]:
    """Exchange two rows of the output layer, so that one token comes in the other's place."""
    rows = model.language_model.lm_head.weight.data
    rows[[first, second]] = rows[[second, first]]
    try:
        yield
    finally:
        rows[[first, second]] = rows[[second, first]]


@pytest.mark.parametrize("name", ["eos_eot_in_row0", "eos_eot_in_row0_beam2", "eos_eot_in_row0_minlength30"])
def test_an_end_token_ends_its_own_row_only(
    model: NatureLM, scenarios: dict[str, Scenario], name: str
) -> None:
    scenario = scenarios["a"]
    run = scenario.said["generation"][name]
    settings = recorded_settings(run)
    with swapped_rows(model, *run["lm_head_rows_swapped_before_run"]):
        prompts = [scenario.prompts[0]] * 2
        answers, ids = answer_with_ids(model, scenario.features, prompts, settings)
    assert [answer.text for answer in answers] == [text.strip() for text in run["text"]]
    ended, whole = run["ids"]
    assert ids[1] == whole
    # Upstream fills a row up with the tokenizer's end token; with beams, from the end token itself on.
    length = len(ids[0])
    assert (length, ids[0][-1]) == (4, 511)
    assert ids[0][:-1] == ended[: length - 1]
    assert ended[length - 1] == (511 if settings.num_beams == 1 else 508)
    assert set(ended[length:]) <= {508}


@pytest.mark.parametrize("beams", [2, 4])
def test_beams_with_a_repetition_penalty_are_those_of_plain_generate(
    model: NatureLM, scenario: Scenario, beams: int
) -> None:
    settings = AnswerSettings(num_beams=beams, max_new_tokens=8, repetition_penalty=1.3)
    for features, prompt in zip(scenario.features, scenario.prompts, strict=True):
        (answer,), (ids,) = answer_with_ids(model, [features], [prompt], settings)
        asked = model.read_questions([features], [prompt], settings)
        with torch.inference_mode():
            plain = model.language_model.generate(
                inputs_embeds=asked.embeds,
                attention_mask=asked.mask,
                max_new_tokens=8,
                num_beams=beams,
                do_sample=False,
                logits_processor=[RepetitionPenaltyLogitsProcessor(1.3)],
            )
        assert ids == plain[0].tolist()
        assert answer.confidence > 0


def test_merging_alpha_is_applied_anew_each_time(model: NatureLM, scenario: Scenario) -> None:
    settings = [AnswerSettings(max_new_tokens=8, merging_alpha=alpha) for alpha in (1.0, 0.5, 1.0)]
    whole, half, again = (model.answer(scenario.features, scenario.prompts, item) for item in settings)
    assert again == whole
    assert [answer.text for answer in half] != [answer.text for answer in whole]


def test_merged_weights_go_back_exactly(model: NatureLM, scenario: Scenario) -> None:
    lm = model.language_model
    unmerge_lora(lm)
    before = {name: weight.clone() for name, weight in lm.state_dict().items()}
    settings = AnswerSettings(max_new_tokens=8, merging_alpha=0.5)
    merged = model.answer(scenario.features, scenario.prompts, settings)
    assert all(layer.merged for layer in lora_layers(lm))
    changed = {name for name, weight in lm.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {name for name in before if "_proj.base_layer.weight" in name}

    set_lora_strength(lm, 0.5)
    assert all(torch.equal(weight, before[name]) for name, weight in lm.state_dict().items())
    with patch("NatureLM.models.naturelm.room_to_merge", return_value=False):
        apart = model.answer(scenario.features, scenario.prompts, settings)
    assert [answer.text for answer in apart] == [answer.text for answer in merged]
    for one, other in zip(apart, merged, strict=True):
        assert one.mean_logprob == pytest.approx(other.mean_logprob, abs=1e-5)
