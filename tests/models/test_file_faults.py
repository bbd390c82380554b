"""What lies in a model file's place instead of it, and what is said of damage."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from NatureLM.errors import CheckpointError
from NatureLM.models.file_faults import one_line
from NatureLM.models.model_files import ModelFiles
from NatureLM.models.tensor_files import INDEX, open_pickle, open_safetensors, open_weights

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 33000000000\n"
STAND_INS = [
    (POINTER, "is a Git LFS pointer, not the file: fetch it with git lfs pull."),
    (b"\n<!DOCTYPE html><html>Not found</html>", "is a web page, not a model's file: download it again."),
    (b"\xef\xbb\xbf<?xml version='1.0'?><Error/>", "is a web page, not a model's file: download it again."),
    (b"", "is empty: download it again."),
]


@pytest.mark.parametrize(("content", "message"), STAND_INS)
def test_what_stands_in_for_a_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    def assert_said(error: CheckpointError, file: Path) -> None:
        assert str(error) == f"The file {file} {message}"

    for name, read in (("model.pth", open_pickle), ("other.safetensors", open_safetensors)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            read(tmp_path / name)
        assert_said(caught.value, tmp_path / name)
    (tmp_path / INDEX).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        open_weights(tmp_path)
    assert_said(caught.value, tmp_path / INDEX)
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        ModelFiles("m", tmp_path).read_json("config.json")
    assert_said(caught.value, tmp_path / "config.json")


@pytest.mark.parametrize("content", [b"abc", b"\x80\x02" + b"junk" * 10, bytes(range(256)), b"c\n\n." * 20])
def test_garbage_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.pth"
    file.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"is not what torch\.save writes, or is damaged; download it or"
    ):
        open_pickle(file)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_cut_checkpoint_is_damaged_whatever_its_format(tmp_path: Path, zipped: bool) -> None:
    file = tmp_path / "model.pth"
    torch.save({"model": {"a": torch.ones(500)}}, file, _use_new_zipfile_serialization=zipped)
    assert torch.equal(open_pickle(file)["model"]["a"], torch.ones(500))
    whole = file.read_bytes()
    for length in range(1, len(whole), 97):
        file.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"model\.pth"):
            open_pickle(file)


def test_a_reason_is_one_line_that_keeps_what_lines_say() -> None:
    assert one_line(ValueError("Wrong field 'a':\n    expected int.\n")) == "Wrong field 'a': expected int"
    assert one_line(KeyError("sponge")) == "there is no 'sponge'"
    assert one_line(IndexError()) == "IndexError"
    assert len(one_line(ValueError("word " * 1000))) <= 200
