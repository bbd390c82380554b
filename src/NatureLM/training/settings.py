"""Settings of the bundled model's training, as ``configs/train_bundled.yml`` holds them."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class BundledTrainingConfig(BaseModel):
    """How the bundled model is built from nothing."""

    model_config = ConfigDict(extra="forbid")

    name: str = "naturelm-lite"
    output_path: Path = Path("naturelm_lite")
    seed: int = 0
    device: str = "cpu"

    vocabulary_size: int = Field(6144, gt=256)
    hidden_size: int = 256
    layers: int = 4
    heads: int = 8
    feed_forward_size: int = 768

    background_windows: int = Field(600, ge=8)
    processes: int = Field(2, ge=1)
    threads_per_process: int = Field(1, ge=1)
    batch_size: int = Field(64, ge=1)
    steps: int = Field(3400, ge=1)
    warmup_steps: int = 100
    decay_share: float = Field(0.4, gt=0, le=1)
    matrix_learning_rate: float = 0.02
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    gradient_norm: float = 1.0

    log_every: int = 20
    validate_every: int = 400
    validation_windows: int = 160
    checkpoint_every: int = 100
