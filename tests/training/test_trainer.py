"""Training sees the model as answering does, and resumes where it stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from NatureLM.errors import ConfigError
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.naturelm import NatureLM
from NatureLM.training.backgrounds import background_bank
from NatureLM.training.batches import IGNORED, ExampleStream, collate, encode_example
from NatureLM.training.bundled import check_same_run, make_evidence, species_adapter
from NatureLM.training.evidence import BackgroundBank, EvidenceMaker
from NatureLM.training.settings import BundledTrainingConfig
from NatureLM.training.tasks import TaskMaker
from NatureLM.training.trainer import answer_logits, embed_batch, schedule

SOUNDS = np.array([0])


@pytest.fixture(scope="module")
def model() -> NatureLM:
    return NatureLM.from_pretrained("bundled")


@pytest.fixture(scope="module")
def evidence(model: NatureLM) -> EvidenceMaker:
    encoder = model.audio_encoder.frozen
    bank = background_bank(encoder, windows=6, seed=5)
    return make_evidence(encoder, bank, model.adapter.table)


def test_batches_embed_prompts_as_answering_does(model: NatureLM, evidence: EvidenceMaker) -> None:
    tasks = TaskMaker(model.adapter, model.adapter.table)
    rng = np.random.default_rng(3)
    for logits in evidence.windows(6, rng):
        for task in ("focal_common", "which_of", "is_species", "list_both", "caption_plain"):
            example = tasks.example(logits, rng, task=task)
            rows, _, answer = encoded = encode_example(example, model.processor)
            with torch.inference_mode():
                trained = embed_batch(model, collate([encoded]))[0]
                asked, mask = model.embed_prompts([example.query], [[example.context]])
            assert mask.all()
            prompt_length = len(rows) - (len(answer) - 1)
            assert asked.shape[1] == prompt_length
            torch.testing.assert_close(trained[:prompt_length], asked[0], atol=1e-6, rtol=0)


def test_labels_are_the_answer_one_step_ahead(model: NatureLM, evidence: EvidenceMaker) -> None:
    tasks = TaskMaker(model.adapter, model.adapter.table)
    rng = np.random.default_rng(4)
    logits = evidence.windows(1, rng)[0]
    example = tasks.example(logits, rng, task="caption_plain")
    batch = collate([encode_example(example, model.processor)])
    labels = batch.labels[0][batch.labels[0] != IGNORED].tolist()
    tokenizer = model.processor.tokenizer
    assert tokenizer.decode(labels, skip_special_tokens=False) == example.answer + tokenizer.eos_token
    first = int((batch.labels[0] != IGNORED).nonzero()[0])
    assert batch.tokens[0, first, 0] == tokenizer.convert_tokens_to_ids("<|assistant|>")
    assert batch.tokens[0, first + 1 :, 0].tolist() == labels[:-1]


def test_chunks_do_not_depend_on_what_came_before(model: NatureLM, evidence: EvidenceMaker) -> None:
    tasks = TaskMaker(model.adapter, model.adapter.table)
    stream = ExampleStream(evidence, tasks, model.processor, batch_size=64, seed=7)
    stream.chunk_windows = 32
    first, again = stream.chunk(5), stream.chunk(5)
    other = stream.chunk(6)
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0].tokens[:, :5], other[0].tokens[:, :5])


def test_bundled_model_answers_fresh_evidence_exactly(model: NatureLM, evidence: EvidenceMaker) -> None:
    tasks = TaskMaker(species_adapter(model), model.adapter.table)
    rng = np.random.default_rng(11)
    for task in ("focal_common", "focal_scientific", "list_common", "caption_plain", "which_of", "is_group"):
        windows = evidence.windows(60, rng)
        examples = [tasks.example(logits, rng, task=task, settings=AnswerSettings()) for logits in windows]
        given = model.answer(list(windows), [example.query for example in examples])
        expected = [re.sub("<[^>]+>", "", example.answer) for example in examples]
        right = sum(answer.text == text for answer, text in zip(given, expected, strict=True))
        assert right >= 53, (task, right)


def test_weights_of_a_long_answer_count_less_each(model: NatureLM, evidence: EvidenceMaker) -> None:
    tasks = TaskMaker(model.adapter, model.adapter.table)
    rng = np.random.default_rng(4)
    logits = evidence.windows(1, rng)[0]
    example = tasks.example(logits, rng, task="caption_plain")
    batch = collate([encode_example(example, model.processor)])
    _, labels, weights = answer_logits(model, batch)
    assert weights.tolist() == pytest.approx([len(labels) ** -0.5] * len(labels))


def test_learning_rate_warms_up_stays_and_falls_to_zero() -> None:
    settings = BundledTrainingConfig(steps=1000, warmup_steps=100, decay_share=0.4)
    assert schedule(0, settings) == pytest.approx(0.01)
    assert schedule(300, settings) == 1.0
    assert schedule(800, settings) == pytest.approx(0.5)
    assert schedule(1000, settings) == 0.0


SMALL_RUN = {
    "vocabulary_size": 1000,
    "hidden_size": 64,
    "layers": 2,
    "heads": 2,
    "feed_forward_size": 128,
    "background_windows": 8,
    "batch_size": 32,
    "steps": 40,
    "log_every": 5,
    "validate_every": 20,
    "validation_windows": 8,
    "checkpoint_every": 10,
}


def losses(folder: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


@pytest.mark.slow
def test_training_learns_and_a_cut_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    for name in ("whole", "cut"):
        settings = {**SMALL_RUN, "output_path": str(tmp_path / name)}
        (tmp_path / f"{name}.yml").write_text(json.dumps(settings))
    program = [sys.executable, "-m", "NatureLM.cli.main", "train", "--cfg-path"]
    subprocess.run([*program, tmp_path / "whole.yml"], check=True, timeout=900)
    assert losses(tmp_path / "whole")[40] < losses(tmp_path / "whole")[5] - 1.0

    running = subprocess.Popen([*program, tmp_path / "cut.yml"], start_new_session=True)
    checkpoint = tmp_path / "cut" / "checkpoint.pt"
    deadline = time.monotonic() + 600
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not (tmp_path / "cut" / "model").exists()
    subprocess.run([*program, tmp_path / "cut.yml"], check=True, timeout=900)

    whole = load_file(tmp_path / "whole" / "model" / "model.safetensors")
    cut = load_file(tmp_path / "cut" / "model" / "model.safetensors")
    assert whole.keys() == cut.keys()
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())
    assert NatureLM.from_pretrained(tmp_path / "cut" / "model").config.name == "naturelm-lite"


def test_another_runs_folder_is_refused(tmp_path: Path) -> None:
    settings = BundledTrainingConfig(output_path=tmp_path, seed=1)
    check_same_run(tmp_path / "settings.json", settings)
    check_same_run(tmp_path / "settings.json", settings.model_copy(update={"steps": 7}))
    with pytest.raises(ConfigError, match=r"other settings \(seed, layers\)"):
        check_same_run(tmp_path / "settings.json", BundledTrainingConfig(output_path=tmp_path, layers=2))


def test_bank_with_too_few_directions_still_gives_moves() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(50, 16)).astype(np.float32)
    bank = BackgroundBank(np.abs(rng.normal(size=(2, 4, 16))).astype(np.float32))
    maker = EvidenceMaker(weight, np.full(50, -3, np.float32), bank, SOUNDS, SOUNDS)
    assert np.isfinite(maker.directions).all()
