"""What a run of training is kept as, and what the bundled model is built from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import PreTrainedTokenizerBase

from NatureLM.errors import ConfigError, NatureLMError
from NatureLM.models.naturelm import NatureLM
from NatureLM.training.answers import answer_forms
from NatureLM.training.beginning import begin_from
from NatureLM.training.bundled import (
    build_model,
    check_files,
    model_config,
    prepare,
    save_model,
    species_adapter,
)
from NatureLM.training.run_files import check_same_run, load_checkpoint, write_checkpoint, write_settings
from NatureLM.training.settings import BundledTrainingConfig
from NatureLM.training.trainer import alone, build_optimizers, train


def made_run(tokenizer: PreTrainedTokenizerBase, folder: Path) -> BundledTrainingConfig:
    """Return the settings of a run with a tokenizer, backgrounds and a checkpoint of step 3."""
    settings = BundledTrainingConfig(
        output_path=folder, seed=1, hidden_size=16, layers=1, heads=1, feed_forward_size=16
    )
    folder.mkdir(exist_ok=True)
    tokenizer.save_pretrained(folder / "tokenizer")
    np.save(folder / "backgrounds.npy", np.zeros((2, 3, 1024), np.float32))
    state = build_model(settings).state_dict()
    torch.save({"step": 3, "model": state, "optimizers": []}, folder / "checkpoint.pt")
    return settings


def test_another_runs_folder_is_refused(tmp_path: Path) -> None:
    settings = BundledTrainingConfig(output_path=tmp_path, seed=1)
    check_same_run(tmp_path / "settings.json", settings)
    write_settings(tmp_path / "settings.json", settings)
    check_same_run(tmp_path / "settings.json", settings.model_copy(update={"steps": 7}))
    with pytest.raises(ConfigError, match=r"other settings \(seed, layers\)"):
        check_same_run(tmp_path / "settings.json", BundledTrainingConfig(output_path=tmp_path, layers=2))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("settings.json", b'{"seed": 1'),
        ("settings.json", b"[3]"),
        ("tokenizer/tokenizer.json", b"{}"),
        ("backgrounds.npy", b"no array"),
        ("checkpoint.pt", b"PK no archive"),
        ("checkpoint.pt", b""),
    ],
)
def test_a_damaged_file_of_a_run_is_named(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, name: str, content: bytes
) -> None:
    settings = made_run(tokenizer, tmp_path)
    prepare(settings)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=f"{name.split('/')[-1]} is damaged .*; remove it"):
        prepare(settings)


def test_an_array_that_is_no_bank_and_a_checkpoint_without_step_are_named(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    np.save(tmp_path / "backgrounds.npy", np.zeros(4, np.float32))
    settings = BundledTrainingConfig(output_path=tmp_path)
    with pytest.raises(ConfigError, match=r"backgrounds\.npy is damaged \(it does not hold windows"):
        check_files(settings)
    np.save(tmp_path / "backgrounds.npy", np.zeros((2, 3, 1024), np.float32))
    for content in ({"model": {}}, [1, 2]):
        torch.save(content, tmp_path / "checkpoint.pt")
        with pytest.raises(ConfigError, match=r"checkpoint\.pt is damaged"):
            check_files(settings)


def test_a_checkpoint_that_does_not_fit_is_refused(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    settings = made_run(tokenizer, tmp_path)
    with pytest.raises(ConfigError, match=r"is of step 3, beyond steps=2; give more steps"):
        check_files(settings.model_copy(update={"steps": 2}))
    with pytest.raises(ConfigError, match=r"checkpoint\.pt is of another model than this version builds"):
        check_files(settings.model_copy(update={"layers": 2}))


def test_a_run_begins_from_an_earlier_one(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    earlier = made_run(tokenizer, tmp_path / "earlier")
    prepare(earlier)
    changed = {"output_path": tmp_path / "later", "begins_from": earlier.output_path, "seed": 8, "steps": 2}
    later = earlier.model_copy(update=changed)
    prepare(later)
    before, after = (
        torch.load(each.output_path / "checkpoint.pt", weights_only=True) for each in (earlier, later)
    )
    assert (before["step"], after["step"]) == (3, 0)
    assert all(torch.equal(tensor, after["model"][name]) for name, tensor in before["model"].items())
    for name in ("tokenizer/tokenizer.json", "backgrounds.npy"):
        assert (later.output_path / name).read_bytes() == (earlier.output_path / name).read_bytes()

    torch.save({**after, "step": 1}, later.output_path / "checkpoint.pt")  # it has gone on since
    prepare(later)
    assert torch.load(later.output_path / "checkpoint.pt", weights_only=True)["step"] == 1


def test_a_run_begins_from_a_model(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    earlier = made_run(tokenizer, tmp_path / "earlier")
    prepare(earlier)
    model = build_model(earlier)
    save_model(model, tmp_path / "model")
    changed = {"output_path": tmp_path / "later", "begins_from": tmp_path / "model", "seed": 8}
    later = earlier.model_copy(update=changed)
    prepare(later)
    saved = torch.load(later.output_path / "checkpoint.pt", weights_only=True)
    state = model.state_dict()
    assert saved["step"] == 0
    assert set(saved["model"]) == set(state)
    for name, tensor in saved["model"].items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, state[name].half().float())
    begun = build_model(later)
    load_checkpoint(later.output_path / "checkpoint.pt", begun, build_optimizers(begun, later))
    assert torch.equal(
        begun.get_input_embeddings().weight, model.get_input_embeddings().weight.half().float()
    )

    for name, value in (("layers", 2), ("heads", 2), ("vocabulary_size", 4095)):
        changes = {"output_path": tmp_path / "c", "begins_from": tmp_path / "model", name: value}
        other = earlier.model_copy(update=changes)
        with pytest.raises(ConfigError, match=rf"holds a model of another shape \({name}\)"):
            prepare(other)
        assert list((tmp_path / "c").iterdir()) == []  # nothing that a corrected command would stumble over
    (tmp_path / "model" / "model.safetensors").write_bytes(b"nothing")
    damaged = later.model_copy(update={"output_path": tmp_path / "d"})
    with pytest.raises(NatureLMError, match=r"model\.safetensors"):
        prepare(damaged)


def test_a_run_begins_from_the_packages_model(tmp_path: Path) -> None:
    shape = {"vocabulary_size": 4096, "hidden_size": 320, "layers": 6, "heads": 10, "feed_forward_size": 960}
    settings = BundledTrainingConfig(output_path=tmp_path, begins_from=Path("bundled"), **shape)
    begin_from(Path("bundled"), settings)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    own = NatureLM.from_pretrained("bundled").state_dict()
    assert set(saved["model"]) == set(build_model(settings).state_dict())
    assert all(torch.equal(tensor, own[name]) for name, tensor in saved["model"].items())


def test_a_full_disk_leaves_no_half_checkpoint(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / "checkpoint.unfinished").symlink_to("/dev/full")
    with pytest.raises(OSError, match="it could not be written whole"):
        write_checkpoint(tmp_path / "checkpoint.pt", {"step": 0, "model": {}, "optimizers": []})
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_cannot_begin_from_is_refused(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    earlier = made_run(tokenizer, tmp_path / "earlier")
    prepare(earlier)
    nothing = earlier.model_copy(update={"output_path": tmp_path / "a", "begins_from": tmp_path})
    with pytest.raises(ConfigError, match=r"begins_from .*: expected the folder of a run"):
        prepare(nothing)
    changed = {"output_path": tmp_path / "b", "begins_from": earlier.output_path, "layers": 2}
    with pytest.raises(ConfigError, match=r"holds a model of another shape \(layers\)"):
        prepare(earlier.model_copy(update=changed))


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(ConfigError, match="A training goes on in"):
        train(BundledTrainingConfig(output_path=tmp_path))
    with alone(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"output_path .* cannot be written \(Not a directory\); choose"):
        train(BundledTrainingConfig(output_path=tmp_path / "file" / "run"))


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    settings = BundledTrainingConfig(output_path=tmp_path / "run", device="cuda:99")
    with pytest.raises(ConfigError, match="cuda:99"):
        train(settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"vocabulary_size": 256},
        {"steps": 0},
        {"decay_share": 0.0},
        {"batch_size": 2000},
        {"epochs": 3},
        {"seed": -1},
        {"heads": 7},
        {"hidden_size": 24},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValidationError, match=name):
        BundledTrainingConfig.model_validate(wrong)


def test_the_config_fits_the_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    config = model_config(BundledTrainingConfig(), tokenizer)
    assert config.text_config.vocab_size == len(tokenizer) == 4096
    assert config.text_config.eos_token_id == tokenizer.eos_token_id
    assert config.adapter["answers"] == answer_forms()
    assert config.adapter["decline_floor"] == 0.7
    assert config.prompt_template == "<bos><|user|>{query}<|assistant|>"


def test_a_saved_model_is_read_back_in_half_precision(model: NatureLM, tmp_path: Path) -> None:
    half = {name: tensor.half().float() for name, tensor in model.state_dict().items()}
    save_model(model, tmp_path / "model")
    assert not (tmp_path / "model.unfinished").exists()
    loaded = NatureLM.from_pretrained(tmp_path / "model")
    tensors = loaded.state_dict()
    trained = [name for name in half if not name.startswith("audio_encoder")]
    assert len(trained) > 10
    assert all(torch.equal(tensors[name], half[name]) for name in trained)
    assert loaded.config.name == "naturelm-lite"
    assert loaded.config.licence == "CC BY-NC-SA 4.0"
    assert loaded.processor.tokenizer.get_vocab() == model.processor.tokenizer.get_vocab()
    assert species_adapter(loaded).answers == answer_forms()
