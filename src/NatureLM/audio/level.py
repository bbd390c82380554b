"""How loud a window is."""

from __future__ import annotations

import math

import numpy as np


def level_dbfs(waveform: np.ndarray) -> float:
    """Return the level of a waveform in dBFS: its RMS, relative to full scale.

    Full scale is 1.0, so a constant 1.0 has 0 dBFS and a full-scale sine -3.01 dBFS. A constant offset
    counts as sound.

    Parameters
    ----------
    waveform : np.ndarray
        Float (samples,).

    Returns
    -------
    float
        ``20 * log10(RMS)``; -inf for digital zero, and where there are no samples.

    Examples
    --------
    >>> level_dbfs(np.array([0.1, -0.1]))
    -20.0
    """
    if not len(waveform):
        return -math.inf
    # In double precision: squares of quiet samples vanish in float32, and long sums lose digits.
    rms = math.sqrt(float(np.mean(np.square(waveform, dtype=np.float64))))
    return 20.0 * math.log10(rms) if rms > 0.0 else -math.inf
