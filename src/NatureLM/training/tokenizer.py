"""The bundled model's tokenizer: byte-level BPE trained on names, ranks, questions and answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from NatureLM.models.concepts import ConceptFinder
from NatureLM.models.species import SpeciesTable
from NatureLM.models.vocabulary import BOS, EOS, PAD, SPECIAL_TOKENS
from NatureLM.training.answers import answer_forms
from NatureLM.training.wordings import expand, load_things, load_wordings

EXPANSIONS = 12
"""How many texts of each pattern are read."""


def corpus(table: SpeciesTable) -> Iterator[str]:
    """Yield the texts that the vocabulary is made from: questions, answers, and names that are not known."""
    rng = np.random.default_rng(0)
    for splits in load_wordings().values():
        for pattern in splits["train"]:
            for _ in range(EXPANSIONS if "[" in pattern else 2):
                yield " " + expand(pattern, rng)
    for names in load_things("train").values():
        for name in names:
            yield " " + name.lower()
    # Groups, and the words of names: whatever is asked in vain is spelled with them.
    finder = ConceptFinder(table)
    yield from (f" {noun}" for noun in finder.groups)
    for species in table:
        yield f" {species.scientific_name.lower()}"
    yield from answer_forms() * 50


def train_tokenizer(table: SpeciesTable, vocabulary_size: int) -> PreTrainedTokenizerFast:
    """Train the tokenizer.

    Parameters
    ----------
    table : SpeciesTable
        The names that it must write well.
    vocabulary_size : int
        Number of tokens, special ones included.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(table), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[token for token in SPECIAL_TOKENS if token not in (BOS, EOS, PAD)],
        clean_up_tokenization_spaces=False,
    )
