"""What microphones, rooms, lines and files do to clips: ``float32[clips, CLIP_SAMPLES]`` in, the same shape out."""

import io
from collections.abc import Sequence

import numpy as np

from model import audio
from model.inference import Waveforms
from model.settings import CLIP_SAMPLES, SAMPLE_RATE

_TELEPHONE_BAND = (300.0, 3400.0)  # Hz, ITU-T G.712


def add_noise(clips: Waveforms, noise: Sequence[audio.Samples], snr_db: float, rng: np.random.Generator) -> Waveforms:
    """Add a random stretch of a random recording, ``snr_db`` below the clip's own mean power."""
    mixed = np.empty_like(clips)
    for row, clip in enumerate(clips):
        recording = noise[int(rng.integers(len(noise)))]
        start = rng.integers(len(recording) - CLIP_SAMPLES + 1)
        stretch = recording[start : start + CLIP_SAMPLES]
        wanted = np.mean(clip**2) * 10 ** (-snr_db / 10)
        mixed[row] = clip + stretch * np.sqrt(wanted / (np.mean(stretch**2) + 1e-12))
    return audio.as_recorded(mixed)


def shift(clips: Waveforms, milliseconds: int) -> Waveforms:
    """Later (or, below 0, earlier) by that much; zeros come in."""
    by = round(abs(milliseconds) * SAMPLE_RATE / 1000)
    moved = np.zeros_like(clips)
    if milliseconds >= 0:
        moved[:, by:] = clips[:, : CLIP_SAMPLES - by]
    else:
        moved[:, : CLIP_SAMPLES - by] = clips[:, by:]
    return moved


def gain(clips: Waveforms, db: float) -> Waveforms:
    """Louder or softer, with the steps and the full scale of 16 bits."""
    return audio.as_recorded(clips * np.float32(10 ** (db / 20)))


def speed(clips: Waveforms, factor: float) -> Waveforms:
    """Played ``factor`` times as fast, pitch included; the middle stays in the middle."""
    import soxr

    changed = soxr.resample(clips.T, SAMPLE_RATE * factor, SAMPLE_RATE, quality="HQ").T
    missing = CLIP_SAMPLES - changed.shape[1]
    if missing <= 0:
        return np.ascontiguousarray(changed[:, -missing // 2 :][:, :CLIP_SAMPLES])
    return np.pad(changed, ((0, 0), (missing // 2, missing - missing // 2)))


def telephone(clips: Waveforms) -> Waveforms:
    """Through a telephone: sampled at 8 kHz, only 300 to 3,400 Hz."""
    import soxr

    narrow = soxr.resample(clips.T, SAMPLE_RATE, SAMPLE_RATE // 2, quality="HQ").T
    spectrum = np.fft.rfft(narrow, axis=1)
    frequency = np.fft.rfftfreq(narrow.shape[1], 2 / SAMPLE_RATE)
    low, high = _TELEPHONE_BAND
    # Edges of 100 Hz: a brick wall would ring.
    passed = np.clip((frequency - low) / 100 + 1, 0, 1) * np.clip((high - frequency) / 100 + 1, 0, 1)
    filtered = np.fft.irfft(spectrum * passed, narrow.shape[1], axis=1)
    return audio.as_recorded(soxr.resample(filtered.T, SAMPLE_RATE // 2, SAMPLE_RATE, quality="HQ").T)


def as_file(clips: Waveforms, rate: int, stereo: bool = False) -> Waveforms:
    """Sent as 16-bit WAV files of another rate, decoded again as every input is.

    The second channel of a stereo file is a microphone 9 cm farther away: 0.25 ms later, 3 dB softer.
    """
    import soundfile
    import soxr

    resampled = clips if rate == SAMPLE_RATE else soxr.resample(clips.T, SAMPLE_RATE, rate, quality="HQ").T
    decoded = np.empty_like(clips)
    for row, samples in enumerate(np.clip(resampled, -1, 1)):
        if stereo:
            later = round(0.00025 * rate)
            samples = np.stack([samples, np.pad(samples, (later, 0))[: len(samples)] * 10 ** (-3 / 20)], axis=1)
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
        decoded[row] = audio.fit(audio.decode(buffer.getvalue()))
    return decoded
