"""Annotations for Raven, Audacity and Kaleidoscope: what was heard, where in which recording."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from NatureLM.infer.writers.places import Header, place_of, read_header
from NatureLM.infer.writers.tables import csv_line

RAVEN_COLUMNS = (
    *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"),
    *("Common Name", "Scientific Name", "Confidence", "File Offset (s)", "Begin Path"),
)
PROBABILITY_COLUMN = "Probability"
"""At the end of Raven's and Kaleidoscope's tables, where a calibration was given."""

QUESTION_COLUMN = "Question"
"""At the very end of Raven's and Kaleidoscope's tables, where several questions were asked: each has rows of
its own."""

RAVEN_ENDING = ".NatureLM.selections.txt"
_MORE = {PROBABILITY_COLUMN: "probability", QUESTION_COLUMN: "query"}

KALEIDOSCOPE_COLUMNS = (
    *("INDIR", "FOLDER", "IN FILE", "OFFSET", "DURATION", "TOP1MATCH"),
    *("SCIENTIFIC NAME", "CONFIDENCE", "CHANNEL"),
)
"""Kaleidoscope counts channels from 0: mono and left are 0."""


class RavenCombinedWriter:
    """One Raven selection table over all recordings, as Raven opens them one after another.

    Parameters
    ----------
    path : path
        File to be created.
    calibrated : bool
        Whether detections have a probability, which has a column then.
    several_queries : bool
        Whether several questions were asked; they have a column then.
    """

    def __init__(self, path: Path, *, calibrated: bool = False, several_queries: bool = False) -> None:
        self._file = _create(path)
        self._file.write(_raven_header(calibrated, several_queries))
        self._calibrated = calibrated
        self._several_queries = several_queries
        self._selection = 0
        self._offset = 0.0
        self._recording: str | None = None
        self._heard_until = 0.0

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one annotation; one without a label only tells of its recording."""
        header = read_header(row["audio_path"])
        if row["audio_path"] != self._recording:
            if self._recording is not None:
                duration = read_header(self._recording).duration_seconds
                self._offset += self._heard_until if duration is None else duration
            self._recording, self._heard_until = row["audio_path"], 0.0
        self._heard_until = max(self._heard_until, row["end_seconds"])
        if row["label"] is not None:
            self._selection += 1
            place = (self._selection, self._offset, header.path, header.nyquist_hz)
            self._file.write(_selection(row, *place, self._calibrated, self._several_queries))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


class RecordingFilesWriter:
    """A folder with one file per recording, in folders like those of the recordings.

    Parameters
    ----------
    folder : path
        To be created.
    root : str
        The folder that all recordings share.
    """

    ending = ""
    first_line = ""

    def __init__(self, folder: Path, root: str) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._root = root
        self._recording: str | None = None
        self._file: TextIO | None = None
        self._number = 0

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one annotation; one without a label only tells of its recording."""
        if row["audio_path"] != self._recording or self._file is None:
            self.close()
            self._recording, self._number = row["audio_path"], 0
            self._file = _create(self._new_path(row["audio_path"]))
            self._file.write(self.first_line)
        if row["label"] is not None:
            self._number += 1
            self._file.write(self.line(row, self._number))

    def line(self, row: Mapping[str, Any], number: int) -> str:
        """Return the line of the recording's annotation of this number, from 1."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish the file that is open."""
        if self._file is not None:
            self._file.close()

    def _new_path(self, audio_path: str) -> Path:
        """Return the recording's file; the second of one stem (a.flac, a.wav) is named with its suffix."""
        place = place_of(audio_path, self._root)
        folder = self._folder / place.drive / place.folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{Path(place.name).stem}{self.ending}"
        number = 1
        while path.exists():
            again = "" if number == 1 else f".{number}"
            path = folder / f"{place.name}{again}{self.ending}"
            number += 1
        return path


