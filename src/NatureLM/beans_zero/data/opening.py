"""Which form of the data a path names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from NatureLM.beans_zero.data.arrow import ArrowShards
from NatureLM.beans_zero.data.hub import SPLIT, open_hub
from NatureLM.beans_zero.data.parquet import ParquetShards, local_file
from NatureLM.beans_zero.data.source import Source
from NatureLM.beans_zero.data.table import AudioTable
from NatureLM.errors import ConfigError
from NatureLM.infer.output_names import FAILURES, JOURNAL, RUN, beside
from NatureLM.json_text import parse_json

HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
NOT_DATA = (".", "cache-")
"""What names begin with of hidden files, and of those in which ``datasets`` keeps what it has worked out."""

TABLES = (".csv", ".jsonl")
KINDS = (
    "a folder that save_to_disk wrote, Arrow or Parquet files, or audio files with a table (CSV, JSON lines)"
)


def open_source(data_path: str) -> Source:
    """Return the data at a path, or of that name on the hub.

    Parameters
    ----------
    data_path : str
        A file or folder; a hub id where there is none of that name.

    Raises
    ------
    ConfigError
        There is nothing that could be read.
    DataError
        The hub cannot be reached, or knows no such data set.
    """
    try:
        return _opened(data_path)
    except OSError as error:
        raise ConfigError(
            f"--data-path {data_path}: {error.filename or data_path} cannot be read "
            f"({error.strerror or error}); expected {KINDS}."
        ) from None


def _opened(data_path: str) -> Source:
    path = Path(data_path).expanduser()
    if not path.exists():
        if HUB_NAME.fullmatch(data_path):
            return open_hub(data_path)
        raise ConfigError(f"--data-path {data_path}: does not exist; expected a hub id, {KINDS}.")
    if path.is_file():
        return _open_files(data_path, path.parent, [path])
    folder = _split_of(path)
    if (folder / "state.json").is_file():
        _check_installed(data_path)
        return ArrowShards(data_path, folder, [folder / name for name in _saved_files(folder)])
    for ending in (".parquet", ".arrow"):
        files = sorted(file for file in folder.rglob(f"*{ending}") if not file.name.startswith(NOT_DATA))
        if files:
            return _open_files(data_path, folder, files)
    tables = sorted(file for file in folder.iterdir() if file.suffix.lower() in TABLES)
    tables = [table for table in tables if not _is_of_a_run(table)]
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise ConfigError(f"--data-path {data_path}: holds several tables ({names}); name the one to read.")
    if not tables:
        raise ConfigError(f"--data-path {data_path}: holds no data; expected {KINDS}.")
    return AudioTable(tables[0])


def _is_of_a_run(table: Path) -> bool:
    """Whether a file is what a run of the benchmark leaves: it may have been started in the data's folder."""
    if table.name.endswith(FAILURES) or ".partial" in table.suffixes or _has_record(table):
        return True
    if not table.name.endswith("_metrics.jsonl"):
        return False
    predictions = table.with_name(f"{table.stem.removesuffix('_metrics')}.jsonl")
    return predictions.exists() or _has_record(predictions)


def _has_record(results: Path) -> bool:
    return any(beside(results, ending).exists() for ending in (RUN, JOURNAL))


def _open_files(name: str, folder: Path, files: list[Path]) -> Source:
    ending = files[0].suffix.lower()
    if ending in TABLES:
        return AudioTable(files[0])
    _check_installed(name)
    if ending == ".parquet":
        return ParquetShards(name, folder, [local_file(file) for file in files])
    if ending == ".arrow":
        return ArrowShards(name, folder, files)
    raise ConfigError(f"--data-path {name}: is no data that can be read; expected a hub id, {KINDS}.")


def _split_of(folder: Path) -> Path:
    """Return the folder of the test split where ``save_to_disk`` wrote several."""
    about = folder / "dataset_dict.json"
    if not about.is_file():
        return folder
    splits = [str(split) for split in _json(about).get("splits", [])]
    if SPLIT in splits or len(splits) == 1:
        return folder / (SPLIT if SPLIT in splits else splits[0])
    raise ConfigError(
        f"--data-path {folder}: has no split '{SPLIT}'; name one of its folders {', '.join(splits)}."
    )


def _saved_files(folder: Path) -> list[str]:
    names = [file["filename"] for file in _json(folder / "state.json").get("_data_files", [])]
    if not names or any(Path(name).name != name for name in names):
        raise ConfigError(f"--data-path {folder}: its state.json names no files; save the data set again.")
    return names


def _json(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--data-path {path}: cannot be read ({error}).") from None
    if not isinstance(content, dict):
        raise ConfigError(f"--data-path {path}: is not what save_to_disk writes.")
    return content


def _check_installed(name: str) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise ConfigError(
            f"--data-path {name}: needs pyarrow, which is not installed: pip install -e '.[eval]'."
        ) from None
