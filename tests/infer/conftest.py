"""The bundled model, loaded once, and recordings made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

if TYPE_CHECKING:
    from NatureLM.models import NatureLM

SHARED_AUDIO = Path(__file__).parents[3] / "shared" / "audio"


@pytest.fixture(scope="session")
def model() -> NatureLM:
    from NatureLM.models.loading import load_model

    return load_model("bundled", device="cpu")


@pytest.fixture(autouse=True)
def licence_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's own data folder out of it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user-data"))


@pytest.fixture
def make_noise(tmp_path: Path) -> Callable[..., Path]:
    """Write quiet noise to a file, ``seconds`` long."""

    def make(name: str, seconds: float, sample_rate: int = 16000, channels: int = 1, seed: int = 0) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (round(seconds * sample_rate), channels)
        samples = np.random.default_rng(seed).normal(0, 0.02, shape).astype(np.float32)
        soundfile.write(path, samples, sample_rate, subtype="FLOAT" if path.suffix == ".wav" else None)
        return path

    return make


@pytest.fixture
def real_audio() -> Path:
    """Real recordings, which are not part of the repository."""
    if not SHARED_AUDIO.is_dir():
        pytest.skip("the real recordings of ../shared/audio are not on this machine")
    return SHARED_AUDIO
