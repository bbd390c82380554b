"""Train the bundled model: data-parallel processes, Muon on hidden matrices, checkpoints to resume from.

Run it with ``naturelm train --cfg-path configs/train_bundled.yml``; a run that was cut goes on from its last
checkpoint when the same command is given again.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as distributed
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes
from torch.nn import functional
from torch.utils.data import DataLoader

from NatureLM.errors import ConfigError, NatureLMError
from NatureLM.infer.locking import try_lock
from NatureLM.models.adapters.species_tokens import CLASS_COLUMNS
from NatureLM.models.devices import choose_device
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.species import SpeciesTable
from NatureLM.training.batches import (
    CLASS,
    IGNORED,
    Batch,
    ExampleMaker,
    ExampleStream,
    collate,
    encode_example,
)
from NatureLM.training.bundled import (
    build_model,
    evidence_maker,
    prepare,
    save_model,
    species_adapter,
)
from NatureLM.training.evidence import EvidenceMaker
from NatureLM.training.run_files import load_checkpoint, save_checkpoint, write_log, writing_told
from NatureLM.training.selecting import draw
from NatureLM.training.settings import BundledTrainingConfig
from NatureLM.training.tasks import TaskMaker

logger = logging.getLogger(__name__)

VALIDATION_SEED = 9_001

MOST_AHEAD = 64
"""Batches made in advance; each takes some file descriptors, of which a process often has 1,024."""

UNWRITTEN = re.compile(r"\bOSError: .+|\bPermissionError: .+|.*PytorchStreamWriter failed.*")
"""Lines that a failed process's report has where it could not write."""

GO_ON = "Once that is mended, the same command goes on from the last checkpoint."


