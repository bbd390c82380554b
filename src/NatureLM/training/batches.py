"""Batches of examples for the language model, made beside training by worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from NatureLM.models.processing import NatureLMProcessor
from NatureLM.training.evidence import EvidenceMaker
from NatureLM.training.tasks import Example, TaskMaker

TEXT = -1
"""Value of the field column where a token is text, not part of a species."""

SEGMENT_COLUMNS = 6
"""Token id, id before it, field (or TEXT), slot, state, mark of the question's word."""

IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Examples padded on the right (the model is causal, so padding is never seen by what counts).

    Attributes
    ----------
    tokens : int64 [batch, length, 6]
        Columns as in ``SEGMENT_COLUMNS``.
    strengths : float32 [batch, length, 3]
    labels : int64 [batch, length]
        The token that should follow, or -100.
    weights : float32 [batch, length]
        Weight of each label in the loss: one over the square root of the answer's length.
    """

    tokens: torch.Tensor
    strengths: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


def encode_example(
    example: Example, processor: NatureLMProcessor
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return an example as rows of tokens, strengths and the ids of its answer."""
    before, after = processor.pieces(example.query, example.context.query_marks)
    tokenizer = processor.tokenizer
    answer = [*tokenizer.encode(example.answer, add_special_tokens=False), int(tokenizer.eos_token_id)]
    species = example.context.content
    text_ids = [*before.ids, *after.ids, *answer[:-1]]
    rows = np.zeros((len(text_ids) + len(species.tokens), SEGMENT_COLUMNS), dtype=np.int64)
    strengths = np.zeros((len(rows), species.strengths.shape[1]), dtype=np.float32)
    is_text = np.ones(len(rows), dtype=bool)
    start, stop = len(before.ids), len(before.ids) + len(species.tokens)
    is_text[start:stop] = False
    rows[is_text, 0] = text_ids
    rows[is_text, 2] = TEXT
    rows[is_text, 5] = [*before.marks, *after.marks, *[0] * (len(answer) - 1)]
    rows[start:stop, :5] = species.tokens
    strengths[start:stop] = species.strengths
    return rows, strengths, answer


def collate(examples: Sequence[tuple[np.ndarray, np.ndarray, list[int]]]) -> Batch:
    """Pad encoded examples into a batch."""
    length = max(len(rows) for rows, _, _ in examples)
    size = len(examples)
    tokens = np.zeros((size, length, SEGMENT_COLUMNS), dtype=np.int64)
    tokens[:, :, 2] = TEXT
    strengths = np.zeros((size, length, examples[0][1].shape[1]), dtype=np.float32)
    labels = np.full((size, length), IGNORED, dtype=np.int64)
    weights = np.zeros((size, length), dtype=np.float32)
    for place, (rows, strength, answer) in enumerate(examples):
        tokens[place, : len(rows)] = rows
        strengths[place, : len(rows)] = strength
        labels[place, len(rows) - len(answer) : len(rows)] = answer
        weights[place, len(rows) - len(answer) : len(rows)] = len(answer) ** -0.5
    return Batch(*(torch.from_numpy(array) for array in (tokens, strengths, labels, weights)))


class ExampleStream(IterableDataset[Batch]):
    """An endless, seeded stream of batches that can begin anywhere.

    Windows are made in chunks; a chunk's examples are sorted by length, so that batches hold little
    padding, and its batches are shuffled. Chunk ``k`` is the same whatever was made before it.

    Parameters
    ----------
    evidence : EvidenceMaker
    tasks : TaskMaker
    processor : NatureLMProcessor
    batch_size : int
    seed : int
    first_chunk, chunk_step : int
        Chunks ``first_chunk``, ``first_chunk + chunk_step``, ... are made (one stream a process).
    """

    chunk_windows = 256
    examples_per_window = 4

    def __init__(
        self,
        evidence: EvidenceMaker,
        tasks: TaskMaker,
        processor: NatureLMProcessor,
        batch_size: int,
        seed: int,
        first_chunk: int = 0,
        chunk_step: int = 1,
    ) -> None:
        self.evidence = evidence
        self.tasks = tasks
        self.processor = processor
        self.batch_size = batch_size
        self.seed = seed
        self.first_chunk = first_chunk
        self.chunk_step = chunk_step

    @classmethod
    def batches_per_chunk(cls, batch_size: int) -> int:
        """Return how many batches a chunk gives."""
        return cls.chunk_windows * cls.examples_per_window // batch_size

    def chunk(self, number: int) -> list[Batch]:
        """Return the batches of one chunk."""
        rng = np.random.default_rng((self.seed, number))
        encoded = []
        for logits in self.evidence.windows(self.chunk_windows, rng):
            for _ in range(self.examples_per_window):
                encoded.append(encode_example(self.tasks.example(logits, rng), self.processor))
        encoded.sort(key=lambda item: len(item[0]))
        batches = [
            collate(encoded[first : first + self.batch_size])
            for first in range(0, len(encoded) - self.batch_size + 1, self.batch_size)
        ]
        return [batches[place] for place in rng.permutation(len(batches))]

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches without end."""
        torch.set_num_threads(1)
        worker = get_worker_info()
        assert worker is None or worker.num_workers == 1, "one worker keeps the stream's order"
        number = self.first_chunk
        while True:
            yield from self.chunk(number)
            number += self.chunk_step
