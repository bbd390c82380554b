"""The bundled model's tokenizer: byte-level BPE trained on names, ranks, questions and answers."""

from __future__ import annotations

from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from NatureLM.models.species import SpeciesTable
from NatureLM.models.vocabulary import BOS, EOS, PAD, SPECIAL_TOKENS
from NatureLM.training.tasks import NONE, UNKNOWN, caption, load_wordings

WORDING_REPEATS = 4
"""How often each wording is counted beside one name: questions are read at every step of training."""


def corpus(table: SpeciesTable) -> Iterator[str]:
    """Yield the texts that the vocabulary is made from."""
    for species in table.species:
        yield species.common_name
        yield species.common_name.lower()
        yield species.kind
        if species.is_animal:
            yield species.scientific_name
            yield species.scientific_name.lower()
            yield species.family
            yield species.order
    for wordings in load_wordings().values():
        for wording in wordings["train"] * WORDING_REPEATS:
            yield " " + wording.lower()
    answers = [NONE, UNKNOWN, "Yes", "No", caption([], []), caption([" a", " b", " c"], [" d", " e"])]
    yield from answers * 50
    for number in range(20):
        yield str(number)


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
