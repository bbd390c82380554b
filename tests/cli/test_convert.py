"""`naturelm convert`: between the published code's layout and ours, value for value."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from NatureLM.cli import main
from NatureLM.cli.running import run
from NatureLM.config import InferenceConfig
from NatureLM.errors import ModelUnavailableError
from NatureLM.infer.building import build_engine
from NatureLM.infer.settings import Configuration
from NatureLM.models import checkpoint_names as names
from NatureLM.models.loading import load_model
from NatureLM.models.naturelm import NatureLM


def convert(*arguments: object) -> int:
    return run(main.app, "naturelm", ["convert", *map(str, arguments)])


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype, name
        assert torch.equal(tensor, second[name]), name


def test_to_our_form_and_back_every_bit_is_kept(
    published: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, back = tmp_path / "deep" / "own", tmp_path / "back"
    assert convert(published.folder, own) == 0
    said = capsys.readouterr().out
    assert f"Wrote NatureLM-audio to {own}." in said
    assert "CreativeCommons" in said.replace(" ", "")
    assert "Built with Llama" in said
    assert_equal(
        NatureLM.from_pretrained(own).state_dict(), NatureLM.from_pretrained(published.folder).state_dict()
    )
    assert convert(own, back, "--to", "upstream") == 0
    assert_equal(load_file(back / "model.safetensors"), load_file(published.folder / "model.safetensors"))
    assert json.loads((back / "config.json").read_text()) == json.loads(
        (published.folder / "config.json").read_text()
    )
    with (
        safe_open(back / "model.safetensors", framework="pt") as ours,
        safe_open(published.folder / "model.safetensors", framework="pt") as theirs,
    ):
        assert ours.metadata() == theirs.metadata()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["back", "deep"]  # nothing half-written


def test_a_converted_folder_needs_no_other(made: Any, tmp_path: Path) -> None:
    assert convert(made.folder, tmp_path / "own", "--dtype", "bfloat16") == 0
    files = {file.name for file in (tmp_path / "own").iterdir()}
    assert files == {
        "LICENSE",
        "NOTICE",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert "LLAMA COMMUNITY LICENSE" in (tmp_path / "own" / "LICENSE").read_text()
    model = NatureLM.from_pretrained(tmp_path / "own", dtype="auto")
    assert model.get_input_embeddings().weight.dtype == torch.bfloat16
    assert next(model.audio_encoder.parameters()).dtype == torch.float32
    mode = (tmp_path / "own").stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    assert os.name == "nt" or mode == 0o777 & ~umask


def test_without_llama_a_delta_is_written(made: Any, tmp_path: Path) -> None:
    assert convert(made.folder, tmp_path / "delta", "--to", "upstream", "--without-llama") == 0
    whole, delta = (load_file(folder / "model.safetensors") for folder in (made.folder, tmp_path / "delta"))
    left_out = set(whole) - set(delta)
    assert left_out
    assert all(name.startswith("llama_model.") and ".lora_" not in name for name in left_out)
    assert "llama_embed_tokens.weight" in delta
    model = NatureLM.from_pretrained(tmp_path / "delta", llama_path=made.llama)
    assert torch.equal(
        model.language_model.model.norm.weight,
        load_file(made.llama / "model.safetensors")["model.norm.weight"],
    )
    again = tmp_path / "whole"
    assert convert(tmp_path / "delta", again, "--llama-path", made.llama) == 0
    assert_equal(NatureLM.from_pretrained(again).state_dict(), model.state_dict())


def test_a_delta_says_where_its_llama_is(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, own, delta = tmp_path / "source", tmp_path / "own", tmp_path / "delta"
    shutil.copytree(made.folder, source, ignore=shutil.ignore_patterns("llama"))
    shutil.copytree(made.llama, source / "llama")
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "llama_path": "llama"}))

    assert convert(source, tmp_path / "near", "--to", "upstream", "--without-llama") == 0
    found = json.loads((tmp_path / "near" / "config.json").read_text())["llama_path"]
    assert found == str((source / "llama").resolve())
    expected = NatureLM.from_pretrained(tmp_path / "near").state_dict()
    norm = load_file(made.llama / "model.safetensors")["model.norm.weight"]
    assert torch.equal(expected["language_model.model.norm.weight"], norm)

    assert convert(source, own) == 0
    assert convert(own, delta, "--to", "upstream", "--without-llama") == 2
    assert "names 'llama' as its Llama, which is no folder; say by --llama-path" in capsys.readouterr().err
    assert not delta.exists()
    assert convert(own, delta, "--to", "upstream", "--without-llama", "--llama-path", made.llama) == 0
    assert_equal(NatureLM.from_pretrained(delta).state_dict(), expected)

    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(source, elsewhere, ignore=shutil.ignore_patterns("llama"))
    with pytest.raises(ModelUnavailableError, match="name its folder: llama_path=FOLDER"):
        load_model(elsewhere, device="cpu")
    settings = {"model": str(elsewhere), "llama_path": str(made.llama)}
    engine = build_engine(Configuration(InferenceConfig.model_validate(settings), str(elsewhere)))
    assert engine.model.llama_path == str(made.llama)
    assert_equal(engine.model.state_dict(), NatureLM.from_pretrained(source).state_dict())


def test_the_bundled_model_has_our_form_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("bundled", tmp_path / "own") == 0
    assert "Llama" not in capsys.readouterr().out
    assert_equal(
        NatureLM.from_pretrained(tmp_path / "own").state_dict(),
        NatureLM.from_pretrained("bundled").state_dict(),
    )
    assert convert("bundled", tmp_path / "other", "--to", "upstream") == 1
    assert "naturelm-lite has no counterpart in the published code" in capsys.readouterr().err


def test_bad_usage_is_one_line(made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    assert convert(made.folder, tmp_path / "taken") == 2
    assert "exists already; name a folder that does not" in capsys.readouterr().err
    assert convert(made.folder, tmp_path / "new", "--without-llama") == 2
    assert "--to upstream only" in capsys.readouterr().err
    assert convert(tmp_path / "nowhere", tmp_path / "new") == 1
    assert "There is no model folder" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("form", ["own", "upstream"])
def test_an_empty_folder_is_filled_also_where_the_user_stands(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = tmp_path.stat().st_ino
    assert convert(made.folder, ".", "--to", form) == 0
    assert tmp_path.stat().st_ino == before  # the shell still stands in it
    assert {"config.json", "model.safetensors"} <= {file.name for file in tmp_path.iterdir()}
    assert not list(tmp_path.glob(".*"))
    assert convert(made.folder, ".") == 2  # it is taken now
    NatureLM.from_pretrained(tmp_path, **({} if form == "own" else {"llama_path": made.llama}))


def test_an_empty_folder_stays_empty_where_writing_fails(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def fail_last(source: Path, target: Path) -> None:
        if Path(target).name == "config.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr("os.replace", fail_last)
    assert convert(made.folder, tmp_path) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path} could not be written (No space left on device), and nothing of it was left" in said
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_is_said_and_nothing_is_left(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # as if no more than that fitted
        status = convert(made.folder, tmp_path / "own")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert status == 1
    assert f"{tmp_path / 'own'} could not be written (File too large)" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_a_folder_is_one_line(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path / "file" / "x", tmp_path / "file" / "x" / "y"):
        assert convert(made.folder, target) == 2
        said = capsys.readouterr().err
        assert f"The folder {target} cannot be written: {tmp_path / 'file'} is a file; name another" in said
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert convert(made.folder, tmp_path / "link") == 2
    assert "exists already" in capsys.readouterr().err
    assert convert(made.folder, tmp_path / ("x" * 300)) == 2
    assert "name another folder" in capsys.readouterr().err


def test_a_full_disk_is_said_before_anything_is_written(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10, 9, 1))
    assert convert(made.folder, tmp_path / "own") == 1
    assert "only 0.0 GB are free there; name a folder on another disk" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_cannot_be_read_to_its_end_is_named(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = shutil.copytree(made.folder, tmp_path / "source")
    usage = shutil.disk_usage

    def cut(path: Path) -> Any:  # opened already, and not written yet
        os.truncate(source / "model.safetensors", (source / "model.safetensors").stat().st_size // 2)
        return usage(path)

    monkeypatch.setattr("shutil.disk_usage", cut)
    assert convert(source, tmp_path / "own") == 1
    said = capsys.readouterr().err
    assert f"The file {source / 'model.safetensors'} cannot be read: " in said
    assert "Traceback" not in said
    assert [file.name for file in tmp_path.iterdir()] == ["source"]


def test_names_go_both_ways() -> None:
    assert names.upstream_names("adapter.qformer.encoder.layer.1.crossattention.attention.key.bias", 2) == (
        "audio_Qformer.bert.encoder.layer.1.crossattention.self.key.bias",
    )
    assert names.upstream_names(names.EMBEDDINGS, 2, tied=True)[-1] == (
        "llama_model.base_model.model.lm_head.weight"
    )
    assert names.upstream_names("language_model.model.norm.weight", 2, lora=False) == (
        "llama_model.model.norm.weight",
    )
    base = "language_model.model.layers.0.self_attn.q_proj.base_layer.weight"
    assert names.llama_name(base) == "model.layers.0.self_attn.q_proj.weight"
