"""The run itself: decode ahead, batch windows across recordings, ask the model, yield in plan order."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from NatureLM.audio import (
    Channel,
    RecorderMetadata,
    RecordingInfo,
    Window,
    array_windows,
    display_path,
    level_dbfs,
    long_enough,
    probe,
    read_metadata,
    recording_windows,
    ultrasonic_warning,
    window_time,
)
from NatureLM.errors import RecordingError
from NatureLM.infer.ahead import DecodeAhead
from NatureLM.infer.answers import Answer, Failure
from NatureLM.infer.asking import ask_about
from NatureLM.infer.candidates import CandidateSource, ListedCandidates
from NatureLM.infer.checks import check_settings, check_window
from NatureLM.infer.fingerprint import model_fingerprint
from NatureLM.infer.kept_features import KeptFeatures
from NatureLM.infer.workers import Answers, Workers
from NatureLM.models.answering import NOTHING_HEARD, AnswerSettings, Candidates, Detection, ModelAnswer

if TYPE_CHECKING:
    from NatureLM.calibration import Calibration
    from NatureLM.models import NatureLM

logger = logging.getLogger("NatureLM.infer")

FAULTS_OF_A_RECORDING = (RecordingError, OSError, RuntimeError, ValueError, MemoryError)
"""What decoding one file can raise (libsndfile and soxr: RuntimeError, ValueError): that file fails, the run
goes on. Other errors are ours, and stop it."""

DECODERS = min(4, os.cpu_count() or 1)
"""Threads that decode: one reads some hundred times real time, and a GPU may want more."""

BATCHES_AHEAD = 2
"""Batches of windows that are decoded ahead at most: 61 MB at 16 windows of 10 s and 48 kHz."""


@dataclass(frozen=True)
class Recording:
    """One recording and what is asked of each of its windows.

    Attributes
    ----------
    name : str
        How answers call it: its path as given, or ``array N``.
    queries : tuple of str
        Questions, each asked of every window.
    path : Path or None
        The file; None for samples in memory.
    samples : array or None
        Samples in memory, as :func:`NatureLM.audio.array_windows` takes them.
    sample_rate : int or None
        Rate in Hz of ``samples``.
    read : callable or None
        Returns samples and their rate; called by a thread that decodes, when the recording's turn comes.
        What it raises is the recording's failure, as with a file.
    answered : int
        How many of its windows have been answered before: they are decoded, but not asked about again.
    answered_until : float or None
        Where in seconds the last of these ended, of a recording that could not be read any further: where it
        ends elsewhere now, the recording can be read by now, and is answered from its beginning.
    """

    name: str
    queries: tuple[str, ...]
    path: Path | None = None
    samples: npt.NDArray[Any] | None = None
    sample_rate: int | None = None
    read: Callable[[], tuple[npt.NDArray[Any], int]] | None = None
    answered: int = 0
    answered_until: float | None = None


@dataclass(frozen=True)
class Opened:
    """A recording is next in line; ``duration_seconds`` is what its header states."""

    audio_path: str
    duration_seconds: float


@dataclass(frozen=True)
class BegunAnew:
    """A recording can be read better than before: answers about it begin again, in the old ones' place."""

    audio_path: str


@dataclass(frozen=True)
class Finished:
    """Every window of a recording that could be decoded has been answered."""

    audio_path: str


Event = Opened | BegunAnew | Answer | Failure | Finished


@dataclass(frozen=True)
class _Heard:
    window: Window
    channel: str
    waveform: npt.NDArray[np.float32]
    metadata: RecorderMetadata
    silent: bool
    candidates: Candidates | None


@dataclass(frozen=True)
class _Warning:
    """What is said of the first recording that it is true of."""

    text: str


_Item = tuple[int, _Heard | Opened | BegunAnew | Failure | Finished]
_Decoded = tuple[int, _Heard | Opened | BegunAnew | Failure | Finished | _Warning]


