from __future__ import annotations

from typing import TYPE_CHECKING

from NatureLM.config import GenerationConfig, InferenceConfig
from NatureLM.infer.settings import answer_settings, answered_by_fallback
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


def test_fallback_is_told_from_the_model_asked_for(model: NatureLM) -> None:
    published = InferenceConfig(model="EarthSpeciesProject/NatureLM-audio", fallback="bundled")
    assert answered_by_fallback(published, model)
    assert not answered_by_fallback(InferenceConfig(model="bundled", fallback="bundled"), model)
    assert not answered_by_fallback(InferenceConfig(model="bundled"), model)
