"""What tests of the models share: the table, a tokenizer, and windows of logits written by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from NatureLM.models.concepts import ConceptFinder
from NatureLM.models.loading import BUNDLED_FOLDER
from NatureLM.models.species import SpeciesTable

Logits = npt.NDArray[np.float32]
MakeWindow = Callable[..., Logits]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return PreTrainedTokenizerFast.from_pretrained(BUNDLED_FOLDER)


@pytest.fixture(scope="session")
def table() -> SpeciesTable:
    return SpeciesTable.load()


@pytest.fixture(scope="session")
def finder(table: SpeciesTable) -> ConceptFinder:
    return ConceptFinder(table)


@pytest.fixture(scope="session")
def make_window(table: SpeciesTable) -> MakeWindow:
    """Logits of four segments: -9 but for the named classes, in the second and third."""

    def make(**peaks: float) -> Logits:
        logits = np.full((4, len(table)), -9.0, dtype=np.float32)
        for name, peak in peaks.items():
            species = table.find(name.replace("_", " "))
            assert species is not None, name
            logits[1:3, species.class_index] = peak
        return logits

    return make
