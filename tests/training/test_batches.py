"""Batches hold what the model's own prompts hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from NatureLM.models.adapters.species_tokens import FEATURES
from NatureLM.models.answering import AnswerSettings
from NatureLM.models.concepts import ConceptType
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.species import SpeciesTable
from NatureLM.models.species_evidence import State
from NatureLM.training.answers import Request
from NatureLM.training.batches import (
    CLASS,
    CONVERSATIONS,
    IGNORED,
    PAIRS,
    ROW_COLUMNS,
    ExampleMaker,
    ExampleStream,
    collate,
    drawn,
    encode_example,
)
from NatureLM.training.bundled import species_adapter
from NatureLM.training.conversations import SECOND_QUESTION
from NatureLM.training.evidence import BackgroundBank, EvidenceMaker
from NatureLM.training.tasks import Example, Logits, TaskMaker
from NatureLM.training.trainer import embed_batch

Window = Callable[[dict[str, float]], Logits]

DEFAULTS = AnswerSettings()
HEARD = {"Great Tit": 3.0, "Spring Peeper": 2.0, "Mallard": 1.0, "engine noise": 1.5}


@pytest.fixture(scope="module")
def model_tasks(model: NatureLM, table: SpeciesTable) -> TaskMaker:
    return TaskMaker(species_adapter(model), table)


@pytest.fixture(scope="module")
def evidence(table: SpeciesTable) -> EvidenceMaker:
    """A maker whose encoder has embeddings of sixteen numbers."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(len(table), 16)).astype(np.float32)
    bank = BackgroundBank(np.abs(rng.normal(size=(2, 4, 16))).astype(np.float32))
    sounds = np.array([species.class_index for species in table if not species.is_animal])
    return EvidenceMaker(weight, np.full(len(table), -9, np.float32), bank, sounds, sounds)


@pytest.fixture(scope="module")
def examples(model_tasks: TaskMaker, window: Window) -> list[Example]:
    scenes = np.stack([window(HEARD), window({"Tawny Owl": 2.0}), window({})])
    return list(ExampleMaker(model_tasks).examples(scenes, 200, np.random.default_rng(1)))


def is_there_a_great_tit(tasks: TaskMaker, logits: Logits) -> Example:
    great_tit = tasks.table.find("great tit")
    assert great_tit is not None
    request = Request("is_species", classes=frozenset({great_tit.class_index}), heard=True)
    return tasks.finished("is_species", ["is there a great tit?"], request, [logits], DEFAULTS)


def test_rows_of_an_example(model_tasks: TaskMaker, model: NatureLM, window: Window) -> None:
    example = is_there_a_great_tit(model_tasks, window({"Great Tit": 3.0, "engine noise": 1.5}))
    rows, features, answer = encode_example(example, model.processor)
    tokenizer = model.processor.tokenizer
    assert rows.shape == (len(rows), ROW_COLUMNS)
    assert tokenizer.decode(answer) == "Yes<eos>"

    text = rows[rows[:, 0] != CLASS]
    assert tokenizer.decode(text[:, 0].tolist()) == (
        "<bos><|user|><Audio></Audio> is there a <name>?<|assistant|>" + tokenizer.decode(answer[:-1])
    )
    marked = text[text[:, 1] != 0]
    name = tokenizer.convert_tokens_to_ids("<name>")
    # A common name; in the first recording it is focal and has the first slot; there is no second.
    assert marked.tolist() == [[name, ConceptType.COMMON, State.FOCAL, 1, 0, 0]]
    assert not text[text[:, 0] != name][:, 1:].any()

    # Great Tit is a bird (kind 0) and strongest, engine noise a sound (kind 4); three tokens come before.
    assert rows[3:5].tolist() == [[CLASS, 0, 0, State.FOCAL, 0, 0], [CLASS, 1, 4, State.SOUND, 0, 0]]
    assert (rows[:, 0] == CLASS).sum() == 2
    sigmoid = 1 / (1 + np.exp(-3.0))
    tit = [3 / 8, sigmoid, 0.5, 1, 1, 1, 1, 0, 0, 1, 0, 0, 0]
    np.testing.assert_allclose(features[3], tit, atol=1e-6)
    assert features[4, :3] == pytest.approx([1.5 / 8, 1 / (1 + np.exp(-1.5)), 0.5])
    assert not np.delete(features, [3, 4], axis=0).any()


