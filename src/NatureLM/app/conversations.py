"""A visitor's conversation: what was asked, what it is about, and what is being answered."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from NatureLM.app.showing import Showing
from NatureLM.app.spectrogram import Spectrogram
from NatureLM.infer.interview import Interview

About = tuple[tuple[Path, ...], float, float | None]
"""Recordings, and start and end in seconds of the part of each."""

_beginning = threading.Lock()


@dataclass(frozen=True)
class Aside:
    """A question that the model did not answer to its end: stopped, or impossible.

    Attributes
    ----------
    after : int
        How many questions had been answered before.
    query : str
    said : str
        What was said so far, or why it cannot be answered.
    """

    after: int
    query: str
    said: str


class Conversation(Showing):
    """Questions and answers about some recordings, shown until it is cleared.

    Parameters
    ----------
    number : int
        The page counts its conversations; a question says to which it belongs.

    Attributes
    ----------
    interview : Interview or None
    about : tuple or None
        What the interview is about.
    asides : list of Aside
        Questions that the interview does not know.
    """

    def __init__(self, number: int = 0) -> None:
        super().__init__()
        self.number = number
        self.interview: Interview | None = None
        self.about: About | None = None
        self.asides: list[Aside] = []
        self._asked: set[str] = set()
        self._turn = threading.Lock()

    def begin(self, interview: Interview, about: About) -> None:
        """Go on with an interview about other sound; what was said about earlier sound is no part of it."""
        if self.interview is not None:
            self.asides = []
        self.interview, self.about = interview, about

    @property
    def queries(self) -> list[str]:
        """What was answered so far."""
        return self.interview.queries if self.interview else []

    @property
    def last_query(self) -> str | None:
        """What was asked last, answered or not."""
        if self._last_is_aside:
            return self.asides[-1].query
        return self.queries[-1] if self.queries else None

    @property
    def _last_is_aside(self) -> bool:
        return bool(self.asides) and self.asides[-1].after >= len(self.queries)

    def forget_last(self) -> Callable[[], bool]:
        """Forget what was asked last, answered or not.

        Returns
        -------
        callable
            Brings an answered question back, unless the interview is another by then; returns whether it did.
        """
        interview = self.interview
        if self._last_is_aside:
            del self.asides[-1]
        elif interview is not None and interview.queries:
            interview.forget_last()
            return lambda: self.interview is interview and interview.bring_back() is not None
        return lambda: False

    def set_aside(self, query: str, said: str) -> None:
        """Keep a question that is not answered to its end."""
        self.asides.append(Aside(len(self.queries), query, said))

    def forget_asked(self) -> None:
        """Take what is asked from now on as new, also what is being answered or waits."""
        self._asked.clear()

    @contextmanager
    def answering(self, query: str | None) -> Iterator[bool]:
        """Wait until earlier questions are answered; tell whether this one is new.

        It is not where the same question is being answered or waits already: a double click. None stands for
        all questions anew.
        """
        if query is not None and query in self._asked:
            yield False
            return
        asked = set() if query is None else {query}
        self._asked |= asked
        try:
            with self._turn:
                yield True
        finally:
            self._asked -= asked


@dataclass
class ChatState:
    """One visitor's tab Ask.

    Attributes
    ----------
    conversation : Conversation or None
        None before the first question.
    played : dict
        For each recording the file that is played in its place.
    seen : dict
        The spectrograms of the recordings that are chosen.
    drawn : tuple of Path or None
        The recordings in the player.
    floor : float or None
        The floor that was chosen last.
    stopped : int
        The page counts its questions; all up to this one were stopped.
    """

    conversation: Conversation | None = None
    played: dict[Path, Path] = field(default_factory=dict)
    seen: dict[Path, Spectrogram] = field(default_factory=dict)
    drawn: tuple[Path, ...] | None = None
    floor: float | None = None
    stopped: int = -1

    @property
    def interview(self) -> Interview | None:
        """That of the conversation, if there is one."""
        return self.conversation.interview if self.conversation else None

    def stop(self, asked: int) -> None:
        """Stop all questions up to this one, also if it comes later than its end."""
        self.stopped = max(self.stopped, asked)
        if self.conversation is not None:
            self.conversation.forget_asked()

    def keep_only(self, paths: Sequence[Path]) -> None:
        """Forget what was made of recordings that are chosen no more, files included."""
        self.seen = {path: seen for path, seen in self.seen.items() if path in paths}
        for path in self.played.keys() - set(paths):
            shutil.rmtree(self.played.pop(path).parent, ignore_errors=True)

    def forget(self) -> None:
        """Remove the files that were made to be played; the visitor has left."""
        for file in self.played.values():
            shutil.rmtree(file.parent, ignore_errors=True)

    def take_up(self, number: int) -> Conversation | None:
        """Return the conversation of this number, begun if it is a new one; None if it is over."""
        self.begin_anew(number)
        now = self.conversation
        return now if now is not None and now.number == number else None

    def begin_anew(self, number: int) -> bool:
        """End the conversation, the next has this number; return False if that is so already."""
        with _beginning:
            before = self.conversation
            if before is not None and before.number >= number:
                return False
            self.conversation = Conversation(number)
        if before is not None:
            before.end()
        return True
