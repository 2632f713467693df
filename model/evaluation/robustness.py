"""Keyword accuracy when the recording is not as clean as the test split: noise, shift, gain, speed, telephone.

Each case changes the waveforms of the test split's keywords, ``float32[clips, CLIP_SAMPLES]``. All is seeded. Files of
other rates and channels are the decoder's matter: they come through ``kws.audio`` as if they had been mono at 16 kHz.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from kws.audio import SAMPLE_RATE, Waveform
from kws.detection import Probabilities
from model.calibration import Targets
from model.data.recording import as_recorded
from model.features import SPEEDS, change_speed
from model.settings import CLIP_SAMPLES

_NOISE_DRAWS = 3  # stretches of noise a clip and level: one draw says as much about the draw as about the model
_CHUNK = 128  # clips that are changed at once
_TELEPHONE_BAND = (300.0, 3400.0)  # Hz, ITU-T G.712

Run = Callable[[Waveform], Probabilities]
Change = Callable[[Waveform], Waveform]


def measure(run: Run, waveforms: Waveform, targets: Targets, noise: Sequence[Waveform]) -> dict[str, Any]:
    """Accuracy over keyword clips in each case, and its ``difference`` to the clean clips (below 0 for a loss).

    Cases with added noise are there where there is ``noise``: recordings of a clip's length or more.
    """
    rng = np.random.default_rng(0)
    cases: list[tuple[str, str, Change]] = [
        *(("noise", f"noise at {db} dB", partial(add_noise, noise=noise, snr_db=db, rng=rng)) for db in (20, 10, 5, 0)),
        *(("shift", f"shift {ms:+d} ms", partial(shift, milliseconds=ms)) for ms in (-150, 150)),
        *(("gain", f"gain {db:+d} dB", partial(gain, db=db)) for db in (-20, -10, 6, 12)),
        *(("speed", f"speed {100 * up // down - 100:+d} %", partial(speed, up=up, down=down)) for up, down in SPEEDS),
        ("telephone", "telephone", telephone),
    ]
    clean, rows = accuracy(run, waveforms, targets), []
    for group, name, change in cases if noise else [case for case in cases if case[0] != "noise"]:
        draws = _NOISE_DRAWS if group == "noise" else 1
        found = float(np.mean([accuracy(run, waveforms, targets, change) for _ in range(draws)]))
        rows.append({"group": group, "name": name, "accuracy": found, "difference": found - clean})
    return {"clips": len(targets), "clean": clean, "cases": rows}


def accuracy(run: Run, waveforms: Waveform, targets: Targets, change: Change = lambda clips: clips) -> float:
    """The share of right answers to the clips after ``change``; a few at a time, for it may need much memory."""
    parts = np.split(waveforms, range(_CHUNK, len(waveforms), _CHUNK))
    return float((np.concatenate([run(change(part)).argmax(axis=1) for part in parts]) == targets).mean())


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


def speed(clips: Waveform, up: int, down: int) -> Waveform:
    """Played ``up / down`` times as fast, pitch included; the middle stays in the middle."""
    changed: Waveform = change_speed(torch.from_numpy(clips), up, down).numpy()
    return changed


def telephone(clips: Waveform) -> Waveform:
    """Through a telephone: only 300 to 3,400 Hz, with edges of 100 Hz, for a brick wall would ring."""
    spectrum, frequency = np.fft.rfft(clips, axis=1), np.fft.rfftfreq(clips.shape[1], 1 / SAMPLE_RATE)
    low, high = _TELEPHONE_BAND
    passed = np.clip((frequency - low) / 100 + 1, 0, 1) * np.clip((high - frequency) / 100 + 1, 0, 1)
    return as_recorded(np.fft.irfft(spectrum * passed, clips.shape[1], axis=1))
