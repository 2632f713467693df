"""Noise: made for the synthetic corpus; and background recordings, with the ``_silence_`` that is made from them."""

import hashlib

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve

from kws.audio import SAMPLE_RATE, Waveform
from model.data.layout import SPLITS
from model.data.recording import as_recorded, rms
from model.settings import CLIP_SAMPLES

NOISES = ("white", "pink", "brown", "hum", "clicks")
GAIN_DB = (-60.0, 6.0)  # of a piece of a recording, as recorded
DIGITAL_SILENCE = 0.1  # share of the clips that are all zeros, as muted microphones and padded files give
_CUTS = (0.8, 0.9)  # of a recording's time, between training, validation and testing


def noise(kind: str, length: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """One of ``NOISES``, ``float64[length]`` with RMS 1."""

    def coloured(exponent: float) -> npt.NDArray[np.float64]:
        """White noise with its amplitude spectrum divided by f ** exponent, RMS 1, from 20 Hz up."""
        frequency = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 20.0)
        shaped = np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) / frequency**exponent, length)
        return shaped / rms(shaped)

    time = np.arange(length) / SAMPLE_RATE
    if kind == "hum":  # mains and its harmonics over a faint hiss
        mains = rng.choice([50, 60])
        tones = [np.sin(2 * np.pi * (mains * n * time + rng.random())) / n for n in range(1, 12)]
        samples = np.sum(tones, axis=0) + coloured(0.5) * 0.1
    elif kind == "clicks":  # keys, cutlery: short decaying bursts
        impulses = (rng.random(length) < 6 / SAMPLE_RATE) * rng.standard_normal(length)
        burst = rng.standard_normal(800) * np.exp(-np.arange(800) / 120)
        samples = fftconvolve(impulses, burst)[:length] + rng.standard_normal(length) * 0.02
    else:
        samples = coloured({"white": 0.0, "pink": 0.5, "brown": 1.0}[kind])
    return samples / rms(samples)


def cut(recordings: list[Waveform]) -> dict[str, list[Waveform]]:
    """Recordings cut in time: 80 % for training, 10 % each to validate and to test; short pieces are repeated."""
    pieces: dict[str, list[Waveform]] = {split: [] for split in SPLITS}
    for samples in (each for each in recordings if len(each) >= CLIP_SAMPLES):
        parts = np.split(samples, [round(len(samples) * share) for share in _CUTS])
        for split, piece in zip(SPLITS, parts, strict=True):
            pieces[split].append(np.resize(piece, max(len(piece), CLIP_SAMPLES)))
    return pieces


def silence_waveforms(pieces: list[Waveform], split: str, count: int) -> Waveform:
    """Random stretches of the pieces from digital silence up, ``float32[count, CLIP_SAMPLES]``, the same each time."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(split.encode()).digest()[:8]))
    waveforms = np.zeros((count, CLIP_SAMPLES), np.float32)
    for waveform in waveforms:
        piece = pieces[rng.integers(len(pieces))]
        start = rng.integers(len(piece) - CLIP_SAMPLES + 1)
        gain = 10 ** (rng.uniform(*GAIN_DB) / 20)
        if rng.random() >= DIGITAL_SILENCE:
            waveform[:] = as_recorded(piece[start : start + CLIP_SAMPLES] * gain)
    return waveforms