def test_rows_of_two_recordings(model_tasks: TaskMaker, model: NatureLM, window: Window) -> None:
    windows = [window({"Great Tit": 3.0}), window({"Mallard": 2.0, "Great Tit": 1.0})]
    example = model_tasks.finished("two_more", ["which holds more?"], Request("two_more"), windows, DEFAULTS)
    rows, _, _ = encode_example(example, model.processor)
    tokenizer = model.processor.tokenizer
    classes = rows[rows[:, 0] == CLASS]
    assert classes[:, 1].tolist() == [0, 16, 17]
    assert classes[:, 3].tolist() == [State.FOCAL, State.FOCAL, State.PRESENT]
    written = [tokenizer.decode([token]) if token != CLASS else "*" for token in rows[:, 0].tolist()]
    assert "".join(written).startswith("<bos><|user|><Audio>*</Audio><Audio>**</Audio> which holds more?")


def test_rows_of_silence_are_text_alone(model_tasks: TaskMaker, model: NatureLM, window: Window) -> None:
    example = model_tasks.finished("is_animal", ["any?"], Request("is_animal"), [window({})], DEFAULTS)
    rows, features, answer = encode_example(example, model.processor)
    assert (rows[:, 0] >= 0).all()
    assert not features.any()
    assert model.processor.tokenizer.decode(answer) == "No<eos>"


def test_padding_labels_and_weights() -> None:
    def encoded(length: int, answer: list[int]) -> tuple[np.ndarray, np.ndarray, list[int]]:
        rows = np.full((length, ROW_COLUMNS), length, dtype=np.int64)
        return rows, np.full((length, len(FEATURES)), 0.5, dtype=np.float32), answer

    batch = collate([encoded(4, [7, 8]), encoded(6, [9, 10, 11, 12]), encoded(1, [13])])
    assert batch.rows.shape == (3, 6, ROW_COLUMNS)
    assert batch.rows[:, :, 0].tolist() == [[4] * 4 + [0] * 2, [6] * 6, [1] + [0] * 5]
    assert batch.features.sum(dim=(1, 2)).tolist() == [0.5 * len(FEATURES) * length for length in (4, 6, 1)]
    assert batch.labels.tolist() == [
        [IGNORED, IGNORED, 7, 8, IGNORED, IGNORED],
        [IGNORED, IGNORED, 9, 10, 11, 12],
        [13, *[IGNORED] * 5],
    ]
    weights = [[0, 0, 2**-0.5, 2**-0.5, 0, 0], [0, 0, 0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0, 0, 0]]
    torch.testing.assert_close(batch.weights, torch.tensor(weights))
    assert batch.rows.dtype == batch.labels.dtype == torch.int64
    assert batch.features.dtype == batch.weights.dtype == torch.float32


def test_nothing_is_no_batch() -> None:
    with pytest.raises(ValueError, match="empty"):
        collate([])


def test_labels_are_the_answer_one_step_ahead(examples: list[Example], model: NatureLM) -> None:
    tokenizer = model.processor.tokenizer
    for example in examples[:60]:
        batch = collate([encode_example(example, model.processor)])
        counted = batch.labels[0] != IGNORED
        labels = batch.labels[0][counted].tolist()
        ids = tokenizer.encode(example.answer, add_special_tokens=False)
        assert labels == [*ids, tokenizer.eos_token_id]
        first = int(counted.nonzero()[0])
        assert batch.rows[0, first, 0] == tokenizer.convert_tokens_to_ids("<|assistant|>")
        assert batch.rows[0, first + 1 :, 0].tolist() == labels[:-1]


