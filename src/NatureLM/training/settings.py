"""Settings of the bundled model's training, as ``configs/train_bundled.yml`` holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from NatureLM.config import Section


class BundledTrainingConfig(Section):
    """How the bundled model is built from nothing.

    ``dtype`` is that of products while training (weights stay float32): bfloat16 halves the time of a step
    where the processor multiplies in it, and takes longer where it does not. ``begins_from`` is the folder of
    an earlier run, whose weights, optimizers, tokenizer and backgrounds this one begins with, or of a model
    (``bundled``: the package's), whose weights and tokenizer it begins with.
    """

    name: str = "naturelm-lite"
    output_path: Path = Path("naturelm_lite")
    begins_from: Path | None = None
    seed: int = Field(0, ge=0, lt=2**43)
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16"] = "float32"

    vocabulary_size: int = Field(4096, gt=256)
    hidden_size: int = Field(256, ge=16)
    layers: int = Field(5, ge=1)
    heads: int = Field(8, ge=1)
    feed_forward_size: int = Field(768, ge=16)

    background_windows: int = Field(600, ge=8)
    processes: int = Field(2, ge=1)
    threads_per_process: int = Field(1, ge=1)
    batch_size: int = Field(64, ge=1, le=1024)
    learned_share: float = Field(1.0, gt=0, le=1)
    steps: int = Field(3000, ge=1)
    warmup_steps: int = Field(100, ge=0)
    decay_share: float = Field(0.25, gt=0, le=1)
    matrix_learning_rate: float = Field(0.02, gt=0)
    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    gradient_norm: float = Field(1.0, gt=0)

    log_every: int = Field(20, ge=1)
    validate_every: int = Field(1000, ge=1)
    validation_windows: int = Field(160, ge=1)
    checkpoint_every: int = Field(100, ge=1)

    @model_validator(mode="after")
    def _heads_fit(self) -> BundledTrainingConfig:
        """Refuse heads that do not share the hidden size evenly; rotary embeddings turn pairs of numbers."""
        if self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"hidden_size {self.hidden_size} and heads {self.heads}: expected a hidden_size that is a "
                "multiple of twice the heads."
            )
        return self
