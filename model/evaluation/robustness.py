"""Keyword accuracy when the recording is not as clean as the test split: noise, shift, gain, speed, telephone.

Each case changes the waveforms of the test split's keywords, ``float32[clips, CLIP_SAMPLES]``. All is seeded. Files of
other rates and channels are the decoder's matter: they come through ``kws.audio`` as if they had been mono at 16 kHz.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.ndimage import shift
from scipy.signal import butter, sosfilt

from kws.audio import SAMPLE_RATE, Waveform
from kws.model_file import Model
from model.calibration import Targets
from model.data.recording import as_recorded
from model.features import SPEEDS, change_speed
from model.settings import CLIP_SAMPLES

_NOISE_DRAWS = 3  # stretches of noise a clip and level: one draw says as much about the draw as about the model
_CHUNK = 128  # clips that are changed at once, for it may need much memory
_TELEPHONE = butter(8, (300, 3400), "bandpass", fs=SAMPLE_RATE, output="sos")  # Hz, ITU-T G.712

Change = Callable[[Waveform], Waveform]


def measure(model: Model, waveforms: Waveform, targets: Targets, keywords: Any, noise: Sequence[Waveform]) -> Any:
    """Accuracy over clips ``int[keywords]`` in each case, and its ``difference`` to the clean ones, below 0 a loss."""
    parts = np.split(keywords, range(_CHUNK, len(keywords), _CHUNK))

    def accuracy(change: Change, draws: int) -> float:
        found = [model(as_recorded(change(waveforms[part]))).argmax(axis=1) for _ in range(draws) for part in parts]
        return float((np.concatenate(found) == np.tile(targets[keywords], draws)).mean())

    clean, rows = accuracy(lambda clips: clips, 1), []
    for name, change in changes(noise).items():
        group = name.partition(" ")[0]
        found = accuracy(change, _NOISE_DRAWS if group == "noise" else 1)
        rows.append({"group": group, "name": name, "accuracy": found, "difference": found - clean})
    return {"clips": len(keywords), "clean": clean, "cases": rows}


def changes(noise: Sequence[Waveform]) -> dict[str, Change]:
    """The cases by name; those with noise where there is some: recordings of a clip's length or more."""
    rng = np.random.default_rng(0)
    return {
        **{f"noise at {db} dB": partial(_add_noise, noise, db, rng) for db in (20, 10, 5, 0) if noise},
        **{f"shift {ms:+d} ms": partial(shift, shift=(0, ms * SAMPLE_RATE // 1000), order=0) for ms in (-150, 150)},
        **{f"gain {db:+d} dB": partial(np.multiply, np.float32(10 ** (db / 20))) for db in (-20, -10, 6, 12)},
        **{f"speed {100 * up // down - 100:+d} %": partial(_change_speed, up, down) for up, down in SPEEDS},
        "telephone": partial(sosfilt, _TELEPHONE, axis=1),
    }


def _add_noise(noise: Sequence[Waveform], snr_db: float, rng: np.random.Generator, clips: Waveform) -> Waveform:
    """Add a random stretch of a random recording, ``snr_db`` below the clip's own mean power."""
    mixed = np.empty_like(clips)
    for row, clip in enumerate(clips):
        recording = noise[int(rng.integers(len(noise)))]
        start = rng.integers(len(recording) - CLIP_SAMPLES + 1)
        stretch = recording[start : start + CLIP_SAMPLES]
        wanted = np.mean(clip**2) * 10 ** (-snr_db / 10)
        mixed[row] = clip + stretch * np.sqrt(wanted / (np.mean(stretch**2) + 1e-12))
    return mixed


def _change_speed(up: int, down: int, clips: Waveform) -> Waveform:
    return np.asarray(change_speed(torch.from_numpy(clips), up, down))