def test_batches_embed_prompts_as_answering_does(examples: list[Example], model: NatureLM) -> None:
    assert {len(example.texts) for example in examples} == {1, 3, 5, 7}
    assert {len(example.context.lengths) for example in examples} == {1, 2}
    for example in examples:
        rows, _, answer = encoded = encode_example(example, model.processor)
        with torch.inference_mode():
            trained = embed_batch(model, collate([encoded]))[0]
            asked, mask = model.embed_prompts([example.texts], [example.context])
        assert mask.all()
        prompt_length = len(rows) - (len(answer) - 1)
        assert asked.shape[1] == prompt_length
        torch.testing.assert_close(trained[:prompt_length], asked[0], atol=1e-6, rtol=0)


def test_an_example_is_embedded_alike_in_every_batch(examples: list[Example], model: NatureLM) -> None:
    encoded = [encode_example(example, model.processor) for example in examples[:24]]
    with torch.inference_mode():
        together = embed_batch(model, collate(encoded))
        for place, one in enumerate(encoded):
            alone = embed_batch(model, collate([one]))[0]
            torch.testing.assert_close(together[place, : len(alone)], alone, atol=1e-6, rtol=0)


def test_sorts_of_examples_come_in_their_shares(model_tasks: TaskMaker, window: Window) -> None:
    scenes = np.stack([window(HEARD), window({})])
    made = list(ExampleMaker(model_tasks).examples(scenes, 400, np.random.default_rng(2)))
    assert sum(len(example.texts) > 1 for example in made) / 400 == pytest.approx(
        CONVERSATIONS + SECOND_QUESTION * PAIRS, abs=0.06
    )
    assert sum(len(example.windows) == 2 for example in made) / 400 == pytest.approx(PAIRS, abs=0.05)
    assert len({example.task for example in made}) > 60


def test_chunks_do_not_depend_on_what_came_before(
    model_tasks: TaskMaker, model: NatureLM, evidence: EvidenceMaker
) -> None:
    def stream() -> ExampleStream:
        made = ExampleStream(evidence, model_tasks, model.processor, batch_size=16, seed=7)
        made.chunk_windows = 16
        return made

    first = stream()
    first.chunk(4)
    chunk, again, other = first.chunk(5), stream().chunk(5), first.chunk(6)
    assert len(chunk) == 16 * ExampleStream.examples_per_window // 16
    assert all(batch.rows.shape[0] == 16 for batch in chunk)
    for one, same in zip(chunk, again, strict=True):
        assert torch.equal(one.rows, same.rows)
        assert torch.equal(one.features, same.features)
        assert torch.equal(one.labels, same.labels)
    assert [batch.rows.shape for batch in chunk] != [batch.rows.shape for batch in other]
    assert ExampleStream.batches_per_chunk(64) == 32


def test_the_longest_examples_are_among_the_batches(
    model_tasks: TaskMaker, model: NatureLM, evidence: EvidenceMaker
) -> None:
    stream = ExampleStream(evidence, model_tasks, model.processor, batch_size=24, seed=7)
    stream.chunk_windows = 16
    batches = stream.chunk(0)
    assert [len(batch.rows) for batch in batches] == [24, 24]

    rng = np.random.default_rng((7, 0))
    examples = stream.maker.examples(evidence.windows(16, rng), 48, rng)
    lengths = sorted(len(encode_example(example, model.processor)[0]) for example in examples)
    assert sorted(batch.rows.shape[1] for batch in batches) == [lengths[23], lengths[47]]


def test_a_stream_takes_every_so_many_chunks(
    model_tasks: TaskMaker, model: NatureLM, evidence: EvidenceMaker
) -> None:
    stream = ExampleStream(
        evidence, model_tasks, model.processor, batch_size=8, seed=7, first_chunk=1, chunk_step=2
    )
    stream.chunk_windows = 2
    batches = iter(stream)
    for number in (1, 3):
        (expected,) = stream.chunk(number)
        assert torch.equal(next(batches).rows, expected.rows)


def test_rich_windows_are_the_loudest_of_two_or_three() -> None:
    rng = np.random.default_rng(1)
    windows = np.eye(5, dtype=np.float32)[:, None, :]
    one, more = ([drawn(windows, rng, is_rich) for _ in range(60)] for is_rich in (False, True))
    assert {int(window.sum()) for window in one} == {1}
    assert {int(window.sum()) for window in more} == {1, 2, 3}  # the same one may be drawn again
    assert {window.shape for window in one + more} == {(1, 5)}
