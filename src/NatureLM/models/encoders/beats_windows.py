"""Windows through BEATs: zero-padded to one length, heard in float64, described patch by patch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from NatureLM.errors import CheckpointError, ConfigError
from NatureLM.models.encoders.base import AudioEncoder
from NatureLM.models.encoders.beats import Beats, BeatsConfig, padded_patches
from NatureLM.models.encoders.fbank import SAMPLE_RATE, beats_filter_bank

WINDOWS_AT_ONCE_ON_CPU = 2
"""Windows that go through BEATs together on a CPU. One of 10 s already fills its matrix products, and the
attention bias of two (12 heads x 496 x 496 float32 each) still fits the memory that malloc keeps for reuse
(32 MB); more would be fetched from the system, and cleared by it, anew in every layer."""


class BeatsWindowEncoder(AudioEncoder):
    """BEATs over whole windows.

    Parameters
    ----------
    sample_rate : int
        Rate of the windows in Hz; BEATs hears 16,000.
    window_seconds : float
        Length to which windows are padded with zeros, which are heard, not masked: so the published model
        was run. Longer windows are refused.
    **options
        Fields of :class:`~NatureLM.models.encoders.beats.BeatsConfig`.

    Raises
    ------
    CheckpointError
        If the sample rate is another, or a kind of BEATs is asked for that is not supported.
    """

    def __init__(self, sample_rate: int, window_seconds: float, **options: Any) -> None:
        super().__init__()
        if sample_rate != SAMPLE_RATE:
            raise CheckpointError(f"BEATs hears {SAMPLE_RATE} Hz, but the model's config says {sample_rate}.")
        self.window_samples = round(window_seconds * sample_rate)
        self.beats = Beats(BeatsConfig(**options))

    def encode(self, waveforms: Sequence[npt.NDArray[np.float32]], *, whole: bool = False) -> list[Any]:
        """Return the features of each window, tensors [patches, width] on the model's device.

        Parameters
        ----------
        waveforms : sequence of float32 [samples]
            Mono, 16 kHz; beyond [-1, 1] they are clipped.
        whole : bool
            Whether windows are not padded: the published model was run so on BEANS-Zero, whose shorter rows
            have lengths of their own.

        Raises
        ------
        ConfigError
            If a window is longer than the model hears.
        """
        device = self.beats.patch_embedding.weight.device
        at_once = WINDOWS_AT_ONCE_ON_CPU if device.type == "cpu" else max(len(waveforms), 1)
        features: dict[int, Any] = {}
        by_length: dict[int, list[int]] = defaultdict(list)
        for place, waveform in enumerate(waveforms):
            by_length[len(waveform) if whole else self.window_samples].append(place)
        for length, places in by_length.items():
            for start in range(0, len(places), at_once):
                together = places[start : start + at_once]
                batch = self.padded([waveforms[place] for place in together], length)
                features |= zip(together, self.beats(self.filter_bank(batch)), strict=True)
        return [features[place] for place in range(len(waveforms))]

    def padded(self, waveforms: Sequence[npt.NDArray[np.float32]], length: int | None = None) -> torch.Tensor:
        """Return windows as one float64 batch [windows, samples] on the CPU, clipped and zero-padded.

        Parameters
        ----------
        waveforms : sequence of float32 [samples]
        length : int, optional
            Samples of the batch; those of the longest window that the model hears, unless given.

        Raises
        ------
        ConfigError
            If a window is longer than the model hears.
        """
        batch = np.zeros((len(waveforms), self.window_samples if length is None else length))
        for row, wave in zip(batch, waveforms, strict=True):
            if len(wave) > self.window_samples:
                raise ConfigError(
                    f"A window of {len(wave) / SAMPLE_RATE:g} s is longer than the "
                    f"{self.window_samples / SAMPLE_RATE:g} s that this model hears; use shorter windows."
                )
            np.clip(wave, -1.0, 1.0, out=row[: len(wave)])
        return torch.from_numpy(batch)

    def filter_bank(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Return what BEATs hears of waveforms [batch, samples], computed in their dtype.

        Float64 is what the published model's inference computes in; where the device has none (Apple's MPS),
        the CPU does it.
        """
        weight = self.beats.patch_embedding.weight
        if weight.device.type != "mps" or waveforms.dtype != torch.float64:
            waveforms = waveforms.to(weight.device)
        return beats_filter_bank(waveforms).to(weight)

    def forward(self, waveforms: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        """Return the features of waveforms of any length, [batch, patches, width], for training.

        Parameters
        ----------
        waveforms : float32 or float64 [batch, samples]
            In [-1, 1].
        padding : bool [batch, samples], optional
            True where a waveform was padded: patches of nothing else are not attended to.

        Raises
        ------
        RecordingError
            If the waveforms are shorter than a patch (0.18 s).
        """
        filter_bank = self.filter_bank(waveforms)
        if padding is not None:
            frames = filter_bank.shape[1]
            patches = self.beats.patch_count(frames, filter_bank.shape[2])
            padding = padded_patches(padding.to(filter_bank.device), frames, patches)
        return self.beats(filter_bank, padding)
