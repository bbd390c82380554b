"""A small tokenizer, the adapter and an untrained model, made once, and windows made by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerBase

from NatureLM.models.adapters.species_tokens import SpeciesTokensAdapter
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.processing import NatureLMProcessor
from NatureLM.models.species import SpeciesTable
from NatureLM.training.answers import answer_forms
from NatureLM.training.bundled import model_config, species_adapter
from NatureLM.training.settings import BundledTrainingConfig
from NatureLM.training.tasks import Logits, TaskMaker
from NatureLM.training.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def table() -> SpeciesTable:
    return SpeciesTable.load()


@pytest.fixture(scope="session")
def tokenizer(table: SpeciesTable) -> PreTrainedTokenizerBase:
    return train_tokenizer(table, 4096)


@pytest.fixture(scope="session")
def adapter(tokenizer: PreTrainedTokenizerBase, table: SpeciesTable) -> SpeciesTokensAdapter:
    adapter = SpeciesTokensAdapter(32, answer_forms())
    adapter.attach(tokenizer, table)
    return adapter


@pytest.fixture(scope="session")
def model(tokenizer: PreTrainedTokenizerBase, table: SpeciesTable) -> NatureLM:
    """A model as small as can be, whose every parameter is random, padding rows of embeddings aside."""
    settings = BundledTrainingConfig(hidden_size=32, layers=1, heads=2, feed_forward_size=32)
    config = model_config(settings, tokenizer)
    torch.manual_seed(0)
    model = NatureLM(config)
    model.attach_processor(NatureLMProcessor(tokenizer, config))
    species_adapter(model).attach(tokenizer, table)
    return model.eval()


@pytest.fixture(scope="session")
def tasks(adapter: SpeciesTokensAdapter, table: SpeciesTable) -> TaskMaker:
    return TaskMaker(adapter, table)


@pytest.fixture(scope="session")
def plain_tasks(adapter: SpeciesTokensAdapter, table: SpeciesTable) -> TaskMaker:
    """Questions word for word as the trained patterns have them."""
    return TaskMaker(adapter, table, noise=False)


@pytest.fixture(scope="session")
def window(table: SpeciesTable) -> Callable[[dict[str, float]], Logits]:
    """Make a window of four segments in whose first two the named classes have the given logits."""

    def make(heard: dict[str, float]) -> Logits:
        logits = np.full((4, len(table)), -9.0, dtype=np.float32)
        for name, logit in heard.items():
            species = table.find(name)
            assert species is not None, name
            logits[:2, species.class_index] = logit
        return logits

    return make
