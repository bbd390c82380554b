"""The Python API: recordings and questions in, text or a stream of answers out."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from NatureLM.audio import Channel
from NatureLM.config import typed_values
from NatureLM.errors import ConfigError
from NatureLM.infer.answers import Answer, Failure, recording_text
from NatureLM.infer.audios import Audio, as_list, recordings_of
from NatureLM.infer.building import build_engine
from NatureLM.infer.candidate_lists import Names, candidate_options
from NatureLM.infer.conversation import Conversation, begin_conversation
from NatureLM.infer.engine import Engine, Recording
from NatureLM.infer.interview import Interview
from NatureLM.infer.journaled import LoggingObserver, Observer
from NatureLM.infer.listening import Stretch, begin_interview
from NatureLM.infer.run import RunRequest, Summary, run_inference
from NatureLM.infer.settings import Configuration, read_configuration, requested
from NatureLM.infer.streaming import answers_of, recordings_error, stream_answers
from NatureLM.infer.writers import COLUMNS, long_columns, long_rows

if TYPE_CHECKING:
    import pandas

    from NatureLM.models import NatureLM


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
    calibration : path, optional
        File of ``naturelm calibrate``; detections then have a ``probability``.
    num_beams, max_new_tokens, min_evidence, max_species, min_confidence, merging_alpha : optional
        As in :class:`~NatureLM.models.answering.AnswerSettings`; the configuration's unless given.
    candidates : str, path or sequence of str, optional
        What answers may name: a file with a name a line, names with commas between, or the names themselves.
    known_names : str, path or sequence of str, optional
        Names that answers are only held to, without scores (published model).
    latitude, longitude, week, date, range_threshold, ignore_unknown, top_k : optional
        As in :class:`~NatureLM.config.CandidatesConfig`.
    overrides : sequence of str
        Any other setting of the configuration, as on the command line: ``"generation.temperature=0.5"``.

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
        calibration: str | os.PathLike[str] | None = None,
        num_beams: int | None = None,
        max_new_tokens: int | None = None,
        min_evidence: float | None = None,
        max_species: int | None = None,
        min_confidence: float | None = None,
        merging_alpha: float | None = None,
        candidates: Names | None = None,
        known_names: Names | None = None,
        ignore_unknown: bool | None = None,
        top_k: int | None = None,
        latitude: float | None = None,
        longitude: float | None = None,
        week: int | None = None,
        date: str | datetime.date | None = None,
        range_threshold: float | None = None,
        overrides: Sequence[str] = (),
    ) -> None:
        typed: dict[str, Any] = {
            "num_beams": num_beams,
            "max_new_tokens": max_new_tokens,
            "min_evidence": min_evidence,
            "max_species": max_species,
            "min_confidence": min_confidence,
            "merging_alpha": merging_alpha,
        }
        options: dict[str, Any] = {
            "device": device,
            "batch_size": batch_size,
            "channel": channel,
            "time_expansion": time_expansion,
            "silence_db": silence_db,
            "calibration": None if calibration is None else os.fspath(calibration),
        }
        options |= {f"generation.{name}": value for name, value in typed.items()}
        options |= candidate_options(
            candidates,
            known_names,
            ignore_unknown=ignore_unknown,
            top_k=top_k,
            latitude=latitude,
            longitude=longitude,
            week=week,
            date=date,
            range_threshold=range_threshold,
        )
        configuration = read_configuration(cfg_path, overrides, options)
        if model is not None:
            named: dict[str, Any] = {"model": requested(model)}
            if "fallback" not in typed_values(overrides):
                named["fallback"] = None
            configuration = replace(configuration, config=configuration.config.model_copy(update=named))
        self._build(configuration, None if isinstance(model, (str, os.PathLike)) else model)

    @classmethod
    def configured(cls, configuration: Configuration) -> Pipeline:
        """Return the pipeline that a configuration describes; errors are those of the class."""
        pipeline = cls.__new__(cls)
        pipeline._build(configuration)
        return pipeline

    def _build(self, configuration: Configuration, model: NatureLM | None = None) -> None:
        engine = build_engine(configuration, model)
        self.configuration = configuration
        self.model = engine.model
        self.settings = engine.settings
        self.batch_size = engine.batch_size
        self.channel: Channel = engine.channel
        self.time_expansion = engine.time_expansion
        self.silence_db = engine.silence_db
        self.calibration = engine.calibration
        self.candidates = engine.candidates
        self._check_query = engine.check_query
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
            without one 10.0, unless given. With a length alone, windows follow one another.
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
        audios = as_list(audios)
        asked = [queries] * len(audios) if isinstance(queries, str) else list(queries)
        if len(asked) != len(audios):
            raise ConfigError(
                f"{len(asked)} queries for {len(audios)} recordings: give one query, or one for each "
                "recording; to ask several of every recording, use Pipeline.answers."
            )
        recordings = self._recordings(audios, [(query,) for query in asked], input_sample_rate)
        engine = self.engine(window_length_seconds, hop_length_seconds)
        answers: list[list[Answer]] = [[] for _ in audios]
        failures: list[Failure] = []
        for index, answer in answers_of(engine, recordings, on_failure or failures.append):
            answers[index].append(answer)
        texts = [recording_text(rows, name_channel=self.channel == "each") for rows in answers]
        if failures:
            raise recordings_error(failures, len(recordings), texts)
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
        audios = as_list(audios)
        asked = (queries,) if isinstance(queries, str) else tuple(queries)
        recordings = self._recordings(audios, [asked] * len(audios), input_sample_rate)
        engine = self.engine(window_length_seconds, hop_length_seconds)
        return stream_answers(engine, recordings, on_failure)

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
            return pandas.DataFrame(
                long_rows(rows, merge=merge_consecutive), columns=long_columns(self.calibration is not None)
            )
        return pandas.DataFrame(rows, columns=COLUMNS)

    def write(
        self,
        audios: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        queries: str | Sequence[str],
        output_path: str | os.PathLike[str],
        window_length_seconds: float | None = None,
        hop_length_seconds: float | None = None,
        *,
        formats: str | Sequence[str] | None = None,
        long: bool = False,
        merge_consecutive: bool = False,
        overwrite: bool = False,
        strict: bool = False,
        workers: int = 1,
        devices: Sequence[str] = (),
        observer: Observer | None = None,
    ) -> Summary:
        """Answer queries about files and write the files that ``naturelm infer`` writes, bit for bit.

        Parameters
        ----------
        audios : path or sequence of paths
            Files, and folders to be searched; they are answered in the order of their names.
        queries : str or sequence of str
            All of them are asked of every window.
        output_path : path
            As ``--output-path``: its ending says the format, unless ``formats`` does.
        window_length_seconds, hop_length_seconds : float, optional
            As in :meth:`__call__`.
        formats, long, merge_consecutive : optional
            As in :func:`~NatureLM.infer.writers.write_tables`.
        overwrite : bool
            Whether files that exist are replaced.
        strict : bool
            Whether the run stops at the first recording that cannot be read.
        workers, devices : optional
            As ``--workers`` and ``--devices``: further processes load the model by its name, and answer.
        observer : Observer, optional
            Told what happens; without one, messages go to the logger ``NatureLM.infer``.

        Returns
        -------
        Summary
            Counts, and where the files are. Recordings that failed are counted and listed in
            ``failures_path``, not raised.

        Raises
        ------
        ConfigError
            Something asked for is wrong, or samples in memory were passed; nothing was done.
        RecordingError
            With ``strict``; the answers so far are kept in files that end in ``.partial``.
        NatureLMError
            A file cannot be written; the answers so far are kept, and the same call goes on from them.
        """
        paths = as_list(audios)
        if not all(isinstance(path, (str, os.PathLike)) for path in paths):
            raise ConfigError(
                "Pipeline.write reads files; for samples in memory, pass Pipeline.answers to write_tables."
            )
        request = RunRequest(
            audio_paths=[Path(os.fspath(path)) for path in paths],  # type: ignore[arg-type]
            queries=(queries,) if isinstance(queries, str) else tuple(queries),
            output=Path(output_path),
            overwrite=overwrite,
            formats=(formats,) if isinstance(formats, str) else tuple(formats or ()),
            long=long,
            merge_consecutive=merge_consecutive,
            strict=strict,
            workers=workers,
            devices=devices,
            configuration=self.configuration,
        )
        engine = self.engine(window_length_seconds, hop_length_seconds)
        return run_inference(request, observer or LoggingObserver(), engine)

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
        audios = as_list(audios)
        self.model.adapter.check_recordings(len(audios))
        unasked = [("",)] * len(audios)  # each question is checked when it comes
        recordings = recordings_of(audios, unasked, input_sample_rate, self.channel)
        longest = self.model.config.max_window_seconds
        engine = self.engine(longest, longest, calibrated=False)  # a calibration is of windows as in runs
        return begin_conversation(engine, recordings, start_seconds, end_seconds)

    def interview(
        self,
        audios: Sequence[str | os.PathLike[str]],
        *,
        start_seconds: float = 0.0,
        end_seconds: float | None = None,
    ) -> Interview:
        """Begin an interview: questions about all that some recordings hold, however many and long.

        Parameters
        ----------
        audios : sequence of paths
        start_seconds, end_seconds : float, optional
            The part of each file that the interview is about; all of it, unless given.

        Raises
        ------
        ConfigError, RecordingError
            As :meth:`conversation`, but for the length and the number of recordings.
        """
        paths = [Path(path) for path in audios]
        part = Stretch(start_seconds, end_seconds)
        return begin_interview(self.engine(), paths, part)

    def engine(
        self,
        window_length_seconds: float | None = None,
        hop_length_seconds: float | None = None,
        *,
        calibrated: bool = True,
    ) -> Engine:
        """Return the engine that answers; parameters and errors are those of :meth:`__call__`.

        Without ``calibrated`` its detections have no probabilities.
        """
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
            calibration=self.calibration if calibrated else None,
            candidates=self.candidates,
        )

    def _recordings(
        self, audios: Sequence[Audio], queries: Sequence[tuple[str, ...]], input_sample_rate: int | None
    ) -> list[Recording]:
        self._check_queries(queries)
        return recordings_of(audios, queries, input_sample_rate, self.channel)

    def _check_queries(self, queries: Iterable[tuple[str, ...]]) -> None:
        for asked in set(queries):
            for query in asked or ("",):
                self._check_query(query)
