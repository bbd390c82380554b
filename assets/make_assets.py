"""Make the example recordings of this folder: ``python assets/make_assets.py [folder]``.

Nothing here was recorded. Each song is put together from sine tones after published descriptions of it (note
frequencies, durations, intervals; see README.md), then given an echo and a background. Where descriptions
leave a range, the constant within it was chosen by a small search for what the bundled model's encoder
recognises. Every run on one machine makes the same samples.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

Wave = npt.NDArray[np.float64]
Random = np.random.Generator

SAMPLE_RATE = 48_000  # Hz, of everything until it is written
PEAK = 0.5  # of full scale


def note(
    pitch: Sequence[float],
    seconds: float,
    overtones: Sequence[float] = (),
    attack: float = 0.02,
    release: float = 0.05,
) -> Wave:
    """Whistle one note.

    Parameters
    ----------
    pitch : sequence of float
        Hz at equal distances in time; the pitch glides from one to the next.
    seconds : float
        From beginning to end, `attack` (swelling) and `release` (dying away) included.
    overtones : sequence of float
        Amplitudes of the second, third ... harmonic beside a fundamental of 1.
    """
    samples = round(seconds * SAMPLE_RATE)
    time = np.linspace(0, 1, samples)
    hertz = np.interp(time, np.linspace(0, 1, len(pitch)), pitch)
    phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
    wave = sum(level * np.sin(order * phase) for order, level in enumerate((1.0, *overtones), start=1))
    elapsed, left = time * seconds, (1 - time) * seconds
    swell = 0.5 - 0.5 * np.cos(np.pi * np.minimum(elapsed / attack, 1))
    fade = 0.5 - 0.5 * np.cos(np.pi * np.minimum(left / release, 1))
    return np.asarray(wave * swell * fade)


def lay(track: Wave, sound: Wave, start: float) -> None:
    """Add a sound to a track from `start` seconds on; what would reach beyond the end is left out."""
    first = round(start * SAMPLE_RATE)
    if first + len(sound) <= len(track):
        track[first : first + len(sound)] += sound


def vary(random: Random, value: float, share: float) -> float:
    """Draw around a value, with a standard deviation of `share` of it: no animal is a clockwork."""
    return value * (1 + share * random.normal())


# Songs: each fills a silent track of so many seconds, at amplitudes about 1.


def great_tit(random: Random, seconds: float) -> Wave:
    """*Parus major*, "teacher, teacher": two pure notes, the first higher, between 3 and 5 kHz.

    Motifs of about 0.35 s come in strophes of four to eight with pauses of one to three seconds.
    """
    track, start = np.zeros(round(seconds * SAMPLE_RATE)), 0.4
    while start < seconds:
        for _ in range(6):
            loud = vary(random, 1, 0.05)
            lay(track, loud * note((4930, 4870, 4810), 0.085, (0.04,), 0.027, 0.012), start)
            lay(track, loud * 0.6 * note((3460, 3320, 3170), 0.085, (0.04,), 0.027, 0.012), start + 0.155)
            start += vary(random, 0.35, 0.01)
        start += vary(random, 2, 0.1)
    return track


def common_cuckoo(random: Random, seconds: float) -> Wave:
    """*Cuculus canorus*, "cuc-koo": two flute-like notes of 660 and 555 Hz, a minor third apart.

    The second is longer and softer; one call every 1.1 to 1.5 s.
    """
    track, start = np.zeros(round(seconds * SAMPLE_RATE)), 0.5
    while start < seconds:
        loud, high = vary(random, 1, 0.05), vary(random, 660, 0.003)
        low = high / 2 ** (3 / 12)
        cuc = note((0.89 * high, 1.03 * high, high, 0.89 * high), 0.12, (0.15,), 0.055, 0.065)
        koo = note((1.01 * low, low, low, 1.01 * low), 0.3, (0.15,), 0.055, 0.1)
        lay(track, loud * cuc, start)
        lay(track, loud * 0.6 * koo, start + 0.295)
        start += vary(random, 1.3, 0.02)
    return track


def boreal_owl(random: Random, seconds: float) -> Wave:
    """*Aegolius funereus*, "po-po-po": series of about 12 short hoots at 0.8 kHz, six a second.

    The first hoots are softer and a little lower; series are two to three seconds apart.
    """
    track, start = np.zeros(round(seconds * SAMPLE_RATE)), 0.4
    while start < seconds:
        for number in range(12):
            risen = min(1, number / 6)
            pitch = vary(random, 785 + 25 * risen, 0.003)
            hoot = note((0.95 * pitch, pitch, 0.95 * pitch), 0.072, (0.065, 0.03), 0.022, 0.05)
            lay(track, vary(random, 0.25 + 0.75 * risen, 0.04) * hoot, start)
            start += vary(random, 0.178, 0.01)
        start += vary(random, 2.4, 0.1)
    return track


def saw_whet_owl(random: Random, seconds: float) -> Wave:
    """*Aegolius acadicus*: whistled toots of 1.1 kHz and about 0.15 s, two a second, on one pitch."""
    track, start = np.zeros(round(seconds * SAMPLE_RATE)), 0.4
    while start < seconds:
        pitch = vary(random, 1140, 0.002)
        toot = note((0.98 * pitch, pitch, pitch, 1.005 * pitch), 0.15, (0.03, 0.02), 0.055, 0.075)
        lay(track, vary(random, 1, 0.05) * toot, start)
        start += vary(random, 0.515, 0.01)
    return track


def eastern_wood_pewee(random: Random, seconds: float) -> Wave:
    """*Contopus virens*, "pee-a-wee": clear slurred notes between 3 and 5 kHz, about 1.2 s together.

    The first rises, the short second is lowest, the last climbs; three to four seconds from song to song.
    """
    track, start = np.zeros(round(seconds * SAMPLE_RATE)), 0.5
    while start < seconds:
        lay(track, note((3930, 4600, 4600, 4460), 0.3, (), 0.025, 0.06), start)
        lay(track, 0.8 * note((3530, 3210, 3370), 0.17, (), 0.015, 0.04), start + 0.3)
        lay(track, note((3680, 3680, 4050, 4430), 0.7, (), 0.025, 0.06), start + 0.49)
        start += 1.19 + vary(random, 2.5, 0.05)
    return track


def spring_peeper(random: Random, seconds: float) -> Wave:
    """*Pseudacris crucifer*, a small frog: a whistled peep of 0.2 s rising to 3 kHz, about once a second."""
    track, start = np.zeros(round(seconds * SAMPLE_RATE)), 0.4
    while start < seconds:
        pitch = vary(random, 2700, 0.002)
        peep = note((0.92 * pitch, pitch, pitch, 1.1 * pitch), 0.21, (0.07, 0.03), 0.016, 0.075)
        lay(track, vary(random, 1, 0.05) * peep * np.linspace(1.2, 0.8, len(peep)), start)
        start += vary(random, 0.89, 0.01)
    return track


def snowy_tree_cricket(random: Random, seconds: float) -> Wave:
    """*Oecanthus fultoni*: 2.8 chirps a second at 25 °C, of eight pulses, 52 a second, at 2.7 kHz.

    The pulses are grouped two, three, three; the first are soft.
    """
    track, start = np.zeros(round(seconds * SAMPLE_RATE)), 0.1
    while start < seconds:
        for number in range(8):
            pulse = note((2730, 2700, 2650), 0.013, (0.07,), 0.004, 0.002)
            between_groups = 0.004 * ((number >= 2) + (number >= 5))
            lay(track, min(1, 0.4 + 0.2 * number) * pulse, start + number / 52 + between_groups)
        start += vary(random, 0.357, 0.01)
    return track


def rain_drops(random: Random, seconds: float) -> Wave:
    """Let drops fall on leaves: clicks of 1 to 6 kHz that die away within milliseconds; 60 a second."""
    track = np.zeros(round(seconds * SAMPLE_RATE))
    time = np.arange(round(0.02 * SAMPLE_RATE)) / SAMPLE_RATE
    for start in random.uniform(0, seconds, round(60 * seconds)):
        ring = np.sin(2 * np.pi * random.uniform(1000, 6000) * time) * np.exp(
            -time / random.uniform(0.0005, 0.003)
        )
        lay(track, min(random.exponential(0.15), 1) * ring, start)
    return track


# Places: what lies between an animal and a microphone.


@dataclass(frozen=True)
class Place:
    """Echo and background.

    Attributes
    ----------
    echo_seconds : float
        Until the echo has fallen by 60 dB.
    echo_level : float
        Energy of the echo as amplitude, beside 1 for the direct sound.
    background_decibels : float
        Background (root mean square) beside the loudest sample of the songs.
    background_slope : float
        How fast the background's power falls with frequency: 0 white, 1 pink, 2 brown.
    """

    echo_seconds: float = 0.6
    echo_level: float = 0.3
    background_decibels: float = -30
    background_slope: float = 1.5


WOODS = Place()
POND = Place(0.25, 0.3, -40, 1.9)
MEADOW = Place(0.9, 0.06, -45, 1.3)
GROVE = Place(0.5, 0.15, -36, 1.5)
RAIN = Place(0.2, 0.2, -9, 1.2)


def coloured_noise(random: Random, samples: int, slope: float) -> Wave:
    """Noise of unit power whose spectrum falls as frequency to the power of -slope, level below 60 Hz."""
    spectrum = np.fft.rfft(random.normal(size=samples))
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    wave = np.fft.irfft(spectrum * np.maximum(hertz, 60) ** (-slope / 2) * (hertz > 30), samples)
    return np.asarray(wave / np.std(wave))


def with_echo(random: Random, track: Wave, place: Place) -> Wave:
    """Add a diffuse echo: exponentially fading noise, its treble (above 4 kHz) softened."""
    samples = round(place.echo_seconds * SAMPLE_RATE)
    fading = random.normal(size=samples) * 10 ** (-3 * np.linspace(0, 1, samples))
    softened = np.fft.rfft(fading) / (1 + (np.fft.rfftfreq(samples, 1 / SAMPLE_RATE) / 4000) ** 2)
    echo = np.fft.irfft(softened, samples)
    echo *= place.echo_level / np.linalg.norm(echo)
    echo[0] += 1
    length = len(track) + samples
    return np.fft.irfft(np.fft.rfft(track, length) * np.fft.rfft(echo, length), length)[: len(track)]


def record(random: Random, track: Wave, place: Place) -> Wave:
    """Hear a track at a place, with the peak at `PEAK`."""
    wave = with_echo(random, track, place)
    wave /= np.abs(wave).max()
    wave += 10 ** (place.background_decibels / 20) * coloured_noise(random, len(wave), place.background_slope)
    return np.asarray(PEAK * wave / np.abs(wave).max())


Song = Callable[[Random, float], Wave]


@dataclass(frozen=True)
class Part:
    """One song of a recording, from `start` seconds on, for `seconds`."""

    song: Song
    start: float = 0
    seconds: float = 10
    level: float = 1


@dataclass(frozen=True)
class Recording:
    """One file: its songs, place, length in seconds, sample rate in Hz and seed."""

    name: str
    parts: tuple[Part, ...]
    place: Place = WOODS
    seconds: float = 10
    sample_rate: int = SAMPLE_RATE
    seed: int = 1


RECORDINGS = (
    Recording("great_tit.ogg", (Part(great_tit),)),
    Recording("common_cuckoo.ogg", (Part(common_cuckoo),)),
    Recording("boreal_owl.flac", (Part(boreal_owl),), sample_rate=16_000),
    Recording("saw_whet_owl.WAV", (Part(saw_whet_owl),), sample_rate=12_000),
    Recording("eastern_wood_pewee.ogg", (Part(eastern_wood_pewee),)),
    Recording("spring_peeper.ogg", (Part(spring_peeper),), POND),
    Recording("snowy_tree_cricket.ogg", (Part(snowy_tree_cricket),), MEADOW),
    Recording(
        "great_tit_and_common_cuckoo.ogg", (Part(great_tit, 0, 7), Part(common_cuckoo, 3, 7, level=0.8))
    ),
    Recording(
        "pewee_and_cricket.ogg", (Part(eastern_wood_pewee), Part(snowy_tree_cricket, level=0.5)), GROVE
    ),
    Recording("rain.ogg", (Part(rain_drops),), RAIN),
    Recording(
        "dawn_25s.ogg",
        (Part(saw_whet_owl, 0, 9), Part(eastern_wood_pewee, 20.5, 4.5)),
        seconds=25,
        sample_rate=24_000,
        seed=3,
    ),
)


def perform(recording: Recording) -> Wave:
    """Make the samples of one recording, at its sample rate."""
    random = np.random.default_rng(recording.seed)
    track = np.zeros(round(recording.seconds * SAMPLE_RATE))
    for part in recording.parts:
        lay(track, part.level * part.song(random, part.seconds), part.start)
    return at_rate(record(random, track, recording.place), recording.sample_rate)


def at_rate(wave: Wave, sample_rate: int) -> Wave:
    """Resample from `SAMPLE_RATE` to a lower rate by leaving out what lies above half of it."""
    samples = round(len(wave) * sample_rate / SAMPLE_RATE)
    return np.fft.irfft(np.fft.rfft(wave)[: samples // 2 + 1], samples) * (sample_rate / SAMPLE_RATE)


def write(path: Path, wave: Wave, sample_rate: int) -> None:
    """Write a mono file in the format of its suffix; 16 bits where the format stores samples."""
    with soundfile.SoundFile(path, "w", sample_rate, channels=1) as file:
        # Second by second: libsndfile's Vorbis encoder may overflow its stack on long blocks.
        for first in range(0, len(wave), sample_rate):
            file.write(wave[first : first + sample_rate])


def main(folder: Path) -> None:
    """Write all recordings into a folder."""
    for recording in RECORDINGS:
        write(folder / recording.name, perform(recording), recording.sample_rate)
        print(folder / recording.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
