"""Keyword accuracy when the recording is not as clean as the test split: noise, shift, gain, speed, telephone, rates.

Each case changes the waveforms of the test split's keywords as the world would (``model/degrade.py``), with nothing
drawn from the training part of the data, and is judged by its distance to the clean clips. Everything is seeded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from model import audio, degrade
from model.calibration import Targets
from model.inference import Probabilities, Waveforms
from model.settings import SAMPLE_RATE

Run = Callable[[Waveforms], Probabilities]

# The largest losses of accuracy, as shares of 1.
NOISE_BOUNDS = {20: 0.01, 10: 0.03, 5: 0.06, 0: 0.15}  # by signal-to-noise ratio in dB
_CHANGE, _TELEPHONE, _FORMAT = 0.015, 0.04, 0.005
LEAST_VOICES = 0.95  # accuracy over voices of another kind
_NOISE_DRAWS = 3  # stretches of noise a clip and level: one draw says as much about the draw as about the model


@dataclass(frozen=True)
class Case:
    """A change of ``float32[clips, CLIP_SAMPLES]``, and the largest loss of accuracy allowed with it."""

    group: str
    name: str
    bound: float
    change: Callable[[Waveforms], Waveforms]
    draws: int = 1


def cases(noise: Sequence[audio.Samples]) -> list[Case]:
    """All of them; those with added noise where there is ``noise`` (recordings of a clip's length or more)."""
    rng = np.random.default_rng(0)
    found = [
        Case(
            "noise",
            f"noise at {snr} dB",
            bound,
            partial(degrade.add_noise, noise=noise, snr_db=snr, rng=rng),
            _NOISE_DRAWS,
        )
        for snr, bound in NOISE_BOUNDS.items()
        if noise
    ]
    for ms in (-150, 150):
        found.append(Case("shift", f"shift {ms:+d} ms", _CHANGE, partial(degrade.shift, milliseconds=ms)))
    for db in (-20, -10, 6, 12):
        found.append(Case("gain", f"gain {db:+d} dB", _CHANGE, partial(degrade.gain, db=db)))
    for percent in (-10, 10):
        change = partial(degrade.speed, factor=1 + percent / 100)
        found.append(Case("speed", f"speed {percent:+d} %", _CHANGE, change))
    return [
        *found,
        Case("telephone", "telephone, 8 kHz", _TELEPHONE, degrade.telephone),
        Case("input", "44.1 kHz file", _FORMAT, partial(degrade.as_file, rate=44_100)),
        Case("input", "48 kHz file", _FORMAT, partial(degrade.as_file, rate=48_000)),
        Case("input", "stereo file", _FORMAT, partial(degrade.as_file, rate=SAMPLE_RATE, stereo=True)),
    ]


def measure(
    run: Run,
    waveforms: Waveforms,
    targets: Targets,
    noise: Sequence[audio.Samples],
    voices: tuple[Waveforms, Targets] | None = None,
) -> dict[str, Any]:
    """Accuracy in each case over keyword clips ``float32[clips, CLIP_SAMPLES]``, and what it loses to the clean clips.

    ``difference`` is a share of 1, below 0 for a loss; ``least`` is the accuracy that the case's bound asks for.
    ``voices`` are further clips, of speakers of another kind, which have a bound of their own.
    """
    clean = _accuracy(run, waveforms, targets)
    rows = []
    for case in cases(noise):
        drawn = [_accuracy(run, case.change(waveforms), targets) for _ in range(case.draws)]
        rows.append(_row(case.group, case.name, len(waveforms), sum(drawn) / len(drawn), clean, clean - case.bound))
    if voices is not None and len(voices[0]):
        accuracy = _accuracy(run, *voices)
        rows.append(_row("voices", "synthetic voices", len(voices[0]), accuracy, clean, LEAST_VOICES))
    return {"clips": len(waveforms), "clean": clean, "cases": rows}


def _row(group: str, name: str, clips: int, accuracy: float, clean: float, least: float) -> dict[str, Any]:
    return {
        "group": group,
        "name": name,
        "clips": clips,
        "accuracy": accuracy,
        "difference": accuracy - clean,
        "least": least,
        "passed": accuracy >= least - 1e-9,
    }


def _accuracy(run: Run, waveforms: Waveforms, targets: Targets) -> float:
    return float((run(waveforms).argmax(axis=1) == targets).mean())
