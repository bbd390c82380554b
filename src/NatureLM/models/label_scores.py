"""How probable each label of a list is as the answer: exact, and for all labels in one reading.

A label's log-probability is that of its tokens and of an end after them; where several tokens end an answer
their probabilities add up. Tokens that are never generated take no share. So the log-probabilities are those
of scoring each label alone, and with all answers there are they would sum to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from NatureLM.errors import ConfigError
from NatureLM.models.answering import AnswerSettings, Turn
from NatureLM.models.label_trie import TokenTrie, label_ids, tidy_labels
from NatureLM.models.tree_reading import read_tree

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

    from NatureLM.models.naturelm import NatureLM, WindowFeatures

PRESENCE_QUESTION = "Is there a {label} in the audio? Answer Yes or No."
"""What is asked of each label where several may be present (prompts of the published model)."""

YES, NO = "Yes", "No"
"""The answers to that question."""

LOGITS_AT_ONCE = 2**26
"""Logits that are held at once: 256 MB in float32."""


@torch.inference_mode()
def trie_logprobs(
    language_model: LlamaForCausalLM, embeds: torch.Tensor, mask: torch.Tensor, trie: TokenTrie
) -> torch.Tensor:
    """Return how probable each sequence of a tree, and an end after it, is after each prompt.

    Parameters
    ----------
    language_model : LlamaForCausalLM
        Its generation config says which tokens end an answer, and which are never generated.
    embeds : [batch, length, hidden]
        Prompts, padded on the left.
    mask : int64 [batch, length]
        0 where there is padding.
    trie : TokenTrie

    Returns
    -------
    float64 [batch, sequences], on the CPU
        Log-probabilities, in the order of the sequences.

    Raises
    ------
    ConfigError
        If no token ends the model's answers.
    """
    ends = _ids(language_model.generation_config.eos_token_id)
    if not ends:
        raise ConfigError("The model's generation config names no eos_token_id; labels need an end.")
    never = _ids(language_model.generation_config.suppress_tokens)
    # Sums are float64, which Apple's GPU has not, and states may be on several GPUs: all meets on the CPU.
    tokens, parents = torch.from_numpy(trie.tokens), torch.from_numpy(trie.parents)
    by_parent = torch.argsort(parents, stable=True)
    sorted_parents = np.sort(trie.parents)
    steps = torch.zeros(len(embeds), len(trie), dtype=torch.float64)
    ending = torch.zeros_like(steps)
    for read in read_tree(language_model, embeds, mask, trie):
        size = max(1, LOGITS_AT_ONCE // language_model.config.vocab_size)
        for first in range(read.first, read.stop, size):
            stop = min(first + size, read.stop)
            logits = language_model.lm_head(read.states[first - read.first : stop - read.first]).float()
            logits[:, never] = -torch.inf
            whole = logits.logsumexp(-1)
            ending[read.prompt, first:stop] = (logits[:, ends].logsumexp(-1) - whole).cpu().double()
            low, high = np.searchsorted(sorted_parents, [first, stop])
            after = by_parent[low:high]
            rows = (parents[after] - first).to(logits.device)
            found = logits[rows, tokens[after].to(logits.device)] - whole[rows]
            steps[read.prompt, after] = found.cpu().double()
    for depth in range(1, int(trie.depths.max()) + 1):
        nodes = torch.from_numpy(np.flatnonzero(trie.depths == depth))
        steps[:, nodes] += steps[:, parents[nodes]]
    return (steps + ending)[:, torch.from_numpy(trie.ends)]


class LabelScorer:
    """Scores the labels of one list as answers to questions about windows.

    Parameters
    ----------
    model : NatureLM
        With the published model's kind of adapter, whose tokens do not depend on the question.
    labels : sequence of str
        Names as the model is to write them, ``None`` among them where it may be the answer.

    Attributes
    ----------
    labels : list of str
        Tidied, each once, in the order given: that of the scores.

    Raises
    ------
    ConfigError
        If there are no labels, or some cannot be written in the model's tokens.
    """

    def __init__(self, model: NatureLM, labels: Sequence[str]) -> None:
        self.model = model
        self.labels = tidy_labels(labels)
        self.trie = TokenTrie.of(label_ids(self.labels, model.processor.tokenizer))

    def logprobs(
        self,
        features: Sequence[WindowFeatures | Sequence[WindowFeatures]],
        queries: Sequence[str],
        settings: AnswerSettings | None = None,
        histories: Sequence[Sequence[Turn]] | None = None,
    ) -> torch.Tensor:
        """Return the log-probability of each label as the whole answer.

        Parameters
        ----------
        features, queries, settings, histories
            As :meth:`NatureLM.models.naturelm.NatureLM.answer` takes them; of the settings only
            ``merging_alpha`` counts.

        Returns
        -------
        float64 [windows, labels], on the CPU
        """
        asked = self.model.read_questions(features, queries, settings or AnswerSettings(), histories)
        return trie_logprobs(self.model.language_model, asked.embeds, asked.mask, self.trie)

    def lengths(self) -> npt.NDArray[np.int64]:
        """Return how many tokens each label has, its end counted."""
        return self.trie.depths[self.trie.ends] + 1

    def shares(self, logprobs: torch.Tensor, *, length_normalised: bool = False) -> torch.Tensor:
        """Return the labels' shares of the probability, for a question that one of them answers.

        Parameters
        ----------
        logprobs : [windows, labels]
            As :meth:`logprobs` returns them.
        length_normalised : bool
            Whether each is first divided by the number of its tokens, the end counted: long names are then
            not behind for their length.

        Returns
        -------
        float64 [windows, labels]
            A softmax over the labels: each window's sum to one.
        """
        if length_normalised:
            logprobs = logprobs / torch.from_numpy(self.lengths()).to(logprobs.device)
        return logprobs.softmax(-1)


def presence_log_odds(
    model: NatureLM,
    features: Sequence[WindowFeatures | Sequence[WindowFeatures]],
    labels: Sequence[str],
    settings: AnswerSettings | None = None,
) -> torch.Tensor:
    """Return how much more probable Yes than No is as the answer to whether a label is in a window.

    Each label is asked about by itself (:data:`PRESENCE_QUESTION`), so the scores of labels do not depend on
    each other. What the questions share is read once. Yes and No are compared by the first token in which
    they differ.

    Parameters
    ----------
    model : NatureLM
        With the published model's kind of adapter, whose tokens do not depend on the question.
    features : sequence
        Windows, as :meth:`NatureLM.models.naturelm.NatureLM.encode_audio` returned them.
    labels : sequence of str
        As :func:`NatureLM.models.label_trie.tidy_labels` returns them.
    settings : AnswerSettings, optional
        Of these only ``merging_alpha`` counts.

    Returns
    -------
    float64 [windows, labels], on the CPU
        log P(Yes) - log P(No).

    Raises
    ------
    ConfigError
        If there are no labels, or the model's tokens do not tell Yes from No.
    """
    if not labels:
        raise ConfigError("The list of labels is empty; it must hold at least one name.")
    yes, no = (model.processor.tokenizer.encode(text, add_special_tokens=False) for text in (YES, NO))
    apart = next((place for place, (a, b) in enumerate(zip(yes, no, strict=False)) if a != b), None)
    if apart is None:
        raise ConfigError("The model's tokens do not tell Yes from No; labels of a list cannot be scored.")
    questions = [PRESENCE_QUESTION.format(label=label) for label in labels]
    tails = [model.processor.pieces(model.processor.normalise(text))[-1].ids for text in questions]
    shared = _shared_beginning(tails)
    asked = model.read_questions(features, [questions[0]] * len(features), settings or AnswerSettings())
    kept = asked.embeds.shape[1] - len(tails[0]) + shared
    embeds, mask = asked.embeds[:, :kept], asked.mask[:, :kept]
    trie = TokenTrie.of([[*tail[shared:], *yes[:apart]] for tail in tails])
    odds = torch.zeros(len(embeds), len(trie), dtype=torch.float64)
    last = np.sort(trie.ends)
    for read in read_tree(model.language_model, embeds, mask, trie):
        nodes = last[slice(*np.searchsorted(last, [read.first, read.stop]))]
        if len(nodes):
            states = read.states[torch.from_numpy(nodes - read.first).to(read.states.device)]
            logits = _logits_of(model.language_model.lm_head, states, [yes[apart], no[apart]]).cpu().double()
            odds[read.prompt, torch.from_numpy(nodes)] = logits[:, 0] - logits[:, 1]
    return odds[:, torch.from_numpy(trie.ends)]


def _logits_of(head: torch.nn.Module, states: torch.Tensor, tokens: list[int]) -> torch.Tensor:
    """Return the logits of some tokens, float32 [states, tokens].

    The product is of float32 numbers: near 20, those of bfloat16 are 0.125 apart, and most labels would tie.
    """
    weight: Any = head.weight
    if type(weight.data) is not torch.Tensor or weight.device.type == "meta":  # quantised, or on disk
        return head(states)[:, tokens].float()
    return torch.nn.functional.linear(states.float(), weight[tokens].float())


def _shared_beginning(sequences: Sequence[list[int]]) -> int:
    """Return how many tokens all sequences begin with alike, short of the last."""
    first, last = min(sequences), max(sequences)
    longest = min(map(len, sequences)) - 1
    return next((place for place in range(longest) if first[place] != last[place]), longest)


def _ids(tokens: int | list[int] | None) -> list[int]:
    return [tokens] if isinstance(tokens, int) else list(tokens or ())
