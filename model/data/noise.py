"""From a dry synthetic word to one second as a microphone would hear it: placed, coloured, in a room, with noise."""

import numpy as np
import numpy.typing as npt
import soxr
from scipy.signal import fftconvolve

from kws.audio import SAMPLE_RATE, rms
from model.settings import CLIP_SAMPLES

Samples = npt.NDArray[np.float64]

NOISES = ("white", "pink", "brown", "hum", "clicks", "gusts")


def place(spoken: npt.NDArray[np.int16], rate: int, rng: np.random.Generator) -> Samples | None:
    """A word at any rate -> ``float64[CLIP_SAMPLES]`` at 16 kHz; None when there is nothing to hear."""
    loud = np.flatnonzero(np.abs(spoken.astype(np.int32)) > 300)
    if loud.size == 0:
        return None
    word = soxr.resample(spoken[loud[0] : loud[-1] + 1] / 32768.0, rate, SAMPLE_RATE, quality="HQ")[:CLIP_SAMPLES]
    room = CLIP_SAMPLES - len(word)
    offset = round(room * rng.beta(3, 3))  # mostly near the middle, as clips are cut around their loudest part
    clip = np.pad(word, (offset, room - offset))
    if rng.random() < 0.5:
        clip = _reverberate(clip, rng)
    clip = _tilt(clip, rng.uniform(-4, 4))
    clip *= 10 ** (rng.uniform(-24, -2) / 20) / np.abs(clip).max()
    background = noise(str(rng.choice(NOISES)), CLIP_SAMPLES, rng)
    level = rms(clip[offset : offset + len(word)])
    return np.clip(clip + background * level * 10 ** (-rng.uniform(5, 40) / 20), -1, 1)


def noise(kind: str, length: int, rng: np.random.Generator) -> Samples:
    """One of ``NOISES``, ``float64[length]`` with RMS 1."""
    time = np.arange(length) / SAMPLE_RATE
    if kind == "hum":  # mains and its harmonics over a faint hiss
        mains = rng.choice([50, 60])
        tones = [np.sin(2 * np.pi * (mains * n * time + rng.random())) / n for n in range(1, 12)]
        samples = np.sum(tones, axis=0) + _coloured(length, 0.5, rng) * 0.1
    elif kind == "clicks":  # keys, cutlery: short decaying bursts
        impulses = (rng.random(length) < 6 / SAMPLE_RATE) * rng.standard_normal(length)
        burst = rng.standard_normal(800) * np.exp(-np.arange(800) / 120)
        samples = fftconvolve(impulses, burst)[:length] + rng.standard_normal(length) * 0.02
    elif kind == "gusts":  # wind: low noise that swells and falls
        swell = np.interp(time, np.arange(0, time[-1] + 2, 0.5), rng.random(int((time[-1] + 2) / 0.5) + 1))
        samples = _coloured(length, 1.0, rng) * (0.1 + swell)
    else:
        samples = _coloured(length, {"white": 0.0, "pink": 0.5, "brown": 1.0}[kind], rng)
    return samples / rms(samples)


def _coloured(length: int, exponent: float, rng: np.random.Generator) -> Samples:
    """White noise with its amplitude spectrum divided by f ** exponent, RMS 1, from 20 Hz up."""
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 20.0)
    samples = np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) / frequency**exponent, length)
    return samples / rms(samples)


def _reverberate(clip: Samples, rng: np.random.Generator) -> Samples:
    """Add a small room: noise that decays by 60 dB within 0.1 to 0.4 s, quieter than the direct sound."""
    length = int(rng.uniform(0.1, 0.4) * SAMPLE_RATE)
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    tail *= rng.uniform(0.1, 0.6) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return fftconvolve(clip, tail)[: len(clip)]


def _tilt(clip: Samples, decibels_per_octave: float) -> Samples:
    """Tilt the spectrum about 1 kHz, as cheap microphones and small loudspeakers do."""
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(clip), 1 / SAMPLE_RATE), 60.0) / 1000.0)
    return np.fft.irfft(np.fft.rfft(clip) * 10 ** (decibels_per_octave * octaves / 20), len(clip))
