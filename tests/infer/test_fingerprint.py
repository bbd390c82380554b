from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from NatureLM.infer.fingerprint import model_fingerprint, recordings_fingerprint

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
