"""What every form of the data offers: the text of all rows first, the sound of a row when its turn comes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from NatureLM.errors import ConfigError

FIELDS = (
    "dataset_name",
    "output",
    "instruction",
    "instruction_text",
    "id",
    "metadata",
)
"""Columns of text that a run reads; of the instructions one is enough, the last two may be missing."""

NEEDED = ("dataset_name", "output")
AUDIO = "audio"

Stamp = tuple[int, int]
"""Tells the state of the file that holds a row: its size in bytes, and its time of change or revision."""

Signal = tuple[npt.NDArray[np.generic], int]
"""Samples, and their rate in Hz."""


@dataclass(frozen=True)
class Fields:
    """The text of a row.

    Attributes
    ----------
    place : int
        Of the row in the data, counted from 0.
    values : mapping
        Those of :data:`FIELDS` that the data have.
    stamp : tuple of int
        Of the file that holds the row.
    """

    place: int
    values: Mapping[str, Any]
    stamp: Stamp


class Sounds(Protocol):
    """Reads the sound of rows; several threads may ask at once."""

    def read(self, place: int, seconds: float, sample_rate: int | None) -> Signal:
        """Return the first ``seconds`` of a row's sound, as long as it is.

        Parameters
        ----------
        place : int
            One of those that the sounds were asked for; each may be read once.
        seconds : float
        sample_rate : int or None
            Rate in Hz of bare samples; audio files know their own.

        Raises
        ------
        RecordingError, OSError, ValueError, RuntimeError
            This row's sound cannot be had.
        """


class Source(Protocol):
    """A copy of the benchmark, or of a part of it."""

    name: str
    """How messages call it."""

    def fields(self, components: Collection[str]) -> Iterator[Fields]:
        """Yield the text of the rows, in order; of others than these components they may be left out.

        With no components, all rows.

        Raises
        ------
        ConfigError
            A column is missing.
        DataError
            The text cannot be read.
        """

    def sounds(self, places: Sequence[int]) -> Sounds:
        """Return what reads the sound of the rows at these places, in their ascending order."""


def check_columns(file: str, columns: Collection[str], audio: Sequence[str] = (AUDIO,)) -> list[str]:
    """Return the columns of text that are there.

    Parameters
    ----------
    file : str
        That has them.
    columns : collection of str
    audio : sequence of str
        Names that the column of sound may have.

    Raises
    ------
    ConfigError
        One that is needed is missing.
    """
    missing = [column for column in NEEDED if column not in columns]
    if not {"instruction", "instruction_text"} & set(columns):
        missing.append("instruction")
    if not set(audio) & set(columns):
        missing.append(AUDIO)
    if missing:
        raise ConfigError(
            f"--data-path: {file} has no column '{missing[0]}', so it is no copy of BEANS-Zero; needed are "
            f"dataset_name, output, instruction and audio, found {', '.join(columns) or 'none'}."
        )
    return [column for column in FIELDS if column in columns]
