"""An engine's answers as a stream, and all failures as one error behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

from NatureLM.infer.answers import Answer, Failure, RecordingsError
from NatureLM.infer.engine import Engine, Recording


def answers_of(
    engine: Engine, recordings: Sequence[Recording], on_failure: Callable[[Failure], Any]
) -> Iterator[tuple[int, Answer]]:
    """Yield answers, each with the place of its recording; leaving early ends the decoding."""
    with closing(engine.run(recordings)) as events:
        for index, event in events:
            if isinstance(event, Answer):
                yield index, event
            elif isinstance(event, Failure):
                on_failure(event)


def stream_answers(
    engine: Engine, recordings: Sequence[Recording], on_failure: Callable[[Failure], None] | None
) -> Iterator[Answer]:
    """Yield answers.

    Raises
    ------
    RecordingsError
        Without ``on_failure``, behind the last answer: recordings cannot be read.
    """
    failures: list[Failure] = []
    for _, answer in answers_of(engine, recordings, on_failure or failures.append):
        yield answer
    if failures:
        raise recordings_error(failures, len(recordings))


def recordings_error(failures: Sequence[Failure], asked: int, texts: Sequence[str] = ()) -> RecordingsError:
    """Return one error that names every failure among the recordings asked about."""
    reasons = " ".join(failure.reason for failure in failures)
    others = " (the others' are in this error's texts)" if texts else ""
    return RecordingsError(
        f"{len(failures)} of {asked} recordings could not be read{others}: {reasons}", failures, texts
    )
