"""The first seconds of a row's sound, from whatever its ``audio`` cell holds."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from NatureLM.audio import display_path, probe, stream
from NatureLM.beans_zero.data.source import Signal
from NatureLM.errors import RecordingError

MOST_HZ = 10_000_000
"""Above every recorder's rate; a row's 10 s are padded to 400 MB of it."""


def sound_of(cell: Any, seconds: float, sample_rate: int | None, folder: Path | None) -> Signal:
    """Return the first seconds of the sound in an Arrow scalar.

    Parameters
    ----------
    cell : pyarrow.Scalar
        A list of samples; a decoded audio feature (``array`` and ``sampling_rate``); one that is not
        (``bytes`` of a file, or its ``path``); bytes, or a path, alone.
    seconds : float
    sample_rate : int or None
        Of a list of samples, in Hz.
    folder : Path or None
        Where paths begin.

    Raises
    ------
    RecordingError
        There is no sound, or it cannot be read.
    """
    import pyarrow as pa

    if not cell.is_valid:
        raise RecordingError("its audio is null; leave the row out, or replace the file that holds it.")
    if pa.types.is_struct(cell.type):
        names = {field.name for field in cell.type}
        if "array" in names:
            rate = _rate(cell["sampling_rate"].as_py()) if "sampling_rate" in names else sample_rate
            return _samples(cell["array"], seconds, rate)
        if "bytes" in names and cell["bytes"].is_valid:
            return _decoded(cell["bytes"].as_buffer(), seconds)
        if "path" in names and cell["path"].is_valid:
            return read_file(_beneath(folder, cell["path"].as_py()), seconds)
    if pa.types.is_binary(cell.type) or pa.types.is_large_binary(cell.type):
        return _decoded(cell.as_buffer(), seconds)
    if pa.types.is_string(cell.type) or pa.types.is_large_string(cell.type):
        return read_file(_beneath(folder, cell.as_py()), seconds)
    return _samples(cell, seconds, sample_rate)


def read_file(path: Path, seconds: float) -> Signal:
    """Return the first seconds of an audio file, mixed to mono, at its own rate.

    Raises
    ------
    RecordingError
        It cannot be read that far.
    """
    rate = _rate(probe(path).sample_rate)
    wanted, pieces, count = round(seconds * rate), [], 0
    with closing(stream(path, rate)) as decoded:  # type: ignore[type-var]  # it is a generator
        for piece in decoded:
            pieces.append(piece[: wanted - count])
            count += len(pieces[-1])
            if count == wanted:
                break
    return np.concatenate(pieces), rate


def _samples(cell: Any, seconds: float, sample_rate: int | None) -> Signal:
    import pyarrow as pa

    values = getattr(cell, "values", None)
    if not isinstance(values, pa.Array) or not (
        pa.types.is_floating(values.type) or pa.types.is_signed_integer(values.type)
    ):
        raise RecordingError(f"its audio is {cell.type}; expected a list of samples, or an audio file.")
    if not len(values):
        raise RecordingError(
            "its audio has no samples; leave the row out, or replace the file that holds it."
        )
    if sample_rate is None:
        raise RecordingError(
            'its metadata name no sample_rate; expected JSON such as {"sample_rate": 16000}.'
        )
    first = values.slice(0, round(seconds * _rate(sample_rate)))
    samples = np.array(first.to_numpy(zero_copy_only=False))  # a copy: what it points to may go
    return _whole(samples), sample_rate


def _rate(value: Any) -> int:
    """Return a rate in Hz, whatever an audio feature, a row's metadata or a file's header state."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 1 <= value <= MOST_HZ or value != int(value):
        raise RecordingError(
            f"its sampling rate is {value!r}; expected a whole number of Hz from 1 to {MOST_HZ:,}."
        )
    return int(value)


def _whole(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return samples, all of which are numbers: a row is heard whole, or not at all."""
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # too large for float32, which models hear, becomes infinite
            samples = samples.astype(np.float32, copy=False)
    wrong = np.flatnonzero(~np.isfinite(samples))
    if len(wrong):
        raise RecordingError(
            f"its sample {wrong[0]} is no finite number; leave the row out, or replace the file that holds "
            "it."
        )
    return samples


def _decoded(content: Any, seconds: float) -> Signal:
    """Return the first seconds of a file's bytes, read as a file on disk: what is damaged there is here."""
    with TemporaryDirectory(prefix="naturelm-beans-") as folder:
        path = Path(folder, "audio")
        path.write_bytes(content)
        try:
            return read_file(path, seconds)
        except RecordingError as error:
            raise RecordingError(str(error).replace(display_path(path), "its audio")) from None


def _beneath(folder: Path | None, path: str) -> Path:
    if folder is None:
        raise RecordingError(f"its audio is the path {path}, which leads nowhere from the hub.")
    return folder / path
