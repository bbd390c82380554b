"""Hearing the recordings that an interview is about.

What one conversation can hold together (as many short recordings as the model compares) becomes one part of
the interview. Anything else is cut into windows, each a part of its own, so that the whole of it is heard.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from NatureLM.audio import long_enough, part_of_recording, plan_windows, probe
from NatureLM.audio.recording import USED
from NatureLM.errors import ConfigError, NatureLMError, RecordingError
from NatureLM.infer.engine import Engine, Recording
from NatureLM.infer.interview import Interview, Part
from NatureLM.models.answering import Candidates

MOST_WINDOWS = 180
"""Half an hour in windows of 10 s; their features stay in memory (some 0.1 MB each)."""

HEARD_AT_ONCE = 4
"""Windows that are encoded together: few, so that others who want the model wait little."""


@dataclass(frozen=True)
class Stretch:
    """A part of a recording, in seconds; to its end where ``end_seconds`` is None."""

    start_seconds: float = 0.0
    end_seconds: float | None = None


@dataclass(frozen=True)
class Listening:
    """How much of the recordings is heard.

    Attributes
    ----------
    heard : int
        Windows that are.
    windows : int
        All of them, as far as headers tell.
    """

    heard: int
    windows: int


def begin_interview(engine: Engine, paths: Sequence[Path], stretch: Stretch = Stretch()) -> Interview:
    """Hear recordings and begin an interview about them; errors are those of :func:`listen`."""
    listening = listen(engine, paths, stretch)
    try:
        while True:
            next(listening)
    except StopIteration as end:
        interview: Interview = end.value
        return interview


def listen(
    engine: Engine,
    paths: Sequence[Path],
    stretch: Stretch = Stretch(),
    turn: AbstractContextManager[Any] | None = None,
    *,
    leave_out: bool = False,
) -> Generator[Listening, None, Interview]:
    """Hear recordings, telling how many windows are heard, and return the interview about them.

    Parameters
    ----------
    engine : Engine
        Its windows are those of recordings that are longer than the model hears at once.
    paths : sequence of Path
    stretch : Stretch
        The part of each that is heard.
    turn : context manager, optional
        Held while the model hears some windows, and given back after them.
    leave_out : bool, default False
        Whether recordings that cannot be heard are left out, with a warning, while there are others.

    Raises
    ------
    ConfigError
        There is no recording, the part makes no sense, or it has too many windows.
    RecordingError
        A recording cannot be read; with ``leave_out``, none can.
    """
    if not paths:
        raise ConfigError("There is no recording; choose one first.")
    if engine.channel == "each":
        raise ConfigError("An interview is about one channel; build the Pipeline with channel 'mix' or 1.")
    _check_stretch(stretch)
    faults = _Faults(leave_out)
    planned: list[_Planned] = []
    for path in paths:
        try:
            planned.append(_planned(engine, path, stretch))
        except (ConfigError, RecordingError) as error:
            faults.add(error)
    parts: list[Part] = []
    if planned and _are_heard_at_once(engine, planned):
        parts = _together(engine, planned, stretch, turn, faults)
    if planned and not parts and not faults.are_of_all(paths):
        parts = yield from _in_windows(engine, planned, stretch, turn, faults)
    if not parts:
        raise faults.as_one()
    return Interview(engine, parts, faults.texts)


@dataclass(frozen=True)
class _Planned:
    """A recording, the seconds of its part and the windows that the part has."""

    path: Path
    seconds: float
    windows: int


class _Faults:
    """What is wrong with recordings; the first fault is raised unless they may be left out."""

    def __init__(self, leave_out: bool) -> None:
        self._leave_out = leave_out
        self._errors: list[NatureLMError] = []
        self.texts: list[str] = []

    def add(self, error: NatureLMError) -> None:
        """Leave a recording out."""
        if not self._leave_out:
            raise error
        self._errors.append(error)
        self.texts.append(str(error))

    def are_of_all(self, paths: Sequence[Path]) -> bool:
        """Whether every recording is left out."""
        return len(self._errors) == len(paths)

    def as_one(self) -> NatureLMError:
        """Return what is to be raised where nothing can be heard."""
        return type(self._errors[0])(" ".join(self.texts))


def _check_stretch(stretch: Stretch) -> None:
    start, end = stretch.start_seconds, stretch.end_seconds
    if start < 0 or (end is not None and end <= start):
        stop = "the end" if end is None else f"{end:g} s"
        raise ConfigError(
            f"There is no part from {start:g} s to {stop}: it begins at 0 s or later and ends after its "
            "beginning. Choose another part."
        )


def _planned(engine: Engine, path: Path, stretch: Stretch) -> _Planned:
    duration = probe(path).duration_seconds
    start = stretch.start_seconds
    end = duration if stretch.end_seconds is None else min(stretch.end_seconds, duration)
    if start >= end:
        raise _without_sound(path, stretch, f"it is {duration:.1f} s long. Choose another part.")
    slower = engine.time_expansion
    windows = plan_windows(
        duration, engine.window_length_seconds / slower, engine.hop_length_seconds / slower
    )
    inside = [window for window in windows if window.start_seconds < end and window.end_seconds > start]
    return _Planned(path, end - start, len(inside))


def _without_sound(path: Path, stretch: Stretch, advice: str) -> ConfigError:
    end = "its end" if stretch.end_seconds is None else f"{stretch.end_seconds:g} s"
    return ConfigError(f"{path.name} has no sound from {stretch.start_seconds:g} to {end}; {advice}")


def _are_heard_at_once(engine: Engine, planned: Sequence[_Planned]) -> bool:
    """Whether one conversation can be about all of them."""
    if max(each.seconds for each in planned) > engine.model.config.max_window_seconds / engine.time_expansion:
        return False
    try:
        engine.model.adapter.check_recordings(len(planned))
    except ConfigError:
        return False
    return True


def _together(
    engine: Engine,
    planned: Sequence[_Planned],
    stretch: Stretch,
    turn: AbstractContextManager[Any] | None,
    faults: _Faults,
) -> list[Part]:
    """Return the one part, or none where a header stated too short a length or nothing can be heard."""
    rate, longest = engine.model.config.sample_rate, engine.model.config.max_window_seconds
    start, end = stretch.start_seconds, stretch.end_seconds
    paths: list[Path] = []
    waveforms: list[npt.NDArray[np.float32]] = []
    damages: list[str] = []
    errors: list[RecordingError] = []
    for path in (each.path for each in planned):
        try:
            waveforms.append(
                part_of_recording(
                    *(path, rate, engine.channel, start, end, longest), engine.time_expansion, damages.append
                )
            )
            paths.append(path)
        except ConfigError:
            return []
        except RecordingError as error:
            errors.append(error)
    for unheard in errors:
        faults.add(unheard)
    if not paths:
        return []
    faults.texts += damages
    seconds = max(map(len, waveforms)) / rate / engine.time_expansion
    with turn or nullcontext():
        features = engine.model.encode_audio(waveforms)
    return [Part(paths, start, start + seconds, features, _candidates(engine, paths))]


def _candidates(engine: Engine, paths: Sequence[Path]) -> list[Candidates] | None:
    """Return what may be named of each recording."""
    named = [engine.candidates_of(_recording(path)) for path in paths]
    return [each for each in named if each is not None] or None


def _recording(path: Path) -> Recording:
    return Recording(path.name, (), path=path)


def _in_windows(
    engine: Engine,
    planned: Sequence[_Planned],
    stretch: Stretch,
    turn: AbstractContextManager[Any] | None,
    faults: _Faults,
) -> Generator[Listening, None, list[Part]]:
    rate = engine.model.config.sample_rate
    windows = sum(each.windows for each in planned)
    _check_windows(windows)
    parts: list[Part] = []
    yield Listening(0, windows)
    for path in (each.path for each in planned):
        before = len(parts)
        try:
            named = _candidates(engine, [path])
            for batch in _batches(_windows_within(engine, path, stretch), engine.batch_size):
                _check_windows(len(parts) + len(batch))
                waveforms = [long_enough(samples, rate) for _, _, samples in batch]
                with turn or nullcontext():
                    features = engine.model.encode_audio(waveforms)
                parts += [
                    Part([path], start, end, [each], named)
                    for (start, end, _), each in zip(batch, features, strict=True)
                ]
                yield Listening(len(parts), max(windows, len(parts)))
        except RecordingError as error:
            if len(parts) > before:
                faults.texts.append(str(error))
            else:
                damage = str(error).removesuffix(USED).rstrip()
                faults.add(RecordingError(f"{damage} Nothing of the part that was asked about is heard."))
        else:
            if len(parts) == before:
                faults.add(_without_sound(path, stretch, "it ends before. Choose another part."))
    return parts


def _check_windows(count: int) -> None:
    if count > MOST_WINDOWS:
        raise ConfigError(
            f"The recordings have more than {MOST_WINDOWS} windows; choose a shorter part, or take Long "
            "recording, which has no limit."
        )


_Window = tuple[float, float, npt.NDArray[np.float32]]


def _batches(windows: Iterator[_Window], most: int) -> Iterator[list[_Window]]:
    """Yield some windows at a time; what is wrong with a recording is raised behind all that it has."""
    batch: list[_Window] = []
    damage: RecordingError | None = None
    try:
        for window in windows:
            batch.append(window)
            if len(batch) == min(most, HEARD_AT_ONCE):
                yield batch
                batch = []
    except RecordingError as error:
        damage = error
    if batch:
        yield batch
    if damage is not None:
        raise damage


def _windows_within(engine: Engine, path: Path, stretch: Stretch) -> Iterator[_Window]:
    """Yield start and end in seconds and the samples of each window, cut to the stretch."""
    rate = engine.model.config.sample_rate * engine.time_expansion
    for item in engine.windows(_recording(path)):
        start, end = item.window.start_seconds, item.window.end_seconds
        if stretch.end_seconds is not None and start >= stretch.end_seconds:
            return
        if end <= stretch.start_seconds:
            continue
        first = max(start, stretch.start_seconds)
        last = end if stretch.end_seconds is None else min(end, stretch.end_seconds)
        yield first, last, item.waveform[round((first - start) * rate) : round((last - start) * rate)]