class Engine:
    """Answers queries about recordings, in the order of the plan, at constant memory.

    Batches hold the windows of the plan one after another, across recordings, so that what shares a
    batch does not depend on timing. Each window is encoded once, whatever the number of queries, and
    queries of about equal length are answered together.

    Parameters
    ----------
    model : NatureLM
    settings : AnswerSettings
    window_length_seconds, hop_length_seconds : float
        Length of a window and distance between the starts of two windows.
    channel : "mix", "each" or int
        Mean of the channels, every channel by itself, or one channel counted from 1.
    batch_size : int
        Windows that go through the model together.
    silence_db : float or None
        Level in dBFS below which a window is answered "None" without the model, see
        :func:`~NatureLM.audio.level_dbfs`; None asks the model about every window.
    time_expansion : float
        Factor by which recordings are slowed before the model hears them. Lengths of windows and hops are
        those of the slowed sound; times in events are those of the recording.
    calibration : Calibration or None
        Gives each detection its probability; one of another model or of other windows is refused.
    candidates : CandidateSource or None
        What answers are restricted to; None restricts nothing.
    decoders : int
        Threads that decode and resample ahead. They change no answer.

    Attributes
    ----------
    workers : Workers or None
        Processes that answer in the place of ``model``, which then only tells what it is; None unless set.
    keep : KeptFeatures or None
        Where the features of all windows that the model is asked about are kept; None unless set.
    whole_windows : bool
        As in :meth:`NatureLM.encode_audio`, without ``workers``; False unless set.

    Raises
    ------
    ConfigError
        A setting that this model cannot honour.
    """

    def __init__(
        self,
        model: NatureLM,
        settings: AnswerSettings,
        *,
        window_length_seconds: float = 10.0,
        hop_length_seconds: float = 10.0,
        channel: Channel = "mix",
        batch_size: int = 16,
        silence_db: float | None = None,
        time_expansion: float = 1.0,
        calibration: Calibration | None = None,
        candidates: CandidateSource | None = None,
        decoders: int = DECODERS,
    ) -> None:
        check_window(model, window_length_seconds, hop_length_seconds)
        check_settings(model, settings)
        if calibration is not None:
            calibration.check(
                model.config.name, model_fingerprint(model), window_length_seconds, time_expansion
            )
        self.model = model
        self.settings = settings
        self.window_length_seconds = window_length_seconds
        self.hop_length_seconds = hop_length_seconds
        self.channel = channel
        self.batch_size = batch_size
        self.silence_db = silence_db
        self.time_expansion = time_expansion
        self.calibration = calibration
        self.candidates = candidates
        self.decoders = decoders
        self.workers: Workers | None = None
        self.keep: KeptFeatures | None = None
        self.whole_windows = False
        self._began = 0.0
        self._decoding: DecodeAhead[_Decoded] | None = None

    def check_query(self, query: str) -> None:
        """Refuse a query that cannot be asked of each recording, or whose answer cannot be restricted.

        Raises
        ------
        ConfigError
            As :meth:`NatureLM.check_query`.
        """
        listed = self.candidates.candidates if isinstance(self.candidates, ListedCandidates) else None
        self.model.check_query(query, settings=self.settings, candidates=listed)

    def run(self, recordings: Sequence[Recording]) -> Generator[tuple[int, Event], None, None]:
        """Yield what happens, each with the place of its recording in ``recordings``.

        For each recording: :class:`Opened`, its answers (window by window, queries in order), then
        :class:`Finished`, or :class:`Failure` once it cannot be read (any further). Closing the generator
        ends the decoding; whoever may leave it early should do so with :func:`contextlib.closing`.
        """
        with closing(self.batches(recordings)) as batches:
            for batch in batches:
                yield from batch

    def batches(self, recordings: Sequence[Recording]) -> Generator[list[tuple[int, Event]], None, None]:
        """Yield what :meth:`run` yields, batch by batch; what no window waits for comes at once."""
        ahead = 0 if self.workers is None else len(self.workers.devices) + 1
        asked: deque[tuple[list[_Item], Future[Answers]]] = deque()
        with closing(self._plan(recordings)) as plan:
            for batch in plan:
                asked.append((batch, self._ask(recordings, batch)))
                if len(asked) > ahead:
                    yield list(self._answer(recordings, *asked.popleft()))
        for batch, answers in asked:
            yield list(self._answer(recordings, batch, answers))

    def _plan(self, recordings: Sequence[Recording]) -> Generator[list[_Item], None, None]:
        """Yield batches of decoded windows, with what else happens between them."""
        decoding = DecodeAhead(
            len(recordings),
            lambda index: self._decode(index, recordings[index]),
            lambda item: isinstance(item[1], _Heard),
            most=BATCHES_AHEAD * self.batch_size,
            threads=self.decoders,
            model_waits=lambda: self.workers is None or self.workers.has_idle,
        )
        self._began, self._decoding = time.perf_counter(), decoding
        warned = False
        batch: list[_Item] = []
        windows = 0
        with closing(iter(decoding)) as decoded:
            for index, item in decoded:
                if isinstance(item, _Warning):
                    if not warned:
                        logger.warning(item.text)
                    warned = True
                    continue
                batch.append((index, item))
                windows += isinstance(item, _Heard)
                if windows in (0, self.batch_size):
                    yield batch
                    batch, windows = [], 0
        if batch:
            yield batch

    @property
    def waiting_for_audio_share(self) -> float:
        """Share of the time since the last run began that the model has waited for audio, in [0, 1]."""
        if self._decoding is None:
            return 0.0
        return self._decoding.waited_seconds / max(time.perf_counter() - self._began, 1e-9)

    def _ask(self, recordings: Sequence[Recording], batch: Sequence[_Item]) -> Future[Answers]:
        # Silent windows keep their places in the batch, so that its other windows are those of the plan.
        heard = [(index, item) for index, item in batch if isinstance(item, _Heard) and not item.silent]
        waveforms = [long_enough(item.waveform, self.model.config.sample_rate) for _, item in heard]
        queries = [recordings[index].queries for index, _ in heard]
        named = [item.candidates for _, item in heard]
        if self.workers is not None and waveforms:
            return self.workers.submit(waveforms, queries, named)
        answers: Future[Answers] = Future()
        features = self.model.encode_audio(waveforms, whole=self.whole_windows) if waveforms else []
        if self.keep is not None:
            self.keep.add(features)
        answers.set_result(ask_about(self.model, self.settings, self.batch_size, features, queries, named))
        return answers

    def _answer(
        self, recordings: Sequence[Recording], batch: Sequence[_Item], answers: Future[Answers]
    ) -> Iterator[tuple[int, Event]]:
        answered = iter(answers.result())
        for index, item in batch:
            if not isinstance(item, _Heard):
                yield index, item
                continue
            queries = recordings[index].queries
            given = [None] * len(queries) if item.silent else next(answered)
            for query, answer in zip(queries, given, strict=True):
                yield index, self._row(recordings[index].name, item, query, answer)

    def _row(self, name: str, heard: _Heard, query: str, answer: ModelAnswer | None) -> Answer:
        recorded_at, start_seconds = heard.metadata.recorded_at, heard.window.start_seconds
        silent = Answer(
            audio_path=name,
            channel=heard.channel,
            start_seconds=start_seconds,
            end_seconds=heard.window.end_seconds,
            query=query,
            output=NOTHING_HEARD,
            confidence=None,
            mean_logprob=None,
            model=self.model.config.name,
            recorded_at=None if recorded_at is None else window_time(recorded_at, start_seconds),
            site=heard.metadata.site,
            silent=heard.silent,
        )
        return silent if answer is None else self.with_answer(silent, answer)

    def with_answer(self, row: Answer, answer: ModelAnswer) -> Answer:
        """Return a row with what the model answers about its window."""
        return replace(
            row,
            output=answer.text,
            confidence=answer.confidence,
            mean_logprob=answer.mean_logprob,
            withheld=answer.withheld,
            detections=[self._calibrated(each) for each in answer.detections],
            scores=answer.scores,
        )

    def _calibrated(self, detection: Detection) -> Detection:
        if self.calibration is None:
            return detection
        return replace(detection, probability=self.calibration.probability(detection))

    def _decode(self, index: int, recording: Recording) -> Generator[_Decoded, None, None]:
        try:
            info, windows = self._open(recording)
            warning = ultrasonic_warning(info, self.model.config.sample_rate, self.time_expansion)
            if warning is not None:
                yield index, _Warning(warning)
            yield index, Opened(recording.name, info.duration_seconds)
            last = deque(islice(windows, recording.answered), maxlen=1)
            if last and recording.answered_until not in (None, last[0].window.end_seconds):
                yield index, BegunAnew(recording.name)
                windows = self.windows(recording)
            for heard in windows:
                yield index, heard
        except FAULTS_OF_A_RECORDING as error:
            logger.debug("%s failed", recording.name, exc_info=True)
            yield index, Failure(recording.name, _reason(error, recording.name))
        else:
            yield index, Finished(recording.name)

    def windows(self, recording: Recording) -> Iterator[_Heard]:
        """Return the windows of a recording, decoded as they are asked for."""
        return self._open(recording)[1]

    def _open(self, recording: Recording) -> tuple[RecordingInfo, Iterator[_Heard]]:
        rate = self.model.config.sample_rate
        length, hop, slower = self.window_length_seconds, self.hop_length_seconds, self.time_expansion
        if recording.path is not None:
            info = probe(recording.path)
            metadata = read_metadata(recording.path)
            windows = recording_windows(recording.path, rate, length, hop, self.channel, slower)
            named = self._named(recording.name, metadata)
            return info, (
                self._hear(window, channel, waveform, metadata, named)
                for window, channel, waveform in windows
            )
        samples, sample_rate = recording.samples, recording.sample_rate
        if recording.read is not None:
            samples, sample_rate = recording.read()
        assert samples is not None and sample_rate is not None
        info = _info(recording.name, samples, sample_rate)
        mixed = array_windows(samples, sample_rate, rate, length, hop, slower)
        unknown = RecorderMetadata()
        named = self._named(recording.name, unknown)
        return info, (self._hear(window, "mix", waveform, unknown, named) for window, waveform in mixed)

    def candidates_of(self, recording: Recording) -> Candidates | None:
        """Return what may be named of a recording; None restricts nothing."""
        if self.candidates is None or recording.path is None:
            return self._named(recording.name, RecorderMetadata())
        return self._named(recording.name, read_metadata(recording.path))

    def _named(self, name: str, metadata: RecorderMetadata) -> Candidates | None:
        return None if self.candidates is None else self.candidates.of(name, metadata.recorded_at)

    def _hear(
        self,
        window: Window,
        channel: str,
        waveform: npt.NDArray[np.float32],
        metadata: RecorderMetadata,
        candidates: Candidates | None,
    ) -> _Heard:
        silent = self.silence_db is not None and level_dbfs(waveform) < self.silence_db
        return _Heard(window, channel, waveform, metadata, silent, candidates)


def _info(name: str, samples: npt.NDArray[Any], sample_rate: int) -> RecordingInfo:
    frames, channels = max(samples.shape, default=0), min(samples.shape[1:], default=1)
    return RecordingInfo(Path(name), sample_rate, channels, frames, frames / sample_rate)


def _reason(error: Exception, name: str) -> str:
    """Return the error's sentence, with the recording's name in it."""
    shown, sentence = display_path(name), " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, RecordingError):
        return f"{shown} cannot be decoded ({sentence}); replace it by an intact copy, or leave it out."
    return sentence if Path(shown).name in sentence else f"{shown}: {sentence}"
