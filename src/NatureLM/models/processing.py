"""Prompts with ``<AudioHere>`` become token ids: pieces around the recordings are tokenized apart."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from NatureLM.errors import CheckpointError, ConfigError
from NatureLM.models.adapters.base import Mark
from NatureLM.models.audio_tags import AUDIO_BLOCK, AUDIO_PLACEHOLDER, AUDIO_TAGS
from NatureLM.models.configuration import NatureLMConfig

Chat = Sequence[Mapping[str, Any]]
"""Messages, as transformers' processors take them."""

PROCESSOR_FILE = "processor_config.json"
"""Name that transformers gives it."""

AUDIO_KEYS = ("audio", "path", "url")
"""Keys by which a part of a chat message may hold its recording."""


@dataclass(frozen=True)
class PromptPiece:
    """A stretch of prompt text between recordings.

    Attributes
    ----------
    ids : list of int
        Token ids.
    marks : list of (Mark or None)
        For each token, the mark that it lies in.
    """

    ids: list[int]
    marks: list[Mark | None]


@dataclass(frozen=True)
class PromptFormat:
    """How prompts are written: those of a model's settings that a processor needs."""

    prompt_template: str
    answer_end: str
    lowercase_query: bool


class NatureLMProcessor:
    """Turns conversations into pieces of token ids between which the recordings' tokens go.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        A fast tokenizer (marked words are found by its offsets).
    config : NatureLMConfig or PromptFormat
        ``prompt_template``, ``answer_end`` and ``lowercase_query`` count here.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, config: NatureLMConfig | PromptFormat) -> None:
        self.tokenizer = tokenizer
        self.format = PromptFormat(config.prompt_template, config.answer_end, config.lowercase_query)
        self.before, self.after = config.prompt_template.split("{query}")
        self.answer_end = config.answer_end
        self.lowercase_query = config.lowercase_query

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> NatureLMProcessor:
        """Read a processor that :meth:`save_pretrained` wrote, without its model.

        Raises
        ------
        CheckpointError
            If its files are missing or damaged.
        """
        file = Path(folder) / PROCESSOR_FILE
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
            form = PromptFormat(**{field.name: said[field.name] for field in fields(PromptFormat)})
            tokenizer = AutoTokenizer.from_pretrained(folder)
            return cls(tokenizer, form)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"The processor in {folder} cannot be read: {error!r}") from error

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the tokenizer and how prompts are written."""
        self.tokenizer.save_pretrained(folder)
        content = {"processor_class": type(self).__name__, **asdict(self.format)}
        file = Path(folder) / PROCESSOR_FILE
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def normalise(self, query: str) -> str:
        """Return the query as the model reads it: stripped, and in lower case if it was trained so."""
        query = query.strip()
        if not self.lowercase_query:
            return query
        return "".join(
            part if place % 2 else _lower(part) for place, part in enumerate(AUDIO_TAGS.split(query))
        )

    def prompt(self, texts: str | Sequence[str], recordings: int = 1) -> str:
        """Return the whole prompt of a question, or of a conversation that ends in one.

        Parameters
        ----------
        texts : str or sequence of str
            The question; or question, answer, question, ... Recordings belong to the first question, in
            front of it unless it says by ``<AudioHere>`` where.
        recordings : int

        Raises
        ------
        ConfigError
            If the texts name another number of recordings than there are.
        """
        return "".join(text for text, _ in self._parts(_as_list(texts), recordings))

    def apply_chat_template(
        self,
        conversation: Chat | Sequence[Chat],
        *,
        tokenize: bool = False,
        add_generation_prompt: bool = True,
        **others: Any,
    ) -> str | list[PromptPiece] | list[str | list[PromptPiece]]:
        """Return the prompt of a chat given as transformers' processors take it, or those of several.

        Parameters
        ----------
        conversation : sequence of dict, or sequence of such
            ``{"role": "user" or "assistant", "content": ...}`` by turns, from a user's to a user's. The
            content is a text, or a list of ``{"type": "text", "text": ...}`` and
            ``{"type": "audio", ...}``; the recordings belong where their parts stand.
        tokenize : bool
            Whether to return the token ids, as :meth:`pieces` does: the recordings' tokens go between them.
        add_generation_prompt : bool
            True: prompts end where the answer begins.
        **others
            Options of transformers; those that are not None or False are refused, as recordings' tokens go
            between a prompt's pieces, so that it is no one tensor.

        Raises
        ------
        ConfigError
            If a role, a part or an option is unknown, or the turns are out of order.
        """
        asked = [name for name, value in others.items() if value not in (None, False)]
        if asked or not add_generation_prompt:
            named = ", ".join(asked) or "add_generation_prompt=False"
            raise ConfigError(
                f"apply_chat_template: {named} is not possible; a prompt is text, or with tokenize=True "
                "pieces of token ids between which the recordings' tokens go, up to where it answers."
            )
        if conversation and not isinstance(conversation[0], Mapping):
            chats = cast(Sequence[Chat], conversation)
            return [self._chat_prompt(chat, tokenize) for chat in chats]
        return self._chat_prompt(cast(Chat, conversation), tokenize)

    def _chat_prompt(self, chat: Chat, tokenize: bool) -> str | list[PromptPiece]:
        texts, recordings = self.read_chat(chat)
        if tokenize:
            return self.pieces(texts, recordings=len(recordings))
        return self.prompt(texts, recordings=len(recordings))

    def read_chat(self, messages: Chat) -> tuple[list[str], list[Any]]:
        """Return the texts of a chat as :meth:`prompt` takes them, and its recordings.

        Parameters
        ----------
        messages : sequence of dict
            As :meth:`apply_chat_template` takes them; a recording is what its part calls ``audio``,
            ``path`` or ``url``.
        """
        roles = [str(message.get("role")) if isinstance(message, Mapping) else "?" for message in messages]
        if not roles or roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
            raise ConfigError(
                f"The chat's roles are {', '.join(roles) or 'none'}; expected user and assistant by turns, "
                "from a user's question to a user's question."
            )
        texts: list[str] = []
        recordings: list[Any] = []
        for role, message in zip(roles, messages, strict=True):
            pieces: list[str] = []
            for part in _content_parts(role, message.get("content")):
                if part["type"] == "text":
                    pieces.append(part["text"].strip())
                else:
                    recordings.append(next((part[key] for key in AUDIO_KEYS if key in part), None))
                    pieces.append(AUDIO_BLOCK)
            # As in front of a query, nothing stands between recordings.
            text = " ".join(pieces).replace(f"{AUDIO_BLOCK} {AUDIO_BLOCK}", AUDIO_BLOCK * 2)
            texts.append(self.normalise(text) if role == "user" else text)
        return texts, recordings

    def _parts(self, texts: Sequence[str], recordings: int) -> list[tuple[str, int | None]]:
        """Return the stretches of the prompt; those that are one of the texts with its number."""
        placeholders = sum(text.count(AUDIO_PLACEHOLDER) for text in texts[::2])
        if placeholders not in (0, recordings):
            raise ConfigError(
                f"The query holds {placeholders} {AUDIO_PLACEHOLDER} but {recordings} recordings were given; "
                f"write {AUDIO_PLACEHOLDER} once for each recording, or leave it out."
            )
        front = AUDIO_BLOCK * recordings + " " if recordings and not placeholders else ""
        parts: list[tuple[str, int | None]] = [(self.before + front, None), (texts[0], 0)]
        start = self.before.removeprefix(self.tokenizer.bos_token or "")
        for place in range(1, len(texts), 2):
            parts += [(self.after, None), (texts[place], place), (self.answer_end + start, None)]
            parts.append((texts[place + 1], place + 1))
        return [*parts, (self.after, None)]

    def pieces(
        self, texts: str | Sequence[str], marks: Sequence[Sequence[Mark]] = (), recordings: int = 1
    ) -> list[PromptPiece]:
        """Tokenize a prompt: one piece more than there are recordings.

        Parameters
        ----------
        texts : str or sequence of str
            As :meth:`prompt` takes them, questions as :meth:`normalise` returns them.
        marks : sequence of sequences of Mark
            Those of each text, in its order.
        recordings : int

        Raises
        ------
        ConfigError
            If the texts name another number of recordings than there are.
        """
        prompt, spans = "", []
        for text, number in self._parts(_as_list(texts), recordings):
            last = 0
            stretch = ""
            for mark in marks[number] if number is not None and marks else ():
                stretch += text[last : mark.start]
                start = len(prompt) + len(stretch)
                stretch += mark.token or text[mark.start : mark.end]
                spans.append((start, len(prompt) + len(stretch), mark))
                last = mark.end
            stretch += text[last:]
            # An earlier answer makes no room for recordings, whatever it says.
            said = number is not None and number % 2 == 1
            prompt += stretch.replace(AUDIO_PLACEHOLDER, " " * len(AUDIO_PLACEHOLDER)) if said else stretch
        pieces: list[PromptPiece] = []
        offset = 0
        for part in prompt.split(AUDIO_PLACEHOLDER):
            encoded = self.tokenizer(part, add_special_tokens=False, return_offsets_mapping=bool(spans))
            ids = list(encoded["input_ids"])
            marked: list[Mark | None] = [None] * len(ids)
            within = [span for span in spans if span[0] < offset + len(part) and span[1] > offset]
            for position, (first, last) in enumerate(encoded["offset_mapping"] if within else ()):
                for start, end, mark in within:
                    if offset + last > start and offset + first < end:
                        marked[position] = mark
            pieces.append(PromptPiece(ids, marked))
            offset += len(part) + len(AUDIO_PLACEHOLDER)
        return pieces


def _content_parts(role: str, content: object) -> list[Mapping[str, Any]]:
    """Return the parts of a message's content: texts, and recordings of the user's.

    Raises
    ------
    ConfigError
        If it is something else.
    """
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, Sequence) or not content:
        raise ConfigError(f"A message of the {role} has no content; expected a text, or a list of parts.")
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else part
        if kind == "text" and isinstance(part.get("text"), str):
            continue
        if kind == "text":
            raise ConfigError(f"A text of a message of the {role} has no 'text'; expected one.")
        if kind != "audio" or role != "user":
            raise ConfigError(
                f"A part of a message of the {role} is of type {kind!r}; expected text"
                f"{' or audio' if role == 'user' else ''}."
            )
    return list(content)


def _as_list(texts: str | Sequence[str]) -> Sequence[str]:
    return [texts] if isinstance(texts, str) else texts


def _lower(text: str) -> str:
    """Return a text in lower case; letters that would change their length stay, as spans keep theirs."""
    return "".join(lower if len(lower := char.lower()) == 1 else char for char in text)
