from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from NatureLM.config import GenerationConfig, InferenceConfig
from NatureLM.infer.settings import Configuration, answer_settings, read_configuration
from NatureLM.models.answering import AnswerSettings

if TYPE_CHECKING:
    from NatureLM.models import NatureLM


def test_bundled_model_answers_with_the_documented_defaults(model: NatureLM) -> None:
    assert answer_settings(model) == AnswerSettings()


def test_typed_settings_win_over_the_files(model: NatureLM) -> None:
    typed = GenerationConfig(num_beams=3)
    file = GenerationConfig(num_beams=2, max_new_tokens=50)
    settings = answer_settings(model, typed, file)
    assert (settings.num_beams, settings.max_new_tokens) == (3, 50)


def test_zero_is_a_setting_and_not_a_gap(model: NatureLM) -> None:
    settings = answer_settings(model, GenerationConfig(min_evidence=0.0, max_species=0))
    assert (settings.min_evidence, settings.max_species) == (0.0, 0)


def written_for(model: str | None, generation: GenerationConfig) -> Configuration:
    return Configuration(InferenceConfig(generation=generation), GenerationConfig(), model)


def test_files_settings_hold_for_the_model_that_it_names_only(
    model: NatureLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = GenerationConfig(num_beams=2)
    monkeypatch.setattr(model, "requested_as", "models/frogs", raising=False)
    assert written_for("models/frogs", file).generation_layers(model) == [GenerationConfig(), file]
    assert written_for(None, file).generation_layers(model) == [GenerationConfig(), file]
    assert written_for("bundled", file).generation_layers(model) == [GenerationConfig()]
    # Two folders of the same name, or models whose rows carry the same name, are still two models.
    assert written_for("other/frogs", file).generation_layers(model) == [GenerationConfig()]
    assert written_for(model.config.name, file).generation_layers(model) == [GenerationConfig()]


def test_configuration_remembers_what_was_typed_and_what_the_file_names(tmp_path: Path) -> None:
    path = tmp_path / "run.yml"
    path.write_text("model: models/frogs\ngeneration: {num_beams: 2, max_species: 3}\n")
    options = {"model": "bundled", "generation.max_species": 1}
    configuration = read_configuration(path, ["generation.min_evidence=0.5"], options)
    assert configuration.written_for == "models/frogs"
    assert configuration.config.model == "bundled"
    assert configuration.typed == GenerationConfig(min_evidence=0.5, max_species=1)
    assert configuration.config.generation == GenerationConfig(num_beams=2, min_evidence=0.5, max_species=1)
    assert read_configuration() == Configuration()


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="needs /dev/fd")
def test_configuration_is_read_once_so_that_a_pipe_will_do() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"model: models/frogs\n")
    os.close(writing)
    configuration = read_configuration(f"/dev/fd/{reading}")
    os.close(reading)
    assert (configuration.config.model, configuration.written_for) == ("models/frogs", "models/frogs")
