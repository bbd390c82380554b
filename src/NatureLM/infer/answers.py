"""What a run gives: an answer per window and query, and the recordings that failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from NatureLM.errors import RecordingError
from NatureLM.models.answering import Detection


@dataclass(frozen=True)
class Answer:
    """The answer to one query about one window of a recording; a row of the results.

    Attributes
    ----------
    audio_path : str
        The recording as it was given (``array 1``, ``array 2``, ... for samples in memory).
    channel : str
        ``mix`` or the number of the channel, counted from 1.
    start_seconds, end_seconds : float
        The window's place in the recording; the end never exceeds the recording's.
    query : str
        The question.
    output : str
        The answer in words.
    confidence : float or None
        Geometric mean of the probabilities of the answer's tokens, in [0, 1]; None for a silent window.
    mean_logprob : float or None
        Mean log-probability of the answer's tokens; None for a silent window.
    model : str
        Name of the model that answered.
    recorded_at : str or None
        Date and time of the window's start (ISO 8601), if known: in the time zone that the recorder states,
        without one where it states none.
    site : str or None
        Place of recording as the recorder calls it, if known.
    silent : bool
        Whether the window lies below the level of silence asked for, so that the model was not asked.
    withheld : str or None
        The answer that the model gave, where its confidence is below the least one asked for; ``output`` is
        then None, in words.
    detections : list of Detection
        The species that the answer names.
    scores : dict of str to float, or None
        How each candidate fares, best first; None where the answer is not restricted to candidates.
    """

    audio_path: str
    channel: str
    start_seconds: float
    end_seconds: float
    query: str
    output: str
    confidence: float | None
    mean_logprob: float | None
    model: str
    recorded_at: str | None = None
    site: str | None = None
    silent: bool = False
    withheld: str | None = None
    detections: list[Detection] = field(default_factory=list)
    scores: dict[str, float] | None = None

    def as_row(self) -> dict[str, Any]:
        """Return the row that goes into the results, columns in their order, scores to six decimals.

        Detections have a ``probability`` where there is one: where a calibration was given.
        """
        row = asdict(self)
        for score in ("confidence", "mean_logprob"):
            if row[score] is not None:
                row[score] = round(row[score], 6)
        for detection in row["detections"]:
            if detection["score"] is not None:
                detection["score"] = round(detection["score"], 6)
            if detection["probability"] is None:
                del detection["probability"]
            else:
                detection["probability"] = round(detection["probability"], 6)
        if row["scores"] is not None:
            row["scores"] = {label: round(score, 6) for label, score in row["scores"].items()}
        return row


@dataclass(frozen=True)
class Failure:
    """A recording that could not be answered, or only in part.

    Attributes
    ----------
    audio_path : str
        The recording as it was given.
    reason : str
        What is wrong with it, in one sentence.
    """

    audio_path: str
    reason: str

    def as_row(self) -> dict[str, Any]:
        """Return the row that goes into the list of failures."""
        return asdict(self)


class RecordingsError(RecordingError):
    """Some of several recordings could not be read, all others were answered.

    Attributes
    ----------
    failures : list of Failure
        What is wrong with each recording that failed.
    texts : list of str
        The text of every recording, in the order asked; that of one that failed ends where it did, and is
        empty if it could not be read at all. Empty where answers were streamed.
    """

    def __init__(self, message: str, failures: Sequence[Failure] = (), texts: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.failures = list(failures)
        self.texts = list(texts)


def answer_line(answer: Answer, *, name_channel: bool = False) -> str:
    """Return ``#0.00s - 10.00s#: Green Treefrog``; ``name_channel`` adds the channel after the times.

    Examples
    --------
    >>> answer_line(Answer("a.wav", "mix", 0.0, 10.0, "Which species?", "Green Treefrog", 0.9, -0.1, "m"))
    '#0.00s - 10.00s#: Green Treefrog'
    """
    channel = f", channel {answer.channel}" if name_channel and answer.channel != "mix" else ""
    return f"#{answer.start_seconds:.2f}s - {answer.end_seconds:.2f}s{channel}#: {answer.output}"


def recording_text(answers: Iterable[Answer], *, name_channel: bool = False) -> str:
    """Return a recording's answers as text, a line with its line break per window."""
    return "".join(f"{answer_line(answer, name_channel=name_channel)}\n" for answer in answers)
