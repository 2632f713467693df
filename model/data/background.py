"""Background recordings: cut in time into the splits, and what a model shall call ``_silence_`` made from them."""

import hashlib

import numpy as np

from kws.audio import Waveform
from kws.detection import SILENCE
from model.data.layout import SPLITS, Clip
from model.data.recording import as_recorded
from model.settings import CLIP_SAMPLES

_CUTS = (0.8, 0.9)  # of a recording's time, between training, validation and testing
GAIN_DB = (-60.0, 6.0)  # of a piece of a recording, as recorded
DIGITAL_SILENCE = 0.1  # share of the clips that are all zeros, as muted microphones and padded files give


def cut(recordings: list[Waveform]) -> dict[str, list[Waveform]]:
    """Each recording's first 80 % for training, the next 10 % for validation, the last for testing.

    Recordings shorter than a clip are left out; a piece that is shorter is repeated to a clip's length.
    """
    pieces: dict[str, list[Waveform]] = {split: [] for split in SPLITS}
    for samples in recordings:
        parts = np.split(samples, [round(len(samples) * share) for share in _CUTS])
        for split, piece in zip(SPLITS, parts if len(samples) >= CLIP_SAMPLES else (), strict=False):
            pieces[split].append(np.resize(piece, max(len(piece), CLIP_SAMPLES)))
    return pieces


def silence_clips(split: str, count: int) -> tuple[Clip, ...]:
    """``count`` clips that are in no file, with the samples that ``silence_waveforms`` makes."""
    return tuple(Clip(f"{SILENCE}/{split}_{number:05d}", SILENCE, split, "") for number in range(count))


def silence_waveforms(pieces: list[Waveform], split: str, count: int) -> Waveform:
    """Clips without a word, ``float32[count, CLIP_SAMPLES]``; the same ones each time.

    Random stretches of the pieces at levels from digital silence upward, with the steps of 16 bits.
    """
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(split.encode()).digest()[:8]))
    waveforms = np.zeros((count, CLIP_SAMPLES), np.float32)
    for waveform in waveforms:
        piece = pieces[rng.integers(len(pieces))]
        start = rng.integers(len(piece) - CLIP_SAMPLES + 1)
        gain = 10 ** (rng.uniform(*GAIN_DB) / 20)
        if rng.random() >= DIGITAL_SILENCE:
            waveform[:] = as_recorded(piece[start : start + CLIP_SAMPLES] * gain)
    return waveforms
