"""A batch's answers as they are written, token by token."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from NatureLM.models.answering import AnswerSettings, Candidates, ModelAnswer, Turn

if TYPE_CHECKING:
    from NatureLM.models import NatureLM


def stream_texts(
    model: NatureLM,
    features: Sequence[Any],
    queries: Sequence[str],
    settings: AnswerSettings,
    histories: Sequence[Sequence[Turn]],
    turn: AbstractContextManager[Any] | None = None,
    candidates: Sequence[Sequence[Candidates]] | None = None,
) -> Generator[list[str], None, list[ModelAnswer]]:
    """Yield the answers so far, and return them whole; closing the generator ends them.

    Parameters
    ----------
    model, features, queries, settings, histories, candidates
        As :meth:`NatureLM.answer` takes them. Answers of several beams come at once, and those for which
        names are scored.
    turn : context manager, optional
        Held while the model answers, by a thread of this function's: a lock, where others ask it too.

    Raises
    ------
    ConfigError
        As :meth:`NatureLM.answer`.
    """
    said: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()
    stopped = threading.Event()
    answers: list[ModelAnswer] = []
    errors: list[BaseException] = []

    def watch(texts: list[str]) -> bool:
        said.put(texts)
        return not stopped.is_set()

    def answer() -> None:
        try:
            with turn or nullcontext():
                if not stopped.is_set():
                    watched = watch if settings.num_beams == 1 else None
                    answers.extend(
                        model.answer(features, queries, settings, histories, candidates, watch=watched)
                    )
        except BaseException as error:
            errors.append(error)
        finally:
            said.put(None)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        while (texts := said.get()) is not None:
            yield texts
    finally:
        stopped.set()
    thread.join()
    if errors:
        raise errors[0]
    return answers
