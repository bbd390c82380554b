"""Answers of a model that spells names, restricted to candidates: scored, or only held to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from NatureLM.models.answering import NOTHING_HEARD, AnswerSettings, Candidates, ModelAnswer, Turn
from NatureLM.models.generating import answer_ends
from NatureLM.models.label_detections import label_detections, with_scores
from NatureLM.models.label_queries import allows_none, answer_kind
from NatureLM.models.label_rules import NONE, AnswerKind, LabelChoice
from NatureLM.models.label_scores import LabelScorer, presence_log_odds

if TYPE_CHECKING:
    from NatureLM.models.naturelm import NatureLM

WAYS_KEPT = 16
"""Lists whose trees are remembered, by what may be asked of them."""


@dataclass(frozen=True)
class Way:
    """How questions of one kind about one list are answered.

    Attributes
    ----------
    candidates : Candidates
    scorer : LabelScorer or None
        The best of all labels is the answer.
    choice : LabelChoice or None
        The answer is decoded, held to the labels.
    """

    candidates: Candidates
    scorer: LabelScorer | None = None
    choice: LabelChoice | None = None


class LabelAnswers:
    """Answers questions for names out of lists of candidates.

    Parameters
    ----------
    model : NatureLM
        One that spells names.
    """

    def __init__(self, model: NatureLM) -> None:
        self._model = [model]  # in a list: a module would take another for a part of itself
        self._ways: dict[tuple[Candidates, AnswerKind, bool, int], Way] = {}

    def way(self, query: str, candidates: Candidates, settings: AnswerSettings) -> Way:
        """Return how a query is answered.

        One name is the best of all labels by its score, or decoded where none are wanted; a list is decoded.
        ``None`` is among the answers where the list holds it, where the query has the words "if any" or
        "none", and wherever several names are asked for.

        Raises
        ------
        ConfigError
            If the query is not answered by names, or the model cannot write the labels.
        """
        kind = answer_kind(query)
        none = kind == "list" or allows_none(query)
        key = (candidates, kind, none, settings.max_new_tokens)
        if key not in self._ways:
            if len(self._ways) >= WAYS_KEPT:
                self._ways.clear()
            self._ways[key] = self._make(*key)
        return self._ways[key]

    def answer(
        self,
        features: Sequence[Any],
        queries: Sequence[str],
        settings: AnswerSettings,
        histories: Sequence[Sequence[Turn]] | None,
        candidates: Sequence[Candidates | Sequence[Candidates]],
    ) -> list[ModelAnswer]:
        """Answer questions; parameters and errors are those of ``NatureLM.answer`` and :meth:`way`.

        Where a question is about several recordings, the candidates of all of them hold.
        """
        turns = histories or [()] * len(queries)
        named = [one if isinstance(one, Candidates) else Candidates.of_several(one) for one in candidates]
        ways = [self.way(query, several, settings) for query, several in zip(queries, named, strict=True)]
        rows_of: dict[int, list[int]] = defaultdict(list)
        for row, way in enumerate(ways):
            rows_of[id(way)].append(row)
        answers: dict[int, ModelAnswer] = {}
        for rows in rows_of.values():
            asked = ([features[row] for row in rows], [queries[row] for row in rows], settings)
            said = [turns[row] for row in rows]
            answers.update(zip(rows, self._answer(ways[rows[0]], *asked, said), strict=True))
        return [answers[row] for row in range(len(queries))]

    def _make(self, candidates: Candidates, kind: AnswerKind, none: bool, max_new_tokens: int) -> Way:
        model = self._model[0]
        labels = [*candidates.labels, NONE] if none else list(candidates.labels)
        if kind == "name" and candidates.scored:
            return Way(candidates, scorer=LabelScorer(model, labels))
        ends, tokenizer = answer_ends(model.language_model), model.processor.tokenizer
        return Way(
            candidates,
            choice=LabelChoice(labels, kind, tokenizer, ends, max_new_tokens, none=none),
        )

    def _answer(
        self,
        way: Way,
        features: list[Any],
        queries: list[str],
        settings: AnswerSettings,
        turns: list[Sequence[Turn]],
    ) -> list[ModelAnswer]:
        if way.scorer is not None:
            return self._best(way.scorer, way.candidates, features, queries, settings, turns)
        assert way.choice is not None
        choices = [way.choice] * len(queries)
        answers = self._model[0].answer(features, queries, settings, turns, choices=choices)
        if not way.candidates.scored:
            return answers
        labels = [label for label in way.choice.labels if label != NONE]
        present = presence_log_odds(self._model[0], features, labels, settings).sigmoid()
        return [
            _scored(answer, labels, row, way.candidates) for answer, row in zip(answers, present, strict=True)
        ]

    def _best(
        self,
        scorer: LabelScorer,
        candidates: Candidates,
        features: list[Any],
        queries: list[str],
        settings: AnswerSettings,
        turns: list[Sequence[Turn]],
    ) -> list[ModelAnswer]:
        logprobs = scorer.logprobs(features, queries, settings, turns)
        shares = scorer.shares(logprobs, length_normalised=candidates.length_normalised)
        lengths = scorer.lengths()
        answers = []
        for row, share in enumerate(shares):
            best = int(share.argmax())
            text, confidence = scorer.labels[best], float(share[best])
            withheld = confidence < settings.min_confidence
            answers.append(
                ModelAnswer(
                    text=NOTHING_HEARD if withheld else text,
                    confidence=confidence,
                    mean_logprob=float(logprobs[row, best]) / int(lengths[best]),
                    detections=[] if withheld else with_scores(label_detections([text]), {text: confidence}),
                    withheld=text if withheld else None,
                    scores=_best_first(scorer.labels, share, candidates.top_k),
                )
            )
        return answers


def _scored(
    answer: ModelAnswer, labels: Sequence[str], present: torch.Tensor, candidates: Candidates
) -> ModelAnswer:
    """Return a list of labels with the score of each; ``present`` [labels] has them in the labels' order."""
    by_label = dict(zip(labels, present.tolist(), strict=True))
    return replace(
        answer,
        detections=with_scores(answer.detections, by_label),
        scores=_best_first(labels, present, candidates.top_k),
    )


def _best_first(labels: Sequence[str], scores: torch.Tensor, top_k: int | None) -> dict[str, float]:
    """Return the scores [labels] by label, with the list's order among equals."""
    order = scores.argsort(descending=True, stable=True)[:top_k].tolist()
    return {labels[place]: float(scores[place]) for place in order}
