"""Keyword accuracy when the recording is not as clean as the test split: noise, shift, gain, speed, telephone, files.

Each case changes the waveforms of the test split's keywords, ``float32[clips, CLIP_SAMPLES]``. All is seeded.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import soundfile
import soxr

from kws.audio import SAMPLE_RATE, Waveform, decode
from kws.detection import Probabilities
from model.calibration import Targets
from model.data.recording import as_recorded
from model.settings import CLIP_SAMPLES

NOISE_DB = (20, 10, 5, 0)  # signal-to-noise ratios
_NOISE_DRAWS = 3  # stretches of noise a clip and level: one draw says as much about the draw as about the model
_TELEPHONE_BAND = (300.0, 3400.0)  # Hz, ITU-T G.712

Run = Callable[[Waveform], Probabilities]
Case = tuple[str, str, Callable[[Waveform], Waveform], int]  # group, name, change, draws


def cases(noise: Sequence[Waveform]) -> Iterator[Case]:
    """All of them; those with added noise where there is ``noise`` (recordings of a clip's length or more)."""
    rng = np.random.default_rng(0)
    for snr in NOISE_DB if noise else ():
        yield "noise", f"noise at {snr} dB", partial(add_noise, noise=noise, snr_db=snr, rng=rng), _NOISE_DRAWS
    yield from (("shift", f"shift {ms:+d} ms", partial(shift, milliseconds=ms), 1) for ms in (-150, 150))
    yield from (("gain", f"gain {db:+d} dB", partial(gain, db=db), 1) for db in (-20, -10, 6, 12))
    yield from (("speed", f"speed {by:+d} %", partial(speed, factor=1 + by / 100), 1) for by in (-10, 10))
    yield "telephone", "telephone, 8 kHz", telephone, 1
    yield "input", "44.1 kHz file", partial(as_file, rate=44_100), 1
    yield "input", "48 kHz file", partial(as_file, rate=48_000), 1
    yield "input", "stereo file", partial(as_file, rate=SAMPLE_RATE, stereo=True), 1


def measure(run: Run, waveforms: Waveform, targets: Targets, noise: Sequence[Waveform]) -> dict[str, Any]:
    """Accuracy over keyword clips in each case, and its ``difference`` to the clean clips (below 0 for a loss)."""
    clean = accuracy(run, waveforms, targets)
    rows = []
    for group, name, change, draws in cases(noise):
        found = float(np.mean([accuracy(run, change(waveforms), targets) for _ in range(draws)]))
        rows.append({"group": group, "name": name, "accuracy": found, "difference": found - clean})
    return {"clips": len(targets), "clean": clean, "cases": rows}


def accuracy(run: Run, waveforms: Waveform, targets: Targets) -> float:
    """The share of right answers."""
    return float((run(waveforms).argmax(axis=1) == targets).mean())


def add_noise(clips: Waveform, noise: Sequence[Waveform], snr_db: float, rng: np.random.Generator) -> Waveform:
    """Add a random stretch of a random recording, ``snr_db`` below the clip's own mean power."""
    mixed = np.empty_like(clips)
    for row, clip in enumerate(clips):
        recording = noise[int(rng.integers(len(noise)))]
        start = rng.integers(len(recording) - CLIP_SAMPLES + 1)
        stretch = recording[start : start + CLIP_SAMPLES]
        wanted = np.mean(clip**2) * 10 ** (-snr_db / 10)
        mixed[row] = clip + stretch * np.sqrt(wanted / (np.mean(stretch**2) + 1e-12))
    return as_recorded(mixed)


def shift(clips: Waveform, milliseconds: int) -> Waveform:
    """Later (or, below 0, earlier) by that much; zeros come in."""
    by = round(abs(milliseconds) * SAMPLE_RATE / 1000)
    padded = np.pad(clips, ((0, 0), (by, by)))
    return padded[:, :CLIP_SAMPLES] if milliseconds >= 0 else padded[:, 2 * by :]


def gain(clips: Waveform, db: float) -> Waveform:
    """Louder or softer, with the steps and the full scale of 16 bits."""
    return as_recorded(clips * np.float32(10 ** (db / 20)))


def speed(clips: Waveform, factor: float) -> Waveform:
    """Played ``factor`` times as fast, pitch included; the middle stays in the middle."""
    return _centred(soxr.resample(clips.T, SAMPLE_RATE * factor, SAMPLE_RATE, quality="HQ").T)


def telephone(clips: Waveform) -> Waveform:
    """Through a telephone: sampled at 8 kHz, only 300 to 3,400 Hz."""
    narrow = soxr.resample(clips.T, SAMPLE_RATE, SAMPLE_RATE // 2, quality="HQ").T
    spectrum = np.fft.rfft(narrow, axis=1)
    frequency = np.fft.rfftfreq(narrow.shape[1], 2 / SAMPLE_RATE)
    low, high = _TELEPHONE_BAND
    # Edges of 100 Hz: a brick wall would ring.
    passed = np.clip((frequency - low) / 100 + 1, 0, 1) * np.clip((high - frequency) / 100 + 1, 0, 1)
    filtered = np.fft.irfft(spectrum * passed, narrow.shape[1], axis=1)
    return as_recorded(soxr.resample(filtered.T, SAMPLE_RATE // 2, SAMPLE_RATE, quality="HQ").T)


def as_file(clips: Waveform, rate: int, stereo: bool = False) -> Waveform:
    """Sent as 16-bit WAV files of another rate, decoded again as every input is.

    The second channel of a stereo file is a microphone 9 cm farther away: 0.25 ms later, 3 dB softer.
    """
    resampled = clips if rate == SAMPLE_RATE else soxr.resample(clips.T, SAMPLE_RATE, rate, quality="HQ").T
    decoded = []
    for samples in np.clip(resampled, -1, 1):
        if stereo:
            later = round(0.00025 * rate)
            samples = np.stack([samples, np.pad(samples, (later, 0))[: len(samples)] * 10 ** (-3 / 20)], axis=1)
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
        decoded.append(decode(buffer.getvalue()).waveform)
    return _centred(np.stack(decoded))


def _centred(clips: Waveform) -> Waveform:
    """The middle ``CLIP_SAMPLES`` of longer clips; shorter ones between zeros."""
    missing = CLIP_SAMPLES - clips.shape[1]
    if missing <= 0:
        return np.ascontiguousarray(clips[:, -missing // 2 :][:, :CLIP_SAMPLES])
    return np.pad(clips, ((0, 0), (missing // 2, missing - missing // 2)))
