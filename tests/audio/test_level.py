import math

import numpy as np
import pytest

from NatureLM.audio import level_dbfs


@pytest.mark.parametrize(
    ("waveform", "level"),
    [
        (np.ones(100), 0.0),
        (np.full(100, -0.1), -20.0),
        (np.sin(np.arange(48000) * 2 * np.pi / 48), -3.0103),
        (np.array([0.001, -0.001]), -60.0),
        (np.full(480000, 1e-30), -600.0),  # its square is no float32
        (np.full(10, 2.0), 6.0206),
    ],
)
def test_level_is_the_rms_relative_to_full_scale(waveform, level):
    assert level_dbfs(waveform.astype(np.float32)) == pytest.approx(level, abs=1e-4)


@pytest.mark.parametrize("samples", [0, 1, 480000])
def test_digital_zero_has_no_level(samples):
    assert level_dbfs(np.zeros(samples, np.float32)) == -math.inf
