"""Recordings made on the spot, whole and damaged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from NatureLM.audio.decoding import SoundReader

MakeRecording = Callable[..., Path]


def noise(seconds: float, sample_rate: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Quiet noise, float32 (frames, channels), in steps of 16-bit samples."""
    generator = np.random.default_rng(seed)
    whole = generator.integers(-3000, 3000, size=(round(seconds * sample_rate), channels))
    return (whole / 32768).astype(np.float32)


@pytest.fixture
def make_recording(tmp_path: Path) -> MakeRecording:
    """Write noise (or the given frames) to a file in the test's folder; its suffix gives the format."""

    def make(
        name: str, seconds: float = 2.0, sample_rate: int = 16000, channels: int = 1, **options: object
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = options.pop("frames", None)
        if frames is None:
            frames = noise(seconds, sample_rate, channels)
        if path.suffix.lower() == ".opus":
            options.setdefault("format", "OGG")
            options.setdefault("subtype", "OPUS")
        columns = 1 if frames.ndim == 1 else frames.shape[1]
        with soundfile.SoundFile(path, "w", sample_rate, columns, **options) as sound:
            for start in range(0, len(frames), 4096):  # libsndfile's Vorbis writer overflows on long writes
                sound.write(frames[start : start + 4096])
        return path

    return make


@pytest.fixture(scope="session")
def decode() -> Callable[..., tuple[np.ndarray, SoundReader]]:
    """Read a file whole, some frames at once; return float32 (frames, channels) and the reader, closed."""

    def read(path: Path, frames_at_once: int = 5000) -> tuple[np.ndarray, SoundReader]:
        with SoundReader(path) as reader:
            blocks = []
            buffer = np.empty((frames_at_once, reader.channels), np.float32)
            while count := reader.read_into(buffer):
                blocks.append(buffer[:count].copy())
            return np.concatenate(blocks or [buffer[:0]]), reader

    return read
