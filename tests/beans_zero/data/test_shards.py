"""Arrow and Parquet files: the same rows and sounds, no more of them read than is asked for."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from NatureLM.beans_zero.data import Source, open_source
from NatureLM.beans_zero.data.hub import Remote, _file, open_hub
from NatureLM.beans_zero.data.parquet import ParquetFile, ParquetShards, local_file
from NatureLM.errors import ConfigError, DataError, RecordingError

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra eval)")


def write_arrow(table: Any, path: Path, *, of_file_format: bool = False) -> None:
    new = pa.ipc.new_file if of_file_format else pa.ipc.new_stream
    with pa.OSFile(str(path), "wb") as file, new(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)


@pytest.fixture(params=["arrow", "arrow file format", "saved", "saved dict", "parquet", "hub layout"])
def source(
    request: pytest.FixtureRequest,
    mini_table: Any,
    mini_parquet: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Source:
    if request.param.startswith("arrow"):
        write_arrow(mini_table[:7], tmp_path / "data-0.arrow", of_file_format="file" in request.param)
        write_arrow(mini_table[7:], tmp_path / "data-1.arrow")
        return open_source(str(tmp_path))
    if request.param == "parquet":
        return open_source(str(mini_parquet))
    datasets = pytest.importorskip("datasets", reason="datasets is not installed (extra eval)")
    if request.param == "hub layout":
        (tmp_path / "README.md").write_text(
            "---\nconfigs:\n- config_name: BEANS-Zero\n  data_files:\n"
            "  - split: test\n    path: shard*\n---\n"
        )
        for shard in mini_parquet.iterdir():
            (tmp_path / shard.name).symlink_to(shard)
        monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
        return open_hub(str(tmp_path))
    saved = datasets.Dataset(datasets.table.InMemoryTable(mini_table))
    if request.param == "saved dict":
        saved = datasets.DatasetDict({"test": saved, "other": saved.select(range(1))})
    saved.save_to_disk(tmp_path / "saved")
    return open_source(str(tmp_path / "saved"))


def test_every_form_gives_the_rows_and_their_sound(source: Source, mini_rows: list[dict[str, Any]]) -> None:
    fields = list(source.fields(()))
    assert [each.place for each in fields] == list(range(len(mini_rows)))
    for each, row in zip(fields, mini_rows, strict=True):
        text = ("dataset_name", "output", "instruction", "instruction_text", "id", "metadata")
        assert each.values == {name: row[name] for name in text}
    sounds = source.sounds([1, 6, 9])
    for place in (6, 1, 9):  # as threads may ask
        samples, rate = sounds.read(place, 3.0, 48_000)
        assert rate == 48_000
        np.testing.assert_array_equal(samples, mini_rows[place]["audio"][: 3 * 48_000])


def test_row_groups_without_rows_that_are_asked_for_are_not_read(
    mini_parquet: Path, mini_rows: list[dict[str, Any]]
) -> None:
    opened = []

    def noting(file: ParquetFile) -> ParquetFile:
        def open_it() -> Any:
            opened.append(Path(file.name).name)
            return file.open()

        return ParquetFile(file.name, open_it, file.stamp)

    files = [noting(local_file(path)) for path in sorted(mini_parquet.iterdir())]
    data = ParquetShards("mini", None, files)
    assert [each.place for each in data.fields({"captioning"})] == [8, 9, 10, 11]  # whole row groups
    opened.clear()
    sounds = data.sounds([10, 11])
    np.testing.assert_array_equal(sounds.read(10, 1.0, 48_000)[0], mini_rows[10]["audio"][:48_000])
    sounds.read(11, 1.0, 48_000)
    assert set(opened) == {"shard_1.parquet"}


def test_damage_takes_the_rows_of_its_row_group_only(mini_parquet: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    copy = tmp_path / "shard.parquet"
    content = bytearray((mini_parquet / "shard_0.parquet").read_bytes())
    audio = pyarrow.parquet.ParquetFile(mini_parquet / "shard_0.parquet").metadata.row_group(1).column(0)
    content[audio.data_page_offset : audio.data_page_offset + 64] = b"\xff" * 64
    copy.write_bytes(content)
    data = open_source(str(copy))
    assert len(list(data.fields(()))) == 5
    sounds = data.sounds(range(5))
    for place in (0, 1, 4):
        assert len(sounds.read(place, 1.0, 16_000)[0]) == 16_000
    for place in (2, 3):
        with pytest.raises(RecordingError, match="its audio cannot be read"):
            sounds.read(place, 1.0, 16_000)


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_a_file_that_is_cut_off_is_named(
    ending: str, mini_table: Any, mini_parquet: Path, tmp_path: Path
) -> None:
    whole = mini_parquet / "shard_0.parquet"
    if ending == "arrow":
        whole = tmp_path / "whole"
        write_arrow(mini_table, whole)
    cut = tmp_path / f"cut.{ending}"
    cut.write_bytes(whole.read_bytes()[:200])
    with pytest.raises(DataError, match=rf"cut\.{ending}: cannot be read as {ending.capitalize()}"):
        list(open_source(str(cut)).fields(()))


def test_a_shard_without_rows_is_passed_over(mini_table: Any, tmp_path: Path) -> None:
    write_arrow(mini_table[:0], tmp_path / "data-0.arrow", of_file_format=True)
    write_arrow(mini_table[:2], tmp_path / "data-1.arrow", of_file_format=True)
    data = open_source(str(tmp_path))
    assert [each.place for each in data.fields(())] == [0, 1]
    expected = mini_table["audio"][1].values.to_numpy()[:16_000]
    np.testing.assert_array_equal(data.sounds([1]).read(1, 1.0, 16_000)[0], expected)


def test_text_that_is_no_utf8_is_named(mini_table: Any, tmp_path: Path) -> None:
    place = mini_table.schema.get_field_index("output")
    wrong = pa.array([b"\xff\xfe"] * len(mini_table)).view(pa.string())
    write_arrow(mini_table.set_column(place, "output", wrong), tmp_path / "a.arrow")
    with pytest.raises(DataError, match=r"a\.arrow: its text cannot be read"):
        list(open_source(str(tmp_path)).fields(()))


class Broken(io.BytesIO):
    """A file of the hub whose network goes down; the error is of no kind that Python knows.

    Its end can be read: the last bytes, as many as given, where Parquet has its index.
    """

    class NetworkError(Exception):
        pass

    def __init__(self, content: bytes, readable: int = 0) -> None:
        super().__init__(content)
        self._readable_from = len(content) - readable

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() < self._readable_from:
            raise self.NetworkError("connection reset")
        return super().read(size)


def test_faults_of_the_network_are_told_as_those_of_a_file(mini_parquet: Path) -> None:
    whole = mini_parquet / "shard_0.parquet"
    for readable, told in ((0, "cannot be read as Parquet"), (2**16, "its text cannot be read")):
        broken = ParquetFile(
            "hf://a.parquet", lambda end=readable: Remote(Broken(whole.read_bytes(), end)), (0, 0)
        )
        with pytest.raises(
            DataError, match=rf"hf://a\.parquet: {told} \(NetworkError: connection reset\)\.$"
        ):
            list(ParquetShards("a", None, [broken]).fields(()))
    opened = iter((lambda: Remote(whole.open("rb")), lambda: Remote(Broken(whole.read_bytes()))))
    shards = ParquetShards("a", None, [ParquetFile("a", lambda: next(opened)(), (0, 0))])
    assert len(list(shards.fields(()))) > 0
    with pytest.raises(RecordingError, match=r"its audio cannot be read \(.*NetworkError: connection"):
        shards.sounds([0]).read(0, 1.0, 16_000)


def test_a_file_of_the_hub_that_cannot_be_opened_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed (extra eval)")

    class Hub:
        def open(self, *_: object, **__: object) -> object:
            raise Broken.NetworkError("connection refused")

    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url: (Hub(), url))
    files = [_file("hf://a.parquet")]
    with pytest.raises(
        DataError, match=r"hf://a\.parquet: cannot be read as Parquet \(NetworkError: connection refused\)\.$"
    ):
        list(ParquetShards("a", None, files).fields(()))


@pytest.mark.parametrize("column", ["output", "audio"])
@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_a_column_that_is_missing_is_named(ending: str, column: str, mini_table: Any, tmp_path: Path) -> None:
    import pyarrow.parquet

    path = tmp_path / f"a.{ending}"
    table = mini_table.drop_columns([column])
    if ending == "arrow":
        write_arrow(table, path)
    else:
        pyarrow.parquet.write_table(table, path)
    with pytest.raises(ConfigError, match=rf"a\.{ending} has no column '{column}', so it is no copy"):
        list(open_source(str(tmp_path)).fields(()))


def test_the_hub_is_named_when_it_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets", reason="datasets is not installed (extra eval)")

    def unreachable(hub: Any, name: str, timeout: float) -> Any:
        assert (name, timeout) == ("a/b", 5.0)
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", unreachable)
    with pytest.raises(
        DataError, match=r"a/b: there is no such file .* had from the hub \(no network\); check the name"
    ):
        open_source("a/b")
