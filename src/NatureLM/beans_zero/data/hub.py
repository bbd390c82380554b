"""A data set of the Hugging Face hub, read where it lies: no more of it than the rows asked for take."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from NatureLM.beans_zero.data.parquet import ParquetFile, ParquetShards
from NatureLM.errors import ConfigError, DataError

SPLIT = "test"
CONFIGURATION = "BEANS-Zero"
"""Read where a data set has several: programs that load the benchmark name this one."""

TIMEOUT_SECONDS = 5.0

BLOCK_BYTES = 2**20
"""Asked of the hub at a time: the text of a row group often fits into one."""


def open_hub(name: str) -> ParquetShards:
    """Return the test split of a data set of the hub.

    Which files it has is what ``datasets`` says; they are then read in place, by ranges of bytes.

    Parameters
    ----------
    name : str
        Such as ``EarthSpeciesProject/BEANS-Zero``.

    Raises
    ------
    ConfigError
        ``datasets`` is not installed, or the data set has another form.
    DataError
        The hub cannot be reached, or knows no such data set.
    """
    try:
        import datasets
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise ConfigError(
            f"--data-path {name}: reading from the hub needs the package datasets, which is not installed: "
            "pip install -e '.[eval]'."
        ) from None
    _check_reachable(name)
    try:
        known = datasets.get_dataset_config_names(name)
        builder = datasets.load_dataset_builder(name, CONFIGURATION if CONFIGURATION in known else None)
    except Exception as error:  # of many libraries
        raise _unavailable(name, error) from None
    files = (builder.config.data_files or {}).get(SPLIT, [])
    if not files:
        raise ConfigError(f"--data-path {name}: has no split '{SPLIT}' that could be read in place.")
    other = next((file for file in files if not str(file).endswith(".parquet")), None)
    if other is not None:
        raise ConfigError(
            f"--data-path {name}: only Parquet files are read from the hub, and it holds {other}; "
            f"download it (hf download {name} --repo-type dataset --local-dir FOLDER), and name the folder."
        )
    return ParquetShards(name, None, [_file(str(file)) for file in files])


def _check_reachable(name: str) -> None:
    """Ask the hub once, without retries: whoever is offline is told so within seconds."""
    from huggingface_hub import HfApi

    try:
        HfApi().dataset_info(name, timeout=TIMEOUT_SECONDS)
    except Exception as error:  # not found, no login, no network, each of another kind
        raise _unavailable(name, error) from None


def _unavailable(name: str, error: Exception) -> DataError:
    reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return DataError(
        f"--data-path {name}: there is no such file or folder here, and no such data set can be had from the "
        f"hub ({reason}); check the name and the network, or name a copy on this machine."
    )


@contextmanager
def faults_as_os_errors() -> Iterator[None]:
    """Raise as OSError what goes wrong on the network: the hub's own errors are of no such kind."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # httpx's, and whatever else a library beneath it has
        raise OSError(f"{type(error).__name__}: {error}") from error


class Remote(io.RawIOBase):
    """A file of the hub, whose faults are OSErrors.

    Parameters
    ----------
    file : file
        As fsspec opens it.
    """

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Change the position; return it."""
        with faults_as_os_errors():
            return int(self._file.seek(offset, whence))

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, fewer than asked for only at the end."""
        with faults_as_os_errors():
            return bytes(self._file.read(size))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _file(url: str) -> ParquetFile:
    """Return a file of the hub; its address holds the revision, which stands for the time of change."""
    from fsspec.core import url_to_fs

    def opened() -> Any:
        with faults_as_os_errors():
            files, path = url_to_fs(url)
            return Remote(files.open(path, "rb", block_size=BLOCK_BYTES, cache_type="blockcache"))

    return ParquetFile(url, opened, (0, zlib.crc32(url.encode())))
