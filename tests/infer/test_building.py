from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from NatureLM.config import GenerationConfig, InferenceConfig
from NatureLM.errors import ConfigError
from NatureLM.infer.building import build_engine
from NatureLM.infer.settings import Configuration, read_configuration
from NatureLM.models.answering import AnswerSettings

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

INFERENCE = Path(__file__).parents[2] / "configs" / "inference.yml"


def test_given_model_answers_with_its_own_settings_where_the_file_names_another(
    model: NatureLM, caplog: pytest.LogCaptureFixture
) -> None:
    engine = build_engine(read_configuration(INFERENCE, options={"generation.max_species": 2}), model)
    assert engine.model is model
    assert engine.settings == AnswerSettings(max_species=2)
    (message,) = caplog.messages
    assert "written for EarthSpeciesProject/NatureLM-audio and are left out: naturelm-lite" in message


def test_settings_that_were_typed_are_never_left_out(model: NatureLM) -> None:
    with pytest.raises(ConfigError, match="--merging-alpha"):
        build_engine(read_configuration(INFERENCE, options={"generation.merging_alpha": 0.5}), model)


def test_file_that_names_no_model_holds_for_any(model: NatureLM, caplog: pytest.LogCaptureFixture) -> None:
    config = InferenceConfig(generation=GenerationConfig(min_evidence=0.5), batch_size=3, channel=2)
    engine = build_engine(Configuration(config), model)
    assert engine.settings == AnswerSettings(min_evidence=0.5)
    assert (engine.batch_size, engine.channel) == (3, 2)
    assert caplog.messages == []


def test_fallback_answers_with_its_own_settings_and_one_warning(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    config = InferenceConfig(
        model=str(tmp_path / "gone"),
        fallback="bundled",
        device="cpu",
        generation=GenerationConfig(num_beams=2, merging_alpha=1.0),
    )
    engine = build_engine(Configuration(config, written_for=config.model))
    assert engine.settings == AnswerSettings()
    assert engine.model.requested_as == "bundled"
    (message,) = caplog.messages
    assert "'bundled' answers instead" in message