def train(settings: BundledTrainingConfig) -> Path:
    """Build the bundled model from nothing, or go on with a run that was cut.

    Returns
    -------
    Path
        The folder with the finished model, loadable by ``NatureLM.from_pretrained``.

    Raises
    ------
    ConfigError
        If this torch cannot train it, the device is not there, or the folder holds another run.
    """
    if not hasattr(torch.optim, "Muon"):
        raise ConfigError(f"Training needs torch 2.9 or newer (this is {torch.__version__}); upgrade torch.")
    if choose_device(settings.device).type == "mps" and settings.processes > 1:
        raise ConfigError("processes: a training on mps is one process; give processes=1.")
    with alone(settings.output_path):
        prepare(settings)
        run_processes(settings)
    return settings.output_path / "model"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other trainings out of a folder.

    Raises
    ------
    ConfigError
        If one goes on there, or the folder cannot be made.
    """
    with writing_told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("wb")
    with lock:
        if not try_lock(lock):
            raise ConfigError(f"A training goes on in {folder}; wait for its end, or choose another.")
        yield


@contextmanager
def ends_told(folder: Path) -> Iterator[None]:
    """Say in one sentence why a process of a training ended, where it is no fault of the program's.

    Raises
    ------
    NatureLMError
        If it could not write, or was killed.
    """
    try:
        yield
    except ProcessRaisedException as error:
        if not (fault := UNWRITTEN.search(str(error))):
            raise
        raise NatureLMError(f"The training in {folder} ended ({fault[0]}). {GO_ON}") from None
    except ProcessExitedException as error:
        how = (
            "was killed, perhaps for want of memory" if error.signal_name == "SIGKILL" else "ended by itself"
        )
        raise NatureLMError(f"A process of the training in {folder} {how}. {GO_ON}") from None


def run_processes(settings: BundledTrainingConfig) -> None:
    """Train in as many processes as the settings ask for; errors are those of :func:`ends_told`."""
    # Idle threads that spin would take the cores from each other (many times slower on two cores).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["OMP_NUM_THREADS"] = str(settings.threads_per_process)
    # glibc keeps large buffers and uses them again: fetching them anew takes a third of a step.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**30))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**32 - 1))
    os.environ.setdefault("MALLOC_TOP_PAD_", str(2**28))
    rendezvous = settings.output_path / "rendezvous"
    rendezvous.unlink(missing_ok=True)
    processes = start_processes(
        train_process, args=(settings,), nprocs=settings.processes, join=False, start_method="spawn"
    )
    try:
        with ends_told(settings.output_path):
            while not processes.join():
                pass
    finally:
        # Whatever ends this process ends those too; they would train on unseen otherwise.
        for process in processes.processes:
            process.terminate()
    rendezvous.unlink(missing_ok=True)


def train_process(rank: int, settings: BundledTrainingConfig) -> None:
    """Train as one of the processes; all hold the same weights and see different examples."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(settings.threads_per_process)
    # Gradients of sure answers fall below 1e-38, where an Intel core multiplies at half its speed.
    torch.set_flush_denormal(True)
    # Not by its URL, in which a # or ? of the folder's name would mean something else.
    path = str((settings.output_path / "rendezvous").resolve())
    rendezvous = distributed.FileStore(path, settings.processes)  # type: ignore[attr-defined]
    distributed.init_process_group("gloo", store=rendezvous, rank=rank, world_size=settings.processes)
    folder = settings.output_path
    device = choose_device(settings.device)
    model = build_model(settings)
    table = SpeciesTable.load()
    evidence = evidence_maker(settings, table)
    # A copy of the adapter lays out tokens in the data process; the trained one stays here.
    tasks = TaskMaker(species_adapter(build_model(settings)), table)
    validation = validation_batches(settings, evidence, tasks, model) if rank == 0 else {}
    model.to(device)
    optimizers = build_optimizers(model, settings)
    step = load_checkpoint(folder / "checkpoint.pt", model, optimizers)
    set_rates(optimizers, settings)
    per_chunk = ExampleStream.batches_per_chunk(settings.batch_size)
    stream = ExampleStream(
        evidence,
        tasks,
        model.processor,
        settings.batch_size,
        settings.seed,
        first_chunk=rank + settings.processes * (step // per_chunk),
        chunk_step=settings.processes,
    )
    loader = DataLoader(
        stream,
        batch_size=None,
        num_workers=1,
        prefetch_factor=min(per_chunk * 2, MOST_AHEAD),
        multiprocessing_context="spawn",
    )
    batches = iter(loader)
    for _ in range(step % per_chunk):
        next(batches)
    started, waited, losses = time.monotonic(), 0.0, []
    while step < settings.steps:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * schedule(step, settings)
        asked = time.monotonic()
        batch = next(batches).to(device)
        waited += time.monotonic() - asked
        with autocast(settings, device):
            losses.append(learn(model, batch, settings.learned_share, (settings.seed, rank, step)))
        average_gradients(model)
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_norm)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        if rank == 0 and step % settings.log_every == 0:
            seconds = time.monotonic() - started
            examples = len(losses) * settings.batch_size * settings.processes
            figures = {
                "loss": round(float(np.mean(losses)), 4),
                "examples_per_second": round(examples / seconds, 1),
                "share_of_time_waiting_for_data": round(waited / seconds, 3),
            }
            write_log(folder, step=step, **figures)
            logger.info("step %d of %d: %s", step, settings.steps, figures)
            started, waited, losses = time.monotonic(), 0.0, []
        if rank == 0 and (step % settings.validate_every == 0 or step == settings.steps):
            exact = validate(model, validation, device)
            write_log(folder, step=step, exact=exact)
            logger.info("step %d: exact answers %s", step, exact)
        if rank == 0 and (step % settings.checkpoint_every == 0 or step == settings.steps):
            save_checkpoint(folder / "checkpoint.pt", model, optimizers, step)
        if step % settings.checkpoint_every == 0:
            give_back_memory()
    if rank == 0:
        save_model(model, folder / "model")
    distributed.barrier()
    distributed.destroy_process_group()


def give_back_memory() -> None:
    """Give free pages back to the system; glibc keeps them all, and its heap grows as sizes vary."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


def autocast(settings: BundledTrainingConfig, device: torch.device) -> torch.autocast:
    """Return the context in which products are of the settings' dtype."""
    # Copies of weights that are kept from reading without gradients would have none either.
    is_half = settings.dtype == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=is_half, cache_enabled=False)


def schedule(step: int, settings: BundledTrainingConfig) -> float:
    """Return the factor on the peak learning rates: linear warm-up, constant, linear decay to zero."""
    decay_from = settings.steps * (1 - settings.decay_share)
    warm = min(1.0, (step + 1) / max(settings.warmup_steps, 1))
    cool = min(1.0, (settings.steps - step) / max(settings.steps - decay_from, 1))
    return warm * cool


def embed_batch(model: NatureLM, batch: Batch) -> torch.Tensor:
    """Return the embeddings [batch, length, hidden] of a batch, as the model's own prompts have them."""
    embed_tokens = model.get_input_embeddings()
    adapter = species_adapter(model)
    tokens, marks = batch.rows[..., 0], batch.rows[..., 1:]
    is_class = tokens == CLASS
    text = embed_tokens(tokens.clamp(min=0))
    marked = (marks[..., 0] > 0) & ~is_class
    text = text.masked_scatter(
        marked[..., None], adapter.mark_text(text[marked], marks[marked], embed_tokens)
    )
    classes = adapter.embed(marks[is_class][:, :CLASS_COLUMNS], batch.features[is_class], embed_tokens)
    return text.masked_scatter(is_class[..., None], classes)


