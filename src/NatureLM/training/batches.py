"""Batches of examples for the language model, made beside training by worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from NatureLM.models.adapters.species_tokens import CLASS_COLUMNS, FEATURES, MARK_COLUMNS, SpeciesTokens
from NatureLM.models.processing import NatureLMProcessor
from NatureLM.training.conversations import ConversationMaker, PairMaker
from NatureLM.training.evidence import EvidenceMaker
from NatureLM.training.tasks import Example, Logits, TaskMaker

CONVERSATIONS = 0.38
"""Share of examples that are later turns of conversations."""

PAIRS = 0.28
"""Share of examples that are about two recordings."""

LOUD = 1.0
"""Logit that something reaches in the windows which conversations and pairs are drawn from more often: little
can be asked about silence after silence."""

RICH = 0.3
"""Share of examples whose window is the loudest of two or three: four species and more are rare otherwise."""

RICH_PAIRS = 0.7
"""The same for pairs, in which both windows are then such."""

UNMARKED = (0,) * MARK_COLUMNS

CLASS = -1
"""Value of the token column where a row is a class of the encoder, not text."""

ROW_COLUMNS = 1 + MARK_COLUMNS
"""Token id (or CLASS), then the mark of a token of text, or what a class is."""

IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Examples padded on the right (the model is causal, so padding is never seen by what counts).

    Attributes
    ----------
    rows : int64 [batch, length, 6]
        Columns as in ``ROW_COLUMNS``.
    features : float32 [batch, length, 13]
        Those of the classes; zero for text.
    labels : int64 [batch, length]
        The token that should follow, or -100.
    weights : float32 [batch, length]
        Weight of each label in the loss: one over the square root of the answer's length.
    """

    rows: torch.Tensor
    features: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))


Encoded = tuple[np.ndarray, np.ndarray, list[int]]
"""Rows, features and the token ids of the answer."""


def encode_example(example: Example, processor: NatureLMProcessor) -> Encoded:
    """Return an example as rows, features and the ids of its answer."""
    context = example.context
    pieces = processor.pieces(example.texts, context.marks, recordings=len(context.lengths))
    tokenizer = processor.tokenizer
    answer = [*tokenizer.encode(example.answer, add_special_tokens=False), int(tokenizer.eos_token_id)]
    content: SpeciesTokens = context.content
    rows: list[tuple[int, ...]] = []
    places: list[int] = []
    described = iter(content.classes.tolist())
    for position, piece in enumerate(pieces):
        for token, mark in zip(piece.ids, piece.marks, strict=True):
            rows.append((token, *(mark.content if mark else UNMARKED)))
        if position < len(context.lengths):
            for _ in range(context.lengths[position]):
                places.append(len(rows))
                rows.append((CLASS, *next(described), *UNMARKED[CLASS_COLUMNS:]))
    rows += [(token, *UNMARKED) for token in answer[:-1]]
    features = np.zeros((len(rows), len(FEATURES)), dtype=np.float32)
    features[places] = content.features
    return np.array(rows, dtype=np.int64), features, answer


def collate(examples: Sequence[Encoded]) -> Batch:
    """Pad encoded examples into a batch."""
    length = max(len(rows) for rows, _, _ in examples)
    size = len(examples)
    rows = np.zeros((size, length, ROW_COLUMNS), dtype=np.int64)
    features = np.zeros((size, length, len(FEATURES)), dtype=np.float32)
    labels = np.full((size, length), IGNORED, dtype=np.int64)
    weights = np.zeros((size, length), dtype=np.float32)
    for place, (example_rows, example_features, answer) in enumerate(examples):
        end = len(example_rows)
        rows[place, :end] = example_rows
        features[place, :end] = example_features
        labels[place, end - len(answer) : end] = answer
        weights[place, end - len(answer) : end] = len(answer) ** -0.5
    return Batch(*(torch.from_numpy(array) for array in (rows, features, labels, weights)))


class ExampleMaker:
    """Makes examples of every sort from chunks of windows.

    Parameters
    ----------
    tasks : TaskMaker
    """

    def __init__(self, tasks: TaskMaker) -> None:
        self.tasks = tasks
        self.conversations = ConversationMaker(tasks)
        self.pairs = PairMaker(tasks)

    def examples(self, windows: np.ndarray, count: int, rng: np.random.Generator) -> Iterator[Example]:
        """Yield a number of examples about windows [count, segments, classes], in random order."""
        loud = [window for window in windows if window.max() > LOUD]
        for _ in range(count):
            sort = rng.random()
            among = loud if sort < CONVERSATIONS + PAIRS and loud and rng.random() < 0.6 else windows
            is_pair = CONVERSATIONS <= sort < CONVERSATIONS + PAIRS
            is_rich = rng.random() < (RICH_PAIRS if is_pair else RICH)
            window = drawn(among, rng, is_rich)
            if is_pair:
                yield self.pairs.example(window, drawn(windows, rng, is_rich), rng)
            elif sort < CONVERSATIONS:
                yield self.conversations.example(window, rng)
            else:
                yield self.tasks.example(window, rng)


def drawn(windows: Sequence[Logits] | Logits, rng: np.random.Generator, is_rich: bool) -> Logits:
    """Draw a window, or, if it is to be rich, the loudest of two or three."""
    count = int(rng.integers(2, 4)) if is_rich else 1
    places = rng.integers(len(windows), size=count)
    return np.maximum.reduce([windows[place] for place in places])


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

    chunk_windows = 512
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
        self.maker = ExampleMaker(tasks)
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
        windows = self.evidence.windows(self.chunk_windows, rng)
        count = self.chunk_windows * self.examples_per_window
        count -= count % self.batch_size  # what did not fill a batch would always be the longest
        examples = self.maker.examples(windows, count, rng)
        encoded = [encode_example(example, self.processor) for example in examples]
        encoded.sort(key=lambda item: len(item[0]))
        batches = [
            collate(encoded[first : first + self.batch_size])
            for first in range(0, len(encoded), self.batch_size)
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
