"""The Kaldi filter bank that BEATs hears: log mel energies of short frames, for batches, on any device.

The arithmetic keeps the order of torchaudio's ``compliance.kaldi.fbank``, so that the numbers are the same
to the last bit: near-silent bins are the difference of large numbers, and another order moves them visibly.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from NatureLM.errors import RecordingError

SAMPLE_RATE = 16_000
"""Hz; the rate that BEATs hears."""

FRAME_SAMPLES = 400
"""25 ms, Kaldi's default frame."""

SHIFT_SAMPLES = 160
"""10 ms, Kaldi's default shift."""

FFT_SAMPLES = 512
"""The next power of two, to which Kaldi pads a frame with zeros."""

MEL_BINS = 128
"""Of BEATs (Chen et al. 2022, section 4.1: 128-dimensional mel filter banks)."""

LOWEST_FREQUENCY = 20.0
"""Hz, Kaldi's default; the highest is half the sample rate."""

MEL_SCALE, MEL_CORNER = 1127.0, 700.0
"""Mels are 1127 ln(1 + Hz / 700) in Kaldi (and HTK)."""

PRE_EMPHASIS = 0.97
"""Kaldi's default."""

POVEY_POWER = 0.85
"""The povey window is a Hann window to this power (Kaldi)."""

ENERGY_FLOOR = float(np.finfo(np.float32).eps)
"""Least energy before the logarithm, also in float64 (torchaudio)."""

INPUT_SCALE = 2.0**15
"""BEATs hears 16-bit numbers, as Kaldi does; waveforms here lie in [-1, 1]."""

MEAN, DEVIATION = 15.41663, 6.55582
"""Of log mel energies over BEATs' training data; the published model divides by twice the deviation."""


def frame_count(samples: int) -> int:
    """Return the number of whole frames in a waveform (Kaldi's "snip edges")."""
    return 0 if samples < FRAME_SAMPLES else 1 + (samples - FRAME_SAMPLES) // SHIFT_SAMPLES


def beats_filter_bank(waveforms: torch.Tensor) -> torch.Tensor:
    """Return what BEATs is given of waveforms.

    Parameters
    ----------
    waveforms : float32 or float64 [batch, samples]
        In [-1, 1], at 16 kHz.

    Returns
    -------
    same dtype [batch, frames, 128]
        Log mel energies, centred and scaled; a frame every 10 ms.

    Raises
    ------
    RecordingError
        If the waveforms are shorter than one frame.
    """
    return (kaldi_filter_bank(waveforms * INPUT_SCALE) - MEAN) / (2 * DEVIATION)


def kaldi_filter_bank(waveforms: torch.Tensor) -> torch.Tensor:
    """Return log mel energies [batch, frames, 128] of waveforms [batch, samples] that hold 16-bit numbers.

    No dither; each frame loses its mean, is pre-emphasised and windowed.

    Raises
    ------
    RecordingError
        If the waveforms are shorter than one frame.
    """
    samples = waveforms.shape[-1]
    if frame_count(samples) == 0:
        raise RecordingError(
            f"{samples} samples are too short to be heard: at {SAMPLE_RATE} Hz a frame of "
            f"{1000 * FRAME_SAMPLES // SAMPLE_RATE} ms has {FRAME_SAMPLES}."
        )
    frames = waveforms.unfold(-1, FRAME_SAMPLES, SHIFT_SAMPLES)
    frames = frames - frames.mean(dim=-1, keepdim=True)
    # The sample before a frame's first is taken to be as the first.
    before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
    frames = frames - PRE_EMPHASIS * before
    frames = frames * povey_window(waveforms)
    power = torch.fft.rfft(frames, n=FFT_SAMPLES).abs().pow(2.0)
    energy = power @ torch.from_numpy(mel_filters()).to(power)
    return energy.clamp(min=ENERGY_FLOOR).log()


def povey_window(like: torch.Tensor) -> torch.Tensor:
    """Return Kaldi's window [400] in the dtype and on the device of a tensor."""
    window = torch.hann_window(FRAME_SAMPLES, periodic=False, dtype=like.dtype, device=like.device)
    return window.pow(POVEY_POWER)


@lru_cache(maxsize=1)
def mel_filters() -> npt.NDArray[np.float32]:
    """Return the triangular filters, float32 [257, 128]: weights of the FFT's frequencies in each mel bin.

    Computed in float32 whatever they are applied to, as torchaudio does; but for the logarithm, whose last
    bit depends on the processor in float32.
    """
    with torch.inference_mode(False):
        lowest, highest = (
            MEL_SCALE * math.log1p(hz / MEL_CORNER) for hz in (LOWEST_FREQUENCY, SAMPLE_RATE / 2)
        )
        step = (highest - lowest) / (MEL_BINS + 1)
        place = torch.arange(MEL_BINS, device="cpu")
        left, centre, right = (lowest + (place + shift) * step for shift in (0.0, 1.0, 2.0))
        # The highest frequency of the FFT lies in no filter.
        frequencies = SAMPLE_RATE / FFT_SAMPLES * torch.arange(FFT_SAMPLES // 2, device="cpu")
        mels = MEL_SCALE * (1.0 + frequencies / MEL_CORNER).double().log().float()[:, None]
        rising = (mels - left) / (centre - left)
        falling = (right - mels) / (right - centre)
        filters = torch.minimum(rising, falling).clamp(min=0.0)
        return torch.nn.functional.pad(filters, (0, 0, 0, 1)).numpy()
