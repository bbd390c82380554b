"""Training is measured by hand on a small model, and resumes where it stopped."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from NatureLM.errors import NatureLMError
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.species import SpeciesTable
from NatureLM.training.backgrounds import background_bank
from NatureLM.training.batches import CLASS, IGNORED, Batch, ExampleMaker, collate, encode_example
from NatureLM.training.bundled import make_evidence, species_adapter
from NatureLM.training.run_files import load_checkpoint, save_checkpoint
from NatureLM.training.settings import BundledTrainingConfig
from NatureLM.training.tasks import Logits, TaskMaker
from NatureLM.training.trainer import (
    answer_logits,
    autocast,
    batch_loss,
    build_optimizers,
    embed_batch,
    ends_told,
    example_losses,
    learn,
    schedule,
    set_rates,
    validate,
)

Window = Callable[[dict[str, float]], Logits]


@pytest.fixture(scope="module")
def batch(model: NatureLM, table: SpeciesTable, window: Window) -> Batch:
    maker = ExampleMaker(TaskMaker(species_adapter(model), table))
    scenes = np.stack([window({"Great Tit": 3.0, "Mallard": 1.0, "engine noise": 2.0}), window({})])
    examples = list(maker.examples(scenes, 12, np.random.default_rng(5)))
    return collate([encode_example(example, model.processor) for example in examples])


def test_logits_are_those_of_the_tokens_of_answers(model: NatureLM, batch: Batch) -> None:
    with torch.inference_mode():
        logits, labels, weights = answer_logits(model, batch)
        whole = model(inputs_embeds=embed_batch(model, batch)).logits
    counted = batch.labels != IGNORED
    assert labels.tolist() == batch.labels[counted].tolist()
    assert len(logits) == len(labels) == len(weights) == int(counted.sum())
    torch.testing.assert_close(logits, whole[counted], atol=1e-5, rtol=1e-5)


def test_weights_of_a_long_answer_count_less_each(batch: Batch) -> None:
    lengths = (batch.labels != IGNORED).sum(dim=1)
    assert len(set(lengths.tolist())) > 2
    torch.testing.assert_close(batch.weights.sum(dim=1), lengths.float().sqrt())


def test_loss_is_the_weighted_cross_entropy_of_answers(model: NatureLM, batch: Batch) -> None:
    with torch.inference_mode():
        logits, labels, weights = answer_logits(model, batch)
        loss = float(batch_loss(model, batch))
    chances = logits.double().softmax(dim=-1)
    losses = [-math.log(float(row[label])) for row, label in zip(chances, labels, strict=True)]
    expected = sum(a * float(w) for a, w in zip(losses, weights, strict=True)) / float(weights.sum())
    assert loss == pytest.approx(expected, rel=1e-5)


def test_losses_of_examples_add_up(model: NatureLM, batch: Batch) -> None:
    with torch.inference_mode():
        losses = example_losses(model, batch)
        alone = example_losses(model, Batch(*(part[4:5] for part in vars(batch).values())))
        loss = batch_loss(model, batch)
    assert losses.shape == (12,)
    torch.testing.assert_close(alone, losses[4:5], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(losses.sum() / batch.weights.sum(), loss)


def gradients(model: NatureLM, batch: Batch, share: float, seed: int) -> tuple[float, torch.Tensor]:
    try:
        loss = learn(model, batch, share, (seed,))
        found = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
        return loss, torch.cat(found)
    finally:
        model.zero_grad(set_to_none=True)


def test_a_share_of_the_examples_gives_the_gradient_of_all_in_the_mean(model: NatureLM, batch: Batch) -> None:
    loss, whole = gradients(model, batch, 1.0, 0)
    drawn = [gradients(model, batch, 0.5, seed) for seed in range(60)]
    assert [other for other, _ in drawn] == pytest.approx([loss] * 60, rel=1e-5)
    torch.testing.assert_close(drawn[0][1], gradients(model, batch, 0.5, 0)[1])
    mean = torch.stack([gradient for _, gradient in drawn]).mean(dim=0)
    assert float((drawn[0][1] - whole).norm() / whole.norm()) > 0.2
    assert float((mean - whole).norm() / whole.norm()) < 0.2


def test_products_in_bfloat16_give_nearly_the_same_gradients(model: NatureLM, batch: Batch) -> None:
    for share in (1.0, 0.5):
        found = []
        for dtype in ("float32", "bfloat16"):
            with autocast(BundledTrainingConfig(dtype=dtype), torch.device("cpu")):
                found.append(gradients(model, batch, share, 3))
        (loss, exact), (rounded_loss, rounded) = found
        assert rounded_loss != loss
        assert rounded_loss == pytest.approx(loss, rel=0.02)
        assert rounded.dtype == torch.float32
        assert float((rounded - exact).norm() / exact.norm()) < 0.05


def test_every_part_of_the_model_learns(model: NatureLM, batch: Batch) -> None:
    assert (batch.rows[..., 0] == CLASS).any()
    try:
        batch_loss(model, batch).backward()
        idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    finally:
        model.zero_grad(set_to_none=True)
    assert idle == []


def test_validation_counts_whole_answers(model: NatureLM, batch: Batch) -> None:
    with torch.inference_mode():
        logits, _, _ = answer_logits(model, batch)
    counted = batch.labels != IGNORED
    labels = batch.labels.clone()
    labels[counted] = logits.argmax(-1)
    right = replace(batch, labels=labels)
    for row in range(3):
        labels = labels.clone()
        place = int((labels[row] != IGNORED).nonzero()[-1])
        labels[row, place] = (labels[row, place] + 1) % 100
    three_wrong = replace(batch, labels=labels)
    groups = {"right": [right], "three of 24": [right, three_wrong]}
    shares = validate(model, groups, torch.device("cpu"))
    model.eval()
    assert shares == {"right": 1.0, "three of 24": round(21 / 24, 4)}


def test_optimizers_share_the_parameters(model: NatureLM) -> None:
    settings = BundledTrainingConfig(matrix_learning_rate=0.5, learning_rate=0.25)
    muon, adamw = build_optimizers(model, settings)
    names = {parameter: name for name, parameter in model.named_parameters()}
    matrices = {names[p] for group in muon.param_groups for p in group["params"]}
    others = {names[p] for group in adamw.param_groups for p in group["params"]}
    assert not matrices & others
    assert matrices | others == set(names.values())
    layer = "language_model.model.layers.0"
    assert {f"{layer}.self_attn.q_proj.weight", f"{layer}.mlp.up_proj.weight"} <= matrices
    assert "adapter.mark_slot_map.weight" in matrices
    assert {"language_model.model.embed_tokens.weight", "adapter.feature_map.weight"} <= others
    assert [group["peak_lr"] for optimizer in (muon, adamw) for group in optimizer.param_groups] == [
        0.5,
        0.25,
    ]


def test_a_checkpoint_gives_back_model_optimizers_and_step(model: NatureLM, tmp_path: Path) -> None:
    linear = torch.nn.Linear(4, 4)
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(linear.parameters(), lr=0.1)]
    linear(torch.ones(2, 4)).sum().backward()
    optimizers[0].step()
    path = tmp_path / "checkpoint.pt"
    assert load_checkpoint(path, linear, optimizers) == 0  # type: ignore[arg-type]
    save_checkpoint(path, linear, optimizers, 17)  # type: ignore[arg-type]
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]

    other = torch.nn.Linear(4, 4)
    fresh: list[torch.optim.Optimizer] = [torch.optim.AdamW(other.parameters(), lr=0.3)]
    assert load_checkpoint(path, other, fresh) == 17  # type: ignore[arg-type]
    assert torch.equal(other.weight, linear.weight)
    moments = fresh[0].state[other.weight]["exp_avg"]
    assert torch.equal(moments, optimizers[0].state[linear.weight]["exp_avg"])
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_checkpoint(path, torch.nn.Linear(3, 4), optimizers)  # type: ignore[arg-type]


def test_a_run_that_goes_on_takes_the_rates_of_its_settings(model: NatureLM, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, model, build_optimizers(model, BundledTrainingConfig(weight_decay=0.3)), 17)
    settings = BundledTrainingConfig(matrix_learning_rate=0.5, learning_rate=0.25, weight_decay=0.125)
    optimizers = build_optimizers(model, settings)
    assert load_checkpoint(path, model, optimizers) == 17
    set_rates(optimizers, settings)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    assert [(group["peak_lr"], group["weight_decay"]) for group in groups] == [(0.5, 0.125), (0.25, 0.125)]


def test_bundled_model_answers_fresh_evidence_exactly() -> None:
    model = NatureLM.from_pretrained("bundled")
    table = species_adapter(model).table
    encoder = model.audio_encoder.frozen
    evidence = make_evidence(encoder, background_bank(encoder, windows=6, seed=5), table)
    tasks = TaskMaker(species_adapter(model), table)
    rng = np.random.default_rng(11)
    for task in ("focal_common", "focal_scientific", "list_common", "caption_plain", "which_of", "is_group"):
        windows = evidence.windows(60, rng)
        examples = [tasks.example(logits, rng, task=task, settings=AnswerSettings()) for logits in windows]
        given = model.answer(list(windows), [example.texts[0] for example in examples])
        expected = [
            species_adapter(model).text(
                example.context, model.processor.tokenizer.encode(example.answer, add_special_tokens=False)
            )
            for example in examples
        ]
        right = sum(answer.text == text for answer, text in zip(given, expected, strict=True))
        assert right >= 53, (task, right)


def test_learning_rate_warms_up_stays_and_falls_to_zero() -> None:
    settings = BundledTrainingConfig(steps=1000, warmup_steps=100, decay_share=0.4)
    assert schedule(0, settings) == pytest.approx(0.01)
    assert schedule(300, settings) == 1.0
    assert schedule(800, settings) == pytest.approx(0.5)
    assert schedule(1000, settings) == 0.0
    assert schedule(0, BundledTrainingConfig(steps=10, warmup_steps=0)) == 1.0


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            ProcessRaisedException("Traceback\n  ...\nOSError: [Errno 28] No space left on device", 0, 7),
            r"The training in run ended \(OSError: \[Errno 28\] No space left on device\)\. Once that",
        ),
        (
            ProcessRaisedException("RuntimeError: [enforce] PytorchStreamWriter failed writing file", 0, 7),
            "PytorchStreamWriter failed writing file",
        ),
        (
            ProcessExitedException("", 0, 7, -9, signal_name="SIGKILL"),
            "in run was killed, perhaps for want of memory. Once that is mended, the same command goes on",
        ),
        (ProcessExitedException("", 0, 7, 1), "in run ended by itself. Once"),
    ],
)
def test_why_a_training_ended_is_one_sentence(error: Exception, expected: str) -> None:
    with pytest.raises(NatureLMError, match=expected), ends_told(Path("run")):
        raise error


def test_faults_of_the_program_keep_their_report() -> None:
    fault = ProcessRaisedException("ValueError: 3", 0, 7)
    with pytest.raises(ProcessRaisedException, match="ValueError: 3"), ends_told(Path("run")):
        raise fault


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


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_training_learns_and_a_cut_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    for name in ("whole", "cut"):
        settings = {**SMALL_RUN, "output_path": str(tmp_path / name)}
        (tmp_path / f"{name}.yml").write_text(json.dumps(settings))
    program = [sys.executable, "-m", "NatureLM.cli.main", "train", "--cfg-path"]
    subprocess.run([*program, tmp_path / "whole.yml"], check=True, timeout=900)
    assert losses(tmp_path / "whole")[40] < losses(tmp_path / "whole")[5] - 1.0

    checkpoint = tmp_path / "cut" / "checkpoint.pt"
    running = subprocess.Popen([*program, tmp_path / "cut.yml"], start_new_session=True)
    wait_until(checkpoint.exists)
    # Told to stop, the program takes its processes with it; killed, it leaves a checkpoint that is whole.
    running.terminate()
    running.wait(60)
    wait_until(lambda: not group_lives(running.pid))
    first = checkpoint.stat().st_mtime_ns
    running = subprocess.Popen([*program, tmp_path / "cut.yml"], start_new_session=True)
    wait_until(lambda: checkpoint.stat().st_mtime_ns != first)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not (tmp_path / "cut" / "model").exists()
    subprocess.run([*program, tmp_path / "cut.yml"], check=True, timeout=900)

    whole = load_file(tmp_path / "whole" / "model" / "model.safetensors")
    cut = load_file(tmp_path / "cut" / "model" / "model.safetensors")
    assert whole.keys() == cut.keys()
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())
    assert NatureLM.from_pretrained(tmp_path / "cut" / "model").config.name == "naturelm-lite"


HELD_BY_GLIBC = """
import sys, torch
from NatureLM.training.trainer import give_back_memory

def held():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

buffers = [torch.ones(2**18) for _ in range(400)]  # 1 MB each
del buffers[:-1]  # the last one keeps the heap from shrinking by itself
before = held()
give_back_memory()
print(before - held())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is asked to give memory back")
def test_memory_that_glibc_holds_is_given_back() -> None:
    kept = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32 - 1)}
    done = subprocess.run(
        [sys.executable, "-c", HELD_BY_GLIBC], env=os.environ | kept, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 300e6
