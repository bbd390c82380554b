from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from NatureLM.config import InferenceConfig
from NatureLM.infer.fingerprint import model_fingerprint, recordings_fingerprint, request_fingerprint
from NatureLM.infer.settings import Configuration

if TYPE_CHECKING:
    from NatureLM.models import NatureLM


def test_model_fingerprint_follows_the_weights(model: NatureLM) -> None:
    before = model_fingerprint(model)
    assert len(before) == 16 and model_fingerprint(model) == before
    weight = model.get_input_embeddings().weight
    with torch.no_grad():
        weight.add_(1.0)
        changed = model_fingerprint(model)
        weight.sub_(1.0)
    assert changed != before


def test_request_fingerprint_follows_settings_queries_and_the_bundled_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("NatureLM.models.loading.BUNDLED_FOLDER", tmp_path)
    (tmp_path / "config.json").write_text("{}")

    def of(*queries: str, **settings: object) -> str | None:
        return request_fingerprint(Configuration(InferenceConfig.model_validate(settings)), queries)

    before = of("Species?")
    assert before is not None and len(before) == 16 and of("Species?") == before
    assert of("Species?", window_length_seconds=5.0) != before
    assert of("Species?", "Caption the audio") != before
    (tmp_path / "config.json").write_text("{ }")
    assert of("Species?") != before
    names = tmp_path / "names.txt"
    names.write_text("Great Tit\n")
    listed = of("Species?", candidates={"names": str(names)})
    names.write_text("Coal Tit\n")
    assert of("Species?", candidates={"names": str(names)}) != listed
    assert of("Species?", model="a/folder") is None
    assert of("Species?", fallback="a/folder") is None


def test_recordings_fingerprint_follows_name_size_and_time(make_noise: Callable[..., Path]) -> None:
    path = make_noise("a.wav", 1.0)
    before = recordings_fingerprint([path])
    assert recordings_fingerprint([path]) == before
    os.utime(path, (1, 1))
    after = recordings_fingerprint([path])
    assert after != before
    assert recordings_fingerprint([path, make_noise("b.wav", 1.0)]) != after
    path.unlink()
    assert recordings_fingerprint([path]) != after