class RavenWriter(RecordingFilesWriter):
    """A Raven selection table per recording.

    Parameters
    ----------
    folder : path
        To be created.
    root : str
        The folder that all recordings share.
    header_of : callable
        Returns a recording's header.
    calibrated : bool
        Whether detections have a probability, which has a column then.
    several_queries : bool
        Whether several questions were asked; they have a column then.
    """

    ending = RAVEN_ENDING

    def __init__(
        self,
        folder: Path,
        root: str,
        header_of: Callable[[str], Header] = read_header,
        *,
        calibrated: bool = False,
        several_queries: bool = False,
    ) -> None:
        super().__init__(folder, root)
        self.first_line = _raven_header(calibrated, several_queries)
        self._several_queries = several_queries
        self._header_of = header_of
        self._calibrated = calibrated

    def line(self, row: Mapping[str, Any], number: int) -> str:
        """Return a line of the table."""
        header = self._header_of(row["audio_path"])
        place = (number, 0.0, header.path, header.nyquist_hz)
        return _selection(row, *place, self._calibrated, self._several_queries)


class AudacityWriter(RecordingFilesWriter):
    """A file of Audacity labels per recording."""

    ending = ".txt"

    def line(self, row: Mapping[str, Any], number: int) -> str:
        """Return start, end and label."""
        return _tabbed(f"{row['start_seconds']:.6f}", f"{row['end_seconds']:.6f}", row["label"])


class KaleidoscopeWriter:
    """A CSV that Kaleidoscope opens: a row per annotation, offset and duration in seconds.

    Parameters
    ----------
    path : path
        File to be created.
    root : str
        The folder that all recordings share (``INDIR``).
    calibrated : bool
        Whether detections have a probability, which has a column then.
    several_queries : bool
        Whether several questions were asked; they have a column then.
    """

    def __init__(
        self, path: Path, root: str, *, calibrated: bool = False, several_queries: bool = False
    ) -> None:
        self._file = _create(path)
        self._root = root
        self._more = [PROBABILITY_COLUMN] * calibrated + [QUESTION_COLUMN] * several_queries
        self._file.write(csv_line([*KALEIDOSCOPE_COLUMNS, *(name.upper() for name in self._more)]))

    def write(self, row: Mapping[str, Any]) -> None:
        """Write one annotation; one without a label is left out."""
        if row["label"] is None:
            return
        place = place_of(row["audio_path"], self._root)
        start, end = row["start_seconds"], row["end_seconds"]
        self._file.write(
            csv_line(
                [
                    *(place.root, place.folder, place.name, _number(start), _number(end - start)),
                    *(row["label"], row["scientific_name"], row["certainty"], int(_channel(row)) - 1),
                    *(row.get(_MORE[name]) for name in self._more),
                ]
            )
        )

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def _raven_header(calibrated: bool, several_queries: bool) -> str:
    probability = [PROBABILITY_COLUMN] if calibrated else []
    return _tabbed(*RAVEN_COLUMNS, *probability, *([QUESTION_COLUMN] if several_queries else []))


def _selection(
    row: Mapping[str, Any],
    number: int,
    offset: float,
    path: str,
    nyquist_hz: float,
    calibrated: bool,
    several_queries: bool,
) -> str:
    start, end = row["start_seconds"], row["end_seconds"]
    probability = row.get("probability")
    return _tabbed(
        *(number, "Spectrogram 1", _channel(row), _number(offset + start), _number(offset + end)),
        *(_number(0.0), _number(nyquist_hz), row["label"], row["scientific_name"] or ""),
        *("" if row["certainty"] is None else row["certainty"], _number(start), path),
        *(["" if probability is None else probability] if calibrated else []),
        *([row["query"] or ""] if several_queries else []),
    )


def _channel(row: Mapping[str, Any]) -> str:
    return "1" if row["channel"] == "mix" else str(row["channel"])


def _number(value: float) -> str:
    """Return a number to the microsecond, always with a point."""
    return repr(round(float(value), 6))


def _tabbed(*values: object) -> str:
    """Return a tab-separated line; tabs and line breaks within a value become spaces."""
    return (
        "\t".join(" ".join(re.split(r"[\t\x0a-\x0d\x1c-\x1e\x85\u2028\u2029]+", str(v))) for v in values)
        + "\n"
    )


def _create(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
