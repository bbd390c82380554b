"""Recordings through the engine into a sink, going on where an earlier run was stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

from NatureLM.errors import RecordingError
from NatureLM.infer.answers import Answer, Failure
from NatureLM.infer.engine import BegunAnew, Engine, Event, Finished, Recording
from NatureLM.infer.journal import Key, Part
from NatureLM.infer.sinks import Sink

logger = logging.getLogger("NatureLM.infer")

ToRow = Callable[[Answer], dict[str, Any]]


class Observer(Protocol):
    """Told what happens during a run."""

    def say(self, message: str) -> None:
        """Hear something that the user must know."""

    def planned(self, paths: Sequence[Path]) -> None:
        """Hear which files will be read, in order."""

    def happened(self, index: int, event: Event) -> None:
        """Hear an event of the file ``paths[index]``."""


class LoggingObserver:
    """Hears a run for its messages, which it logs."""

    def say(self, message: str) -> None:
        """Log a message."""
        logger.info(message)

    def planned(self, paths: Sequence[Path]) -> None:
        """Take no notice."""

    def happened(self, index: int, event: Event) -> None:
        """Take no notice."""


@dataclass(frozen=True)
class Done:
    """How a run went: ``reused`` recordings were done before; the share of time that the model waited."""

    reused: int
    waiting_for_audio_share: float


def answer_recordings(
    engine: Engine | None,
    recordings: Sequence[Recording],
    keys: Mapping[str, Key],
    sink: Sink,
    parameters: Mapping[str, Any],
    observer: Observer,
    *,
    told: Mapping[str, Any],
    strict: bool = False,
    to_row: ToRow = Answer.as_row,
    before: Callable[[Sequence[Recording]], None] = lambda left: None,
) -> Done:
    """Answer what the sink does not hold yet, batch by batch, and finish the sink.

    Parameters
    ----------
    engine : Engine or None
        Not needed where the sink holds everything.
    recordings : sequence of Recording
        All of them, their names being unique.
    keys : mapping of str to Key
        By name, in the order of the recordings.
    sink : Sink
    parameters : mapping
        Of the run.
    observer : Observer
    told : mapping
        What the record is to say beside the counts: where the model is, the size of batches.
    strict : bool
        Whether the first failure ends the run.
    to_row : callable
        Makes a row of the results of an answer.
    before : callable
        Told which recordings are left, before the first of them is read.

    Raises
    ------
    RecordingError
        With ``strict``, a recording cannot be read; the answers so far are kept.
    NatureLMError
        The results cannot be written; those so far are kept.
    """
    started = _now()

    def waited() -> float:
        return 0.0 if engine is None else round(engine.waiting_for_audio_share, 3)

    def counts() -> dict[str, Any]:
        return {
            **told,
            "started_at": started,
            "finished_at": _now(),
            "recordings_planned": len(recordings),
            "windows": sink.windows,
            "answers": sink.answers,
            "failures": sink.failures,
            "waiting_for_audio_share": waited(),
        }

    try:
        sink.begin(parameters, keys)
        left = []
        for recording in recordings:
            done = sink.progress(recording.name)
            if done.state != "finished":
                until = done.until if done.state == "failed" else None
                left.append(replace(recording, answered=done.windows, answered_until=until))
        reused = len(recordings) - len(left)
        if sink.answers:
            observer.say(
                f"Going on with an earlier run: {reused} of {len(recordings)} recordings and {sink.windows} "
                "windows are done."
            )
        before(left)
        observer.planned([Path(recording.name) for recording in left])
        with closing(_batches(engine, left)) as batches:
            for batch in batches:
                sink.write(_parts(batch, left, keys, to_row))
                for index, event in batch:
                    observer.happened(index, event)
                    if strict and isinstance(event, Failure):
                        raise RecordingError(
                            f"stopped at the first recording that cannot be read (--strict): {event.reason}"
                        )
        share = waited()
        moved = sink.finish(counts())
    except BaseException:
        partial = sink.keep_partial(counts())
        if partial is not None:
            observer.say(
                f"Stopped: the {sink.answers} answers so far are kept in {partial}. "
                "The same command goes on from here."
            )
        raise
    if moved is not None:
        observer.say(f"{sink.results} held another run; its files are now {moved} and beside it.")
    for table, aside in sink.set_aside.items():
        observer.say(f"{table} was changed after it was written; as it was left, it is now {aside}.")
    return Done(reused, share)


def _batches(
    engine: Engine | None, recordings: Sequence[Recording]
) -> Generator[list[tuple[int, Event]], None, None]:
    """Yield the engine's batches; no recordings need no engine."""
    if recordings:
        assert engine is not None, "all is answered before where there is no engine"
        yield from engine.batches(recordings)


def _parts(
    batch: Iterable[tuple[int, Event]],
    recordings: Sequence[Recording],
    keys: Mapping[str, Key],
    to_row: ToRow,
) -> list[Part]:
    """Return what a batch says of each recording, for the journal."""
    parts = []
    for index, events in groupby(batch, key=itemgetter(0)):
        name = recordings[index].name
        part = Part(name, keys[name])
        place: tuple[str, float] | None = None
        for _, event in events:
            if isinstance(event, Answer):
                part.rows.append(to_row(event))
                here = (event.channel, event.start_seconds)
                part.windows += here != place
                place = here
            elif isinstance(event, BegunAnew):
                part.anew = True
            elif isinstance(event, Failure):
                part.state, part.reason = "failed", event.reason
            elif isinstance(event, Finished):
                part.state = "finished"
        parts.append(part)
    return parts


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
