"""Animal-free sound, synthesised: what the encoder hears where nothing sings.

All of it is made here from random numbers, so it carries no licence and can be made again anywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from NatureLM.models.encoders.birdnet import SAMPLE_RATE, SEGMENT_SAMPLES, BirdNetEncoder
from NatureLM.training.evidence import BackgroundBank

SEGMENTS_PER_WINDOW = 4

Wave = npt.NDArray[np.float32]
Maker = Callable[[int, np.random.Generator], Wave]


def coloured_noise(samples: int, slope: float, rng: np.random.Generator) -> Wave:
    """Return noise whose power falls as frequency to the ``slope`` (0 white, 1 pink, 2 brown), peak 1."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    # Below 20 Hz nothing is heard; without the bound, steep slopes would hold little else.
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE), 20.0)
    wave = np.fft.irfft(spectrum * frequency ** (-slope / 2), n=samples)
    return (wave / np.abs(wave).max()).astype(np.float32)


def slow_curve(samples: int, rate: float, rng: np.random.Generator) -> Wave:
    """Return a random curve between 0 and 1 that turns about ``rate`` times a second."""
    points = max(4, int(samples / SAMPLE_RATE * rate) + 2)
    curve = np.interp(np.linspace(0, points - 1, samples), np.arange(points), rng.random(points))
    return curve.astype(np.float32)


def hiss(samples: int, rng: np.random.Generator) -> Wave:
    """Return steady noise of a random colour."""
    return coloured_noise(samples, rng.uniform(-0.5, 2.2), rng)


def wind(samples: int, rng: np.random.Generator) -> Wave:
    """Return low noise in gusts."""
    gusts = coloured_noise(samples, rng.uniform(1.5, 3.0), rng) * slow_curve(
        samples, rng.uniform(0.3, 2), rng
    )
    return gusts + rng.uniform(0.0, 0.1) * coloured_noise(samples, 1.0, rng)


def rain(samples: int, rng: np.random.Generator) -> Wave:
    """Return many short drops over steady noise."""
    drops = np.zeros(samples, dtype=np.float32)
    count = int(samples / SAMPLE_RATE * rng.uniform(20, 800))
    np.add.at(drops, rng.integers(samples, size=count), rng.exponential(1.0, size=count))
    decay = np.exp(-np.arange(2048) / rng.uniform(20, 300))
    burst = (decay * rng.standard_normal(2048)).astype(np.float32)
    size = samples + len(burst)
    heard = np.fft.irfft(np.fft.rfft(drops, size) * np.fft.rfft(burst, size), size)[:samples]
    heard = (heard / np.abs(heard).max()).astype(np.float32)
    return heard + rng.uniform(0.05, 0.6) * coloured_noise(samples, rng.uniform(0.0, 1.2), rng)


def hum(samples: int, rng: np.random.Generator) -> Wave:
    """Return mains or motor hum: harmonics of a low note, slightly unsteady, over noise."""
    base = rng.choice([50.0, 60.0, rng.uniform(25, 220)])
    drift = 1 + rng.uniform(0, 0.03) * (slow_curve(samples, 0.5, rng) - 0.5)
    phase = 2 * np.pi * np.cumsum(base * drift) / SAMPLE_RATE
    harmonics = rng.integers(3, 25)
    wave = sum(rng.exponential(1 / k) * np.sin(k * phase + rng.uniform(0, 6)) for k in range(1, harmonics))
    wave = np.asarray(wave) / np.abs(wave).max()
    return (wave + rng.uniform(0.02, 0.5) * coloured_noise(samples, rng.uniform(0.5, 2), rng)).astype(
        np.float32
    )


def clicks(samples: int, rng: np.random.Generator) -> Wave:
    """Return single clicks and crackles over faint noise."""
    wave = rng.uniform(0.005, 0.1) * coloured_noise(samples, rng.uniform(0, 1.5), rng)
    for place in rng.integers(samples - 4000, size=rng.integers(1, 30)):
        length = int(rng.integers(20, 4000))
        wave[place : place + length] += (
            rng.standard_normal(length) * np.exp(-np.arange(length) / (length / 5)) * rng.uniform(0.1, 1)
        ).astype(np.float32)
    return wave


def flow(samples: int, rng: np.random.Generator) -> Wave:
    """Return running water: noise whose bands swell and ebb quickly."""
    wave = np.zeros(samples, dtype=np.float32)
    for _ in range(4):
        wave += coloured_noise(samples, rng.uniform(0, 2), rng) * slow_curve(samples, rng.uniform(2, 30), rng)
    return wave


MAKERS: dict[str, Maker] = {
    "hiss": hiss,
    "wind": wind,
    "rain": rain,
    "hum": hum,
    "clicks": clicks,
    "flow": flow,
}


def background_bank(encoder: BirdNetEncoder, windows: int, seed: int) -> BackgroundBank:
    """Synthesise backgrounds and embed them.

    Parameters
    ----------
    encoder : BirdNetEncoder
    windows : int
        Number of windows, each of four segments of 3 s.
    seed : int
    """
    rng = np.random.default_rng(seed)
    names = sorted(MAKERS)
    embeddings = []
    for _ in range(windows):
        maker = MAKERS[names[int(rng.integers(len(names)))]]
        wave = maker(SEGMENT_SAMPLES * SEGMENTS_PER_WINDOW, rng)
        if rng.random() < 0.3:
            other = MAKERS[names[int(rng.integers(len(names)))]]
            wave = wave + rng.uniform(0.1, 1.0) * other(len(wave), rng)
        segments = torch.from_numpy(wave.reshape(SEGMENTS_PER_WINDOW, SEGMENT_SAMPLES).astype(np.float32))
        embeddings.append(encoder.embed(segments).numpy())
    return BackgroundBank(np.stack(embeddings))
