"""Answers are generated: prompts in, words with their confidence out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

from NatureLM.models.adapters.base import PromptContext, Questions
from NatureLM.models.answering import NOTHING_HEARD, AnswerSettings, ModelAnswer
from NatureLM.models.chosen_scores import ChosenScores
from NatureLM.models.label_detections import label_detections
from NatureLM.models.label_rules import SEPARATOR, LabelChoice, LabelRules
from NatureLM.models.prompt_cache import CACHE_ARGUMENT, read_prompts
from NatureLM.models.sampling import SeededSampling
from NatureLM.models.watching import Watch, Watching

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

    from NatureLM.models.naturelm import NatureLM


def generate_answers(
    model: NatureLM,
    questions: Questions,
    settings: AnswerSettings,
    choices: Sequence[LabelChoice | None] | None = None,
    watch: Watch | None = None,
) -> list[ModelAnswer]:
    """Return the answers to questions that were put together.

    Parameters
    ----------
    model : NatureLM
    questions : Questions
    settings : AnswerSettings
    choices : sequence of LabelChoice or None, optional
        The labels that each answer is held to; None leaves one free.
    watch : callable, optional
        Told after each token what the answers are so far; they end there if it returns False.
    """
    embeds, mask = questions.embeds, questions.mask
    rules = model.adapter.decoding_rules(questions.contexts)
    # Beams compare what these rules leave; without it a name would cost an answer its rivals' share.
    # Labels are compared by their own probability, and a penalty holds as it is, as upstream's does.
    renormalized = bool(rules)
    if settings.repetition_penalty != 1.0:
        # generate's own argument would spare as many tokens as the prompt is padded by.
        rules.insert(0, RepetitionPenaltyLogitsProcessor(settings.repetition_penalty))
    if choices is not None:
        rules.append(LabelRules(choices, settings.max_new_tokens))
    if settings.temperature > 0:
        rules.append(SeededSampling(settings.temperature, settings.top_p, settings.seed))
    ends = answer_ends(model.language_model)
    beams = settings.num_beams
    kept = 1 if beams == 1 else max(2, 1 + len(ends)) * beams
    scores = ChosenScores(kept, normalised=beams > 1, ruled=bool(rules))
    watching: list[Watching] = []
    if watch is not None:
        contexts = questions.contexts
        watching = [Watching(watch, lambda row, ids: model.adapter.text(contexts[row], ids), ends)]
    output = model.language_model.generate(
        inputs_embeds=embeds,
        attention_mask=mask,
        max_new_tokens=settings.max_new_tokens,
        num_beams=beams,
        do_sample=False,
        length_penalty=settings.length_penalty,
        logits_processor=[scores.before, *rules, scores.after],
        stopping_criteria=watching,
        renormalize_logits=renormalized,
        return_dict_in_generate=True,
        **{CACHE_ARGUMENT: read_prompts(model.language_model, embeds, mask, beams)},
    )
    logprobs = scores.of(output.sequences, output.beam_indices if beams > 1 else None)
    return [
        _model_answer(model, ids, chosen, context, ends, choice, settings)
        for ids, chosen, context, choice in zip(
            output.sequences.tolist(),
            logprobs.tolist(),
            questions.contexts,
            choices or [None] * len(questions.contexts),
            strict=True,
        )
    ]


def answer_ends(language_model: LlamaForCausalLM) -> set[int]:
    """Return the tokens that end an answer."""
    eos = language_model.generation_config.eos_token_id
    return {eos} if isinstance(eos, int) else set(eos or ())


def _model_answer(
    model: NatureLM,
    ids: list[int],
    logprobs: list[float],
    context: PromptContext,
    ends: set[int],
    choice: LabelChoice | None,
    settings: AnswerSettings,
) -> ModelAnswer:
    """Return the answer that a row of generated ids and their log-probabilities makes."""
    length = next((place + 1 for place, token in enumerate(ids) if token in ends), len(ids))
    mean = sum(logprobs[:length]) / max(length, 1)
    labels = choice.read(ids[:length]) if choice else None
    if labels:
        text, detections = SEPARATOR.join(labels), label_detections(labels)
    else:
        text = model.adapter.text(context, ids[:length])
        detections = model.adapter.detections(context, ids[:length])
    confidence = math.exp(mean)
    withheld = confidence < settings.min_confidence
    return ModelAnswer(
        text=NOTHING_HEARD if withheld else text,
        confidence=confidence,
        mean_logprob=mean,
        detections=[] if withheld else detections,
        withheld=text if withheld else None,
        scores=model.adapter.scores(context),
    )
