"""The Python API: recordings and questions in, text or a stream of answers out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from NatureLM.audio import Channel, is_folder
from NatureLM.errors import ConfigError
from NatureLM.infer.answers import Answer, Failure, RecordingsError, recording_text
from NatureLM.infer.building import build_engine
from NatureLM.infer.conversation import Conversation, part_of_recording
from NatureLM.infer.engine import Engine, Recording
from NatureLM.infer.settings import read_configuration
from NatureLM.infer.writers import COLUMNS, LONG_COLUMNS, long_rows

if TYPE_CHECKING:
    import pandas

    from NatureLM.models import NatureLM

Audio = str | os.PathLike[str] | npt.ArrayLike
"""A path, or samples as an array or tensor: [samples], [channels, samples] or [samples, channels]."""


class Pipeline:
    r"""Asks a model about recordings.

    Parameters
    ----------
    model : NatureLM or str, optional
        A loaded model (used where it is), ``"bundled"``, a hub id or a folder. Without it the
        configuration's model, and without a configuration the bundled one.
    cfg_path : path, optional
        YAML file such as ``configs/inference.yml``. Its ``fallback`` and its ``generation`` settings hold
        for the ``model`` that it names, not for another one that answers.
    device : {"auto", "cpu", "cuda", "mps"}, optional
        Where a model named here is loaded; the configuration's device unless given.
    batch_size : int, optional
        Windows that go through the model together; the configuration's (16) unless given.
    channel : "mix", "each" or int, optional
        Mean of the channels, every channel by itself, or one channel counted from 1.
    time_expansion : float, optional
        Factor by which recordings are slowed before the model hears them, for ultrasonic calls. Lengths of
        windows and hops are those of the slowed sound, times in answers those of the recording.
    silence_db : float, optional
        Level in dBFS below which windows are answered "None" without the model.
    num_beams, max_new_tokens, min_evidence, max_species, merging_alpha : optional
        As in :class:`~NatureLM.models.answering.AnswerSettings`; the configuration's unless given.

    Raises
    ------
    ConfigError
        A configuration or setting is wrong, or the model cannot honour it.
    ModelUnavailableError, CheckpointError
        The model cannot be had or loaded.

    Examples
    --------
    >>> from NatureLM.infer import Pipeline
    >>> pipeline = Pipeline()
    >>> query = "What is the common name for the focal species in the audio?"
    >>> pipeline(["frog.mp3"], query)  # doctest: +SKIP
    ['#0.00s - 10.00s#: Green Treefrog\n']
    """

    def __init__(
        self,
        model: NatureLM | str | os.PathLike[str] | None = None,
        cfg_path: str | os.PathLike[str] | None = None,
        device: str | None = None,
        batch_size: int | None = None,
        *,
        channel: Channel | None = None,
        time_expansion: float | None = None,
        silence_db: float | None = None,
        num_beams: int | None = None,
        max_new_tokens: int | None = None,
        min_evidence: float | None = None,
        max_species: int | None = None,
        merging_alpha: float | None = None,
    ) -> None:
        typed: dict[str, Any] = {
            "num_beams": num_beams,
            "max_new_tokens": max_new_tokens,
            "min_evidence": min_evidence,
            "max_species": max_species,
            "merging_alpha": merging_alpha,
        }
        options: dict[str, Any] = {
            "device": device,
            "batch_size": batch_size,
            "channel": channel,
            "time_expansion": time_expansion,
            "silence_db": silence_db,
        }
        options |= {f"generation.{name}": value for name, value in typed.items()}
        configuration = read_configuration(cfg_path, options=options)
        if isinstance(model, (str, os.PathLike)):
            named = {"model": os.fspath(model), "fallback": None}
            configuration = replace(configuration, config=configuration.config.model_copy(update=named))
            model = None
        engine = build_engine(configuration, model)
        self.model = engine.model
        self.settings = engine.settings
        self.batch_size = engine.batch_size
        self.channel: Channel = engine.channel
        self.time_expansion = engine.time_expansion
        self.silence_db = engine.silence_db
        self.window_length_seconds = engine.window_length_seconds
        self.hop_length_seconds = engine.hop_length_seconds

    def __call__(
        self,
        audios: Audio | Sequence[Audio],
        queries: str | Sequence[str],
        window_length_seconds: float | None = None,
        hop_length_seconds: float | None = None,
        input_sample_rate: int | None = None,
        *,
        on_failure: Callable[[Failure], None] | None = None,
    ) -> list[str]:
        """Answer one query about each recording.

        Parameters
        ----------
        audios : path or array, or a sequence of them
            Recordings. Arrays hold floats in [-1, 1] or integers of 8 to 32 bits, [samples],
            [channels, samples] or [samples, channels] (the shorter axis is the channels), and are mixed;
            an array or tensor is one recording.
        queries : str or sequence of str
            One query for all recordings, or one for each.
        window_length_seconds, hop_length_seconds : float, optional
            Length of a window and distance between the starts of two windows; the configuration's, and
            without one 10.0, unless given.
        input_sample_rate : int, optional
            Rate in Hz of the arrays; paths know their own.
        on_failure : callable, optional
            Told of each recording that cannot be read; the text of that one ends where it failed.

        Returns
        -------
        list of str
            One text per recording, a line ``#0.00s - 10.00s#: Green Treefrog`` per window.

        Raises
        ------
        RecordingsError
            Without ``on_failure``, once all others are done: recordings cannot be read. Its ``texts`` is
            the list that would have been returned (the text of a recording ends where it failed, so it is
            empty for one that cannot be read at all), its ``failures`` says why.
        RecordingError
            At once: a path does not exist.
        ConfigError
            At once: a window that the model does not hear whole, a query that it cannot be asked, another
            number of queries than recordings, or arrays without ``input_sample_rate``.

        Examples
        --------
        >>> try:
        ...     texts = pipeline(paths, "Caption the audio")
        ... except RecordingsError as error:
        ...     texts, failures = error.texts, error.failures  # doctest: +SKIP
        """
        audios = _as_list(audios)
        asked = [queries] * len(audios) if isinstance(queries, str) else list(queries)
        if len(asked) != len(audios):
            raise ConfigError(
                f"{len(asked)} queries for {len(audios)} recordings: give one query, or one for each "
                "recording; to ask several of every recording, use Pipeline.answers."
            )
        recordings = self._recordings(audios, [(query,) for query in asked], input_sample_rate)
        engine = self._engine(window_length_seconds, hop_length_seconds)
        answers: list[list[Answer]] = [[] for _ in audios]
        failures: list[Failure] = []
        for index, answer in _answers(engine, recordings, on_failure or failures.append):
            answers[index].append(answer)
        texts = [recording_text(rows, name_channel=self.channel == "each") for rows in answers]
        if failures:
            raise _recordings_error(failures, len(recordings), texts)
        return texts

    def answers(
        self,
        audios: Audio | Sequence[Audio],
        queries: str | Sequence[str],
        window_length_seconds: float | None = None,
        hop_length_seconds: float | None = None,
        input_sample_rate: int | None = None,
        *,
        on_failure: Callable[[Failure], None] | None = None,
    ) -> Iterator[Answer]:
        """Stream answers as they come; every query is asked of every window, which is encoded once.

        Parameters are those of :meth:`__call__`, but for ``queries``: all of them are asked of each
        recording. Arguments are checked before the first answer is asked for.

        Yields
        ------
        Answer
            Recording by recording, window by window, queries in order.

        Raises
        ------
        RecordingsError, RecordingError, ConfigError
            As :meth:`__call__`, but ``texts`` is empty: every answer has been given.
        """
        audios = _as_list(audios)
        asked = (queries,) if isinstance(queries, str) else tuple(queries)
        recordings = self._recordings(audios, [asked] * len(audios), input_sample_rate)
        engine = self._engine(window_length_seconds, hop_length_seconds)
        return _stream(engine, recordings, on_failure)

    def to_dataframe(
        self,
        audios: Audio | Sequence[Audio],
        queries: str | Sequence[str],
        window_length_seconds: float | None = None,
        hop_length_seconds: float | None = None,
        input_sample_rate: int | None = None,
        *,
        long: bool = False,
        merge_consecutive: bool = False,
        on_failure: Callable[[Failure], None] | None = None,
    ) -> pandas.DataFrame:
        """Return answers as a pandas table, with the columns of the results files.

        Parameters are those of :meth:`answers`, and ``long`` and ``merge_consecutive`` as in
        :func:`~NatureLM.infer.writers.write_tables`. Pass ``on_failure`` where the answers to the other
        recordings must not be lost if one cannot be read.

        Raises
        ------
        RecordingsError, RecordingError, ConfigError
            As :meth:`answers`; also without pandas, or with ``merge_consecutive`` but not ``long``.
        """
        if merge_consecutive and not long:
            raise ConfigError("merge_consecutive=True is for rows per species; pass long=True with it.")
        try:
            import pandas
        except ImportError:
            raise ConfigError(
                "to_dataframe needs pandas, which is not installed: pip install pandas."
            ) from None
        answers = self.answers(
            *(audios, queries, window_length_seconds, hop_length_seconds, input_sample_rate),
            on_failure=on_failure,
        )
        rows = (answer.as_row() for answer in answers)
        if long:
            return pandas.DataFrame(long_rows(rows, merge=merge_consecutive), columns=LONG_COLUMNS)
        return pandas.DataFrame(rows, columns=COLUMNS)

    def conversation(
        self,
        audios: Audio | Sequence[Audio],
        input_sample_rate: int | None = None,
        *,
        start_seconds: float = 0.0,
        end_seconds: float | None = None,
    ) -> Conversation:
        """Begin a conversation about one recording, or about two that are to be compared.

        Parameters
        ----------
        audios : path or array, or a sequence of them
            As for :meth:`__call__`; each is heard whole.
        input_sample_rate : int, optional
            Rate in Hz of the arrays.
        start_seconds, end_seconds : float, optional
            The part of each file that the conversation is about; all of it, unless given.

        Raises
        ------
        ConfigError
            If the part is longer than the model hears at once, or there are more recordings than it compares.
        RecordingError
            If a recording cannot be read.
        """
        if self.channel == "each":
            raise ConfigError(
                "A conversation is about one channel; build the Pipeline with channel 'mix' or 1."
            )
        audios = _as_list(audios)
        self.model.adapter.check_recordings(len(audios))
        recordings = self._recordings(audios, [("?",)] * len(audios), input_sample_rate)
        rate, longest = self.model.config.sample_rate, self.model.config.max_window_seconds
        heard = []
        for recording in recordings:
            if recording.path is not None:
                heard.append(
                    part_of_recording(
                        *(recording.path, rate, self.channel, start_seconds, end_seconds, longest),
                        self.time_expansion,
                    )
                )
                continue
            # Samples in memory are cut by whoever holds them; longer ones are refused.
            windows = list(islice(self._engine(longest, longest).windows(recording), 2))
            if len(windows) > 1 or start_seconds or end_seconds is not None:
                raise ConfigError(
                    f"{recording.name}: pass just the samples that the conversation is about, at most "
                    f"{longest:g} s of them; start_seconds and end_seconds are for files."
                )
            heard.append(windows[0].waveform)
        return Conversation(self.model, self.model.encode_audio(heard), self.settings)

    def _engine(
        self, window_length_seconds: float | None = None, hop_length_seconds: float | None = None
    ) -> Engine:
        length, hop = window_length_seconds, hop_length_seconds
        if hop is None:
            hop = self.hop_length_seconds if length is None else length
        return Engine(
            self.model,
            self.settings,
            window_length_seconds=self.window_length_seconds if length is None else length,
            hop_length_seconds=hop,
            channel=self.channel,
            batch_size=self.batch_size,
            silence_db=self.silence_db,
            time_expansion=self.time_expansion,
        )

    def _recordings(
        self, audios: Sequence[Audio], queries: Sequence[tuple[str, ...]], input_sample_rate: int | None
    ) -> list[Recording]:
        self._check_queries(queries)
        recordings = []
        for number, (audio, asked) in enumerate(zip(audios, queries, strict=True), start=1):
            if isinstance(audio, (str, os.PathLike)):
                path = Path(audio)
                is_folder(path)  # says at once if there is no such path
                recordings.append(Recording(os.fspath(audio), asked, path=path))
                continue
            if input_sample_rate is None or input_sample_rate <= 0:
                raise ConfigError("Arrays need input_sample_rate, their rate in Hz, for example 48000.")
            if self.channel != "mix":
                raise ConfigError(
                    f"Arrays are mixed to mono, so channel {self.channel!r} cannot be had of them; "
                    "pass the channel itself."
                )
            recordings.append(
                Recording(f"array {number}", asked, samples=_samples(audio), sample_rate=input_sample_rate)
            )
        return recordings

    def _check_queries(self, queries: Iterable[tuple[str, ...]]) -> None:
        for asked in set(queries):
            for query in asked or ("",):
                self.model.check_query(query)


def _answers(
    engine: Engine, recordings: Sequence[Recording], on_failure: Callable[[Failure], Any]
) -> Iterator[tuple[int, Answer]]:
    with closing(engine.run(recordings)) as events:
        for index, event in events:
            if isinstance(event, Answer):
                yield index, event
            elif isinstance(event, Failure):
                on_failure(event)


def _stream(
    engine: Engine, recordings: Sequence[Recording], on_failure: Callable[[Failure], None] | None
) -> Iterator[Answer]:
    failures: list[Failure] = []
    for _, answer in _answers(engine, recordings, on_failure or failures.append):
        yield answer
    if failures:
        raise _recordings_error(failures, len(recordings))


def _recordings_error(failures: Sequence[Failure], asked: int, texts: Sequence[str] = ()) -> RecordingsError:
    reasons = " ".join(failure.reason for failure in failures)
    others = " (the others' are in this error's texts)" if texts else ""
    return RecordingsError(
        f"{len(failures)} of {asked} recordings could not be read{others}: {reasons}", failures, texts
    )


def _as_list(audios: Audio | Sequence[Audio]) -> list[Audio]:
    """Return the recordings; an array or tensor is one, unless it holds paths (a table's column)."""
    if isinstance(audios, (str, os.PathLike)):
        return [audios]
    holds_paths = getattr(getattr(audios, "dtype", None), "kind", "") in ("O", "U")
    if (hasattr(audios, "ndim") or hasattr(audios, "__array__")) and not holds_paths:
        return [cast(Audio, audios)]
    return list(cast("Sequence[Audio]", audios))


def _samples(audio: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return the samples of an array, tensor (on any device) or nested list.

    Raises
    ------
    ConfigError
        A single number: a list of samples was taken for a list of recordings.
    """
    if hasattr(audio, "detach"):
        audio = audio.detach().cpu()
    samples = np.asarray(audio)
    if samples.ndim == 0:
        raise ConfigError(
            f"{audio!r} is no recording; pass samples as an array, for example numpy.array(samples)."
        )
    return samples
