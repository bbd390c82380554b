"""NatureLM: an audio encoder, an adapter and a Llama that reads the adapter's tokens in its prompt."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationMixin, LlamaForCausalLM, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from NatureLM.errors import ConfigError
from NatureLM.models.adapters import build_adapter
from NatureLM.models.adapters.base import Adapter, PromptContext, Questions
from NatureLM.models.answering import AnswerSettings, Candidates, ModelAnswer, Precision, Turn
from NatureLM.models.configuration import NatureLMConfig
from NatureLM.models.devices import exact_convolutions
from NatureLM.models.encoders.base import AudioEncoder
from NatureLM.models.encoders.registry import build_encoder
from NatureLM.models.generating import generate_answers
from NatureLM.models.label_answers import LabelAnswers
from NatureLM.models.label_rules import LabelChoice
from NatureLM.models.lora import add_lora, fold_lora, room_to_merge, set_lora_strength, unmerge_lora
from NatureLM.models.precision import check_bfloat16, quantize_to_int8, round_products
from NatureLM.models.processing import NatureLMProcessor
from NatureLM.models.watching import Watch

WindowFeatures = Any
"""What the encoder says of one window; a tensor whose shape is the encoder's own."""


class NatureLM(PreTrainedModel, GenerationMixin):
    """Answers questions in English about windows of sound.

    Parameters
    ----------
    config : NatureLMConfig

    Examples
    --------
    >>> from NatureLM.models import NatureLM
    >>> model = NatureLM.from_pretrained("bundled").eval()
    """

    config_class = NatureLMConfig
    base_model_prefix = "naturelm"
    main_input_name = "input_ids"
    _supports_sdpa = True
    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "language_model.lm_head.weight": "language_model.model.embed_tokens.weight"
    }

    processor: NatureLMProcessor
    precision: Precision | None = None
    """What products are computed in, where that is not as the model was loaded."""
    fixed_alpha: float | None = None
    """Strength that LoRA was given for good with that precision; None before."""
    requested_as: str
    """The name or path that the model was loaded by (a fallback's own, where one answers)."""
    llama_path: str | None = None
    """The Llama that was named for it, if any was."""
    adapter: Adapter
    audio_encoder: AudioEncoder

    def __init__(self, config: NatureLMConfig) -> None:
        super().__init__(config)
        self.audio_encoder = build_encoder(config)
        self.adapter = build_adapter(config)
        self.language_model = LlamaForCausalLM(config.text_config)
        self.label_answers = LabelAnswers(self)
        self._keep_in_fp32_modules_strict = set(config.float32_parts)
        self.post_init()
        if config.lora:
            # Now, so that transformers' way of filling new layers leaves LoRA's own (no change at first).
            add_lora(self.language_model, config.lora)

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | os.PathLike[str] = "bundled", *args: Any, **kwargs: Any
    ) -> NatureLM:
        """Load a model: ``"bundled"``, a hub id, a folder or a training checkpoint (``.pth``).

        Further arguments are those of transformers' ``from_pretrained`` (``device_map``,
        ``quantization_config``, ...). ``revision``, ``token`` and ``cache_dir`` hold for the hub;
        ``llama_path`` names the Llama that a published checkpoint stands on, where it is not the one that its
        config names. The language model is in float32 unless ``dtype`` says otherwise (``"auto"``: as
        stored), or the published one's ``device_map`` puts it on CUDA (bfloat16) or MPS (float16);
        NatureLM-audio's encoder and adapter stay in float32.

        Raises
        ------
        ModelUnavailableError
            If the model, or a file it needs, cannot be had, or it does not fit in memory.
        CheckpointError
            If the files do not fit the model.
        """
        from NatureLM.models.loading import damage_named, finish_loading, open_model, quiet_transformers

        llama_path = kwargs.get("llama_path")
        with quiet_transformers():
            checkpoint = open_model(name_or_path, kwargs)
            kwargs["output_loading_info"] = True
            with damage_named(checkpoint.name):
                model, loading_info = super().from_pretrained(
                    None, *args, config=checkpoint.config, state_dict=checkpoint.tensors, **kwargs
                )
        model.requested_as = os.fspath(name_or_path)
        model.llama_path = None if llama_path is None else os.fspath(llama_path)
        return finish_loading(model, checkpoint, loading_info)

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Write config, weights (without the encoder's own), tokenizer and licence notices."""
        from NatureLM.models.licence_files import write_notice
        from NatureLM.models.loading import quiet_transformers

        if self.precision is not None:
            raise ConfigError(
                f"A model in {self.precision} cannot be saved; save it before, or load it again."
            )
        with quiet_transformers():
            super().save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)
        write_notice(Path(save_directory), self.config)

    def to_precision(self, precision: Precision, merging_alpha: float = 1.0) -> NatureLM:
        """Have a CPU compute products in bfloat16 or in 8-bit integers: faster, but some answers change.

        Parameters
        ----------
        precision : {"bfloat16", "int8"}
            ``"bfloat16"`` holds for all linear layers; float16 or bfloat16 weights become float32 elsewhere.
            ``"int8"`` holds for the language model's.
        merging_alpha : float
            Strength of LoRA from now on.

        Raises
        ------
        ConfigError
            If there is no such precision, the model has one already, is not on a CPU or not whole in memory,
            or the CPU gains nothing by it; for int8, if the language model is not in float32. Nothing has
            changed then.
        """
        if precision not in get_args(Precision):
            raise ConfigError(f"precision {precision!r}: expected {' or '.join(get_args(Precision))}.")
        if self.precision is not None:
            raise ConfigError(f"This model is in {self.precision} already; load it again for {precision}.")
        if any(parameter.device.type == "meta" for parameter in self.parameters()):
            raise ConfigError(
                f"precision={precision} is for models that are in memory whole; a device map has left parts "
                "of this one on disk."
            )
        if precision == "bfloat16":
            check_bfloat16(self.device)
            fold_lora(self.language_model, merging_alpha)
            round_products(self)
        else:
            quantize_to_int8(self.language_model, merging_alpha)
        self.precision, self.fixed_alpha = precision, merging_alpha
        return self

    def train(self, mode: bool = True) -> NatureLM:
        """Train, or answer; LoRA learns apart from the weights that it tunes."""
        if mode and self.config.lora:
            unmerge_lora(self.language_model)
        return super().train(mode)

    def attach_processor(self, processor: NatureLMProcessor) -> None:
        """Give the model the processor that turns queries into its prompts."""
        self.processor = processor

    def get_input_embeddings(self) -> torch.nn.Embedding:
        """Return the language model's token embeddings."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: torch.nn.Module) -> None:
        """Replace the language model's token embeddings."""
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> torch.nn.Module:
        """Return the language model's output layer."""
        return self.language_model.get_output_embeddings()

    @torch.inference_mode()
    def encode_audio(
        self, waveforms: Sequence[npt.NDArray[np.float32]], *, whole: bool = False
    ) -> list[WindowFeatures]:
        """Encode windows of sound, once for all questions about them.

        Parameters
        ----------
        waveforms : sequence of float32 [samples]
            Mono windows at ``config.sample_rate``, each at most ``config.max_window_seconds`` long.
        whole : bool
            Whether the published model hears shorter windows as they are, instead of padded with zeros.

        Returns
        -------
        list
            One entry a window, to be passed to :meth:`answer`.
        """
        with exact_convolutions(self.device):
            return self.audio_encoder.encode(waveforms, whole=whole)

    def get_audio_features(self, contexts: Sequence[PromptContext]) -> torch.Tensor:
        """Return the tokens of windows one after another, [sum of lengths, hidden]."""
        embed_tokens = self.get_input_embeddings()
        return self.adapter(contexts, embed_tokens).to(embed_tokens.weight.dtype)

    def embed_prompts(
        self, conversations: Sequence[Sequence[str]], contexts: Sequence[PromptContext]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put prompts and the tokens of their windows together, padded on the left.

        Padding goes to the left so that every prompt ends where its answer begins: an answer then does
        not depend on its batch.

        Parameters
        ----------
        conversations : sequence of sequences of str
            Question, answer, question, ...: each ends in the question to be answered.
        contexts : sequence of PromptContext
            For each conversation, what the adapter says of its windows.

        Returns
        -------
        inputs_embeds : [batch, length, hidden]
        attention_mask : int64 [batch, length]
        """
        embed_tokens = self.get_input_embeddings()
        device = embed_tokens.weight.device
        lengths = [length for context in contexts for length in context.lengths]
        tokens = self.get_audio_features(contexts) if lengths else embed_tokens.weight[:0]
        spans = iter(torch.split(tokens, lengths))
        unmarked = (0,) * self.adapter.mark_columns
        rows: list[torch.Tensor] = []
        for texts, context in zip(conversations, contexts, strict=True):
            recordings = len(context.lengths)
            pieces = self.processor.pieces(texts, context.marks, recordings)
            parts: list[torch.Tensor] = []
            for position, piece in enumerate(pieces):
                text = embed_tokens(torch.tensor(piece.ids, dtype=torch.long, device=device))
                if any(mark is not None for mark in piece.marks):
                    marks = [mark.content if mark else unmarked for mark in piece.marks]
                    text = self.adapter.mark_text(text, torch.tensor(marks, device=device), embed_tokens)
                parts.append(text)
                if position < recordings:
                    parts.append(next(spans))
            rows.append(torch.cat(parts))
        sizes = torch.tensor([len(row) for row in rows], device=device)
        embeds = pad_sequence(rows, batch_first=True, padding_side="left")
        places = torch.arange(embeds.shape[1], device=device)
        mask = (places[None, :] >= embeds.shape[1] - sizes[:, None]).long()
        return embeds, mask

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Run the language model over token ids or over what :meth:`embed_prompts` returned."""
        return self.language_model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            labels=labels,
            **kwargs,
        )

    def check_query(
        self,
        query: str,
        recordings: int = 1,
        settings: AnswerSettings | None = None,
        candidates: Candidates | None = None,
    ) -> None:
        """Refuse a query that cannot be asked, before any recording is read.

        Raises
        ------
        ConfigError
            If it is empty, names another number of recordings, is longer than half of what the model can
            read, or its answer cannot be restricted to the candidates.
        """
        if not query.strip():
            raise ConfigError("A query is empty; ask something, for example 'Caption the audio'.")
        pieces = self.processor.pieces(self.processor.normalise(query), recordings=recordings)
        length = sum(len(piece.ids) for piece in pieces)
        longest = self.config.text_config.max_position_embeddings // 2
        if length > longest:
            raise ConfigError(
                f"The query is {length} tokens long, but {self.config.name} reads at most {longest}; "
                "shorten it."
            )
        if candidates is not None and not self.adapter.names_classes:
            self.label_answers.way(query, candidates, settings or AnswerSettings())

    def unknown_labels(self, labels: Sequence[str]) -> dict[str, str]:
        """Return which labels of a list of candidates the model does not know, each with the nearest name.

        A model that spells names knows all.
        """
        return self.adapter.unknown_labels(labels)

    @torch.inference_mode()
    def read_questions(
        self,
        features: Sequence[WindowFeatures | Sequence[WindowFeatures]],
        queries: Sequence[str],
        settings: AnswerSettings,
        histories: Sequence[Sequence[Turn]] | None = None,
        candidates: Sequence[Candidates | Sequence[Candidates]] | None = None,
    ) -> Questions:
        """Put the prompts of questions together, and set the strength of LoRA that the settings ask for.

        Parameters and errors are those of :meth:`answer`.
        """
        alpha = 1.0 if settings.merging_alpha is None else settings.merging_alpha
        if self.fixed_alpha not in (None, alpha):
            raise ConfigError(
                f"In {self.precision} the merging alpha stays at {self.fixed_alpha:g}; {alpha:g} needs the "
                "model loaded anew."
            )
        if self.config.lora and self.fixed_alpha is None:
            set_lora_strength(self.language_model, alpha, merge=room_to_merge(self.language_model))
        windows = [list(item) if isinstance(item, (list, tuple)) else [item] for item in features]
        lists = [[one] if isinstance(one, Candidates) else list(one) for one in candidates or ()]
        conversations = [
            self._conversation(query, turns)
            for query, turns in zip(queries, histories or [()] * len(queries), strict=True)
        ]
        contexts = [
            self.adapter.context(heard, texts, settings, named)
            for heard, texts, named in zip(windows, conversations, lists or [[]] * len(windows), strict=True)
        ]
        embeds, mask = self.embed_prompts(conversations, contexts)
        longest = self.config.text_config.max_position_embeddings
        if embeds.shape[1] + settings.max_new_tokens > longest:
            raise ConfigError(
                f"A prompt of {embeds.shape[1]} tokens and an answer of up to {settings.max_new_tokens} "
                f"exceed the {longest} that {self.config.name} can read; shorten the query or lower "
                "--max-new-tokens."
            )
        return Questions(contexts, embeds, mask)

    @torch.inference_mode()
    def answer(
        self,
        features: Sequence[WindowFeatures | Sequence[WindowFeatures]],
        queries: Sequence[str],
        settings: AnswerSettings | None = None,
        histories: Sequence[Sequence[Turn]] | None = None,
        candidates: Sequence[Candidates | Sequence[Candidates]] | None = None,
        choices: Sequence[LabelChoice | None] | None = None,
        watch: Watch | None = None,
    ) -> list[ModelAnswer]:
        """Answer one question about each window, as one batch.

        Parameters
        ----------
        features : sequence
            Windows as :meth:`encode_audio` returned them; a list or tuple of them is one question's
            recordings, in order.
        queries : sequence of str
            As many as windows.
        settings : AnswerSettings, optional
            The defaults, unless given.
        histories : sequence of sequences of Turn, optional
            What was asked about each window before.
        candidates : sequence, optional
            What may be named of each window, given as ``features`` are. Its labels have passed
            :meth:`unknown_labels`.
        choices : sequence of LabelChoice or None, optional
            The labels that each answer is held to; None leaves one free. For models that spell names, and
            not together with candidates.
        watch : callable, optional
            Told after each token what the answers are so far, in the order of the windows; they end there if
            it returns False. For one beam, and answers that are written token by token.

        Returns
        -------
        list of ModelAnswer
            In the order of the windows.

        Raises
        ------
        ConfigError
            If a query names another number of recordings than it has, a prompt is too long for the model, or
            an answer cannot be restricted or watched as asked.
        """
        settings = settings or AnswerSettings()
        if watch is not None and settings.num_beams > 1:
            raise ConfigError(
                f"Answers of {settings.num_beams} beams cannot be watched as they come; set num_beams to 1."
            )
        if choices is not None and self.adapter.names_classes:
            raise ConfigError(
                f"choices: {self.config.name} does not spell names, so labels cannot hold its answers; give "
                "candidates."
            )
        if candidates is not None and not self.adapter.names_classes:
            if choices is not None:
                raise ConfigError("choices and candidates exclude each other; give one of them.")
            return self.label_answers.answer(features, queries, settings, histories, candidates)
        questions = self.read_questions(features, queries, settings, histories, candidates)
        return generate_answers(self, questions, settings, choices, watch)

    def _conversation(self, query: str, turns: Sequence[Turn]) -> list[str]:
        """Return the texts of a conversation that ends in a question, as the model reads them."""
        texts = [text for turn in turns for text in (self.processor.normalise(turn.query), turn.answer)]
        return [*texts, self.processor.normalise(query)]
