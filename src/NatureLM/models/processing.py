"""Prompts with ``<AudioHere>`` become token ids: pieces around the recordings are tokenized apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from NatureLM.errors import ConfigError
from NatureLM.models.configuration import NatureLMConfig

AUDIO_PLACEHOLDER = "<AudioHere>"
AUDIO_BLOCK = f"<Audio>{AUDIO_PLACEHOLDER}</Audio>"


@dataclass(frozen=True)
class PromptPiece:
    """A stretch of prompt text between recordings.

    Attributes
    ----------
    ids : list of int
        Token ids.
    marks : list of int
        For each token, the mark of the query span it lies in; 0 for none.
    """

    ids: list[int]
    marks: list[int]


class NatureLMProcessor:
    """Turns queries into pieces of token ids between which the recordings' tokens go.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        A fast tokenizer (spans of names are found by its offsets).
    config : NatureLMConfig
        ``prompt_template`` and ``lowercase_query`` count here.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, config: NatureLMConfig) -> None:
        self.tokenizer = tokenizer
        self.template = config.prompt_template
        self.lowercase_query = config.lowercase_query

    def normalise(self, query: str) -> str:
        """Return the query as the model reads it: stripped, and in lower case if it was trained so."""
        query = query.strip()
        if not self.lowercase_query:
            return query
        return AUDIO_PLACEHOLDER.join(_lower(part) for part in query.split(AUDIO_PLACEHOLDER))

    def prompt(self, query: str, recordings: int = 1) -> str:
        """Return the whole prompt for a query about a number of recordings.

        A query without ``<AudioHere>`` gets one in front for each recording.

        Raises
        ------
        ConfigError
            If the query names another number of recordings than there are.
        """
        text, _ = self._place(query, recordings)
        return text

    def _place(self, query: str, recordings: int) -> tuple[str, int]:
        """Return the prompt and where in it the query's own text begins."""
        placeholders = query.count(AUDIO_PLACEHOLDER)
        front = AUDIO_BLOCK * recordings + " " if recordings and not placeholders else ""
        if placeholders not in (0, recordings):
            raise ConfigError(
                f"The query holds {placeholders} {AUDIO_PLACEHOLDER} but {recordings} recordings were given; "
                f"write {AUDIO_PLACEHOLDER} once for each recording, or leave it out."
            )
        before, after = self.template.split("{query}")
        return before + front + query + after, len(before) + len(front)

    def pieces(
        self, query: str, query_marks: Sequence[tuple[int, int, int]] = (), recordings: int = 1
    ) -> list[PromptPiece]:
        """Tokenize a query's prompt: one piece more than there are recordings.

        Parameters
        ----------
        query : str
            As :meth:`normalise` returns it.
        query_marks : sequence of (int, int, int)
            Character spans of the query and their marks.
        recordings : int
            Number of recordings the query is about.

        Raises
        ------
        ConfigError
            If the query names another number of recordings than there are.
        """
        text, query_start = self._place(query, recordings)
        spans = [(start + query_start, end + query_start, mark) for start, end, mark in query_marks]
        pieces: list[PromptPiece] = []
        offset = 0
        for part in text.split(AUDIO_PLACEHOLDER):
            encoded = self.tokenizer(part, add_special_tokens=False, return_offsets_mapping=bool(spans))
            ids = list(encoded["input_ids"])
            marks = [0] * len(ids)
            for start, end, mark in spans:
                for position, (first, last) in enumerate(encoded["offset_mapping"]):
                    if offset + last > start and offset + first < end:
                        marks[position] = mark
            pieces.append(PromptPiece(ids, marks))
            offset += len(part) + len(AUDIO_PLACEHOLDER)
        return pieces

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return an answer's text, without special tokens and surrounding white space."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True)).strip()


def _lower(text: str) -> str:
    """Return a text in lower case; letters that would change their length stay, as spans keep theirs."""
    return "".join(lower if len(lower := char.lower()) == 1 else char for char in text)