def answer_logits(model: NatureLM, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return logits, labels and weights of the answers' tokens alone, one after another."""
    hidden = model.language_model.model(inputs_embeds=embed_batch(model, batch), use_cache=False)
    counted = batch.labels != IGNORED
    logits = model.language_model.lm_head(hidden.last_hidden_state[counted])
    return logits, batch.labels[counted], batch.weights[counted]


def example_losses(model: NatureLM, batch: Batch) -> torch.Tensor:
    """Return the weighted cross entropy of each answer, summed over its tokens: float32 [examples]."""
    logits, labels, weights = answer_logits(model, batch)
    losses = functional.cross_entropy(logits.float(), labels, reduction="none") * weights
    examples = (batch.labels != IGNORED).nonzero()[:, 0]
    return losses.new_zeros(len(batch.labels)).index_add(0, examples, losses)


def batch_loss(model: NatureLM, batch: Batch) -> torch.Tensor:
    """Return the weighted cross entropy of the answers."""
    return example_losses(model, batch).sum() / batch.weights.sum()


def learn(model: NatureLM, batch: Batch, share: float, seed: tuple[int, ...]) -> float:
    """Add a batch's gradients, from a share of its examples if that is below 1; return the batch's loss."""
    total = batch.weights.sum()
    if share == 1:
        loss = batch_loss(model, batch)
        loss.backward()
        return float(loss.detach())
    with torch.no_grad():
        losses = example_losses(model, batch)
    generator = torch.Generator().manual_seed(int(np.random.default_rng(seed).integers(2**63)))
    (example_losses(model, draw(batch, losses, share, generator)).sum() / total).backward()
    return float(losses.sum() / total)


def average_gradients(model: NatureLM) -> None:
    """Average gradients over the processes, in one message."""
    if distributed.get_world_size() == 1:
        return
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


def build_optimizers(model: NatureLM, settings: BundledTrainingConfig) -> list[torch.optim.Optimizer]:
    """Return Muon for the hidden matrices and AdamW for embeddings, norms and biases."""
    embedding_names = ("embed_tokens", "lm_head", "_embedding", "feature_map")
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        hidden = parameter.ndim == 2 and not any(part in name for part in embedding_names)
        (matrices if hidden else others).append(parameter)
    optimizers = [torch.optim.Muon(matrices, momentum=0.95), torch.optim.AdamW(others, betas=(0.9, 0.95))]
    set_rates(optimizers, settings)
    return optimizers


def set_rates(optimizers: list[torch.optim.Optimizer], settings: BundledTrainingConfig) -> None:
    """Set peak learning rates and weight decay, in place of those that a checkpoint brings."""
    rates = (settings.matrix_learning_rate, settings.learning_rate)
    for optimizer, rate in zip(optimizers, rates, strict=True):
        for group in optimizer.param_groups:
            group["peak_lr"], group["weight_decay"] = rate, settings.weight_decay


def validation_batches(
    settings: BundledTrainingConfig, evidence: EvidenceMaker, tasks: TaskMaker, model: NatureLM
) -> dict[str, list[Batch]]:
    """Return batches of each task on fresh windows, and of each task in wordings never trained on."""
    held_out = TaskMaker(tasks.adapter, tasks.table, split="held_out", noise=False)
    rng = np.random.default_rng((VALIDATION_SEED, settings.seed))
    windows = evidence.windows(settings.validation_windows, rng)
    groups: dict[str, list[Any]] = defaultdict(list)
    for maker, prefix in ((tasks, ""), (held_out, "held_out/")):
        for example in ExampleMaker(maker).examples(windows, 8 * len(windows), rng):
            groups[prefix + example.task].append(encode_example(example, model.processor))
    return {
        name: [collate(group[first : first + 64]) for first in range(0, len(group), 64)]
        for name, group in sorted(groups.items())
    }


@torch.inference_mode()
def validate(model: NatureLM, groups: dict[str, list[Batch]], device: torch.device) -> dict[str, float]:
    """Return the share of answers of each group that greedy decoding without rules gets exactly right.

    Greedy decoding gives the whole answer if and only if each token comes first given those before it,
    so no answer needs to be written out.
    """
    model.eval()
    shares = {}
    for name, batches in groups.items():
        right = []
        for batch in batches:
            batch = batch.to(device)
            logits, labels, _ = answer_logits(model, batch)
            wrong = torch.zeros_like(batch.labels, dtype=torch.bool)
            wrong[batch.labels != IGNORED] = logits.argmax(-1) != labels
            right += (~wrong.any(dim=1)).tolist()
        shares[name] = round(float(np.mean(right)), 4)
    model.train()
    return shares
