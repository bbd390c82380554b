"""The mean of several models' weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from NatureLM.errors import CheckpointError
from NatureLM.training.averaging import average


def made_model(folder: Path, **weights: list[float]) -> Path:
    folder.mkdir()
    save_file({name: torch.tensor(values) for name, values in weights.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(folder.name)
    return folder


def test_the_mean_of_three(tmp_path: Path) -> None:
    models = [
        made_model(tmp_path / name, a=[value, 2.0], b=[3 * value])
        for name, value in (("first", 1.0), ("second", 2.0), ("third", 6.0))
    ]
    average(models, tmp_path / "mean")
    mean = load_file(tmp_path / "mean" / "model.safetensors")
    assert {name: (tensor.dtype, tensor.tolist()) for name, tensor in mean.items()} == {
        "a": (torch.float16, [3.0, 2.0]),
        "b": (torch.float16, [9.0]),
    }
    assert (tmp_path / "mean" / "config.json").read_text() == "first"
    assert sorted(path.name for path in (tmp_path / "mean").iterdir()) == ["config.json", "model.safetensors"]


def test_models_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    first = made_model(tmp_path / "first", a=[1.0])
    other = made_model(tmp_path / "other", a=[1.0, 2.0])
    with pytest.raises(CheckpointError, match=r"other/model\.safetensors: expected weights of the shape"):
        average([first, other], tmp_path / "mean")
    (other / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        average([first, other], tmp_path / "mean")
    with pytest.raises(CheckpointError, match=r"nowhere"):
        average([tmp_path / "nowhere"], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
