"""The rule that makes detections of running audio: windows in, one detection a spoken keyword out.

The service holds the same rule (``service/detection.py``); a test keeps the two alike. How the rule was chosen is in
``docs/model.md``.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from model.settings import CLIP_SAMPLES, SAMPLE_RATE

Samples = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float32]
Run = Callable[[Samples], Probabilities]

SILENCE = "_silence_"
# Below this level a window is silent for a model that has not learned what silence is.
SILENCE_DBFS = -60.0
_BATCH = 64


@dataclass(frozen=True)
class Rule:
    """How detections are made; stored in the exported model's metadata as ``detection``.

    Attributes:
        hop_seconds: from window to window; a window is one clip long.
        smoothing: windows over which each class's probability is averaged: the window itself and those before it.
        threshold: of the averaged probability, over 0 and at most 1.
        refractory_seconds: of detections nearer than this the one with the highest probability counts.
    """

    hop_seconds: float = 0.1
    smoothing: int = 3
    threshold: float = 0.8
    refractory_seconds: float = 1.0

    def to_json(self) -> str:
        """For the metadata."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Detection:
    """A keyword that was heard: ``time`` is the middle of the averaged windows in seconds."""

    label: str
    time: float
    confidence: float


def windows(samples: Samples, hop_seconds: float) -> Samples:
    """A window every hop: ``float32[windows, CLIP_SAMPLES]``, a view of ``float32[samples]``.

    Zeros follow at the end, so that what is shorter than a clip has a window, and the last sample is in one.
    """
    hop = max(1, round(hop_seconds * SAMPLE_RATE))
    count = 1 + max(0, -(-(len(samples) - CLIP_SAMPLES) // hop))
    padded = np.zeros(CLIP_SAMPLES + (count - 1) * hop, np.float32)
    padded[: len(samples)] = samples
    return sliding_window_view(padded, CLIP_SAMPLES)[::hop]


def probabilities(run: Run, samples: Samples, labels: Sequence[str], hop_seconds: float) -> Probabilities:
    """``float32[windows, classes]`` of running audio; 0 for a silent window where the model knows no silence."""
    parts = windows(samples, hop_seconds)
    found = np.concatenate([run(np.ascontiguousarray(parts[i : i + _BATCH])) for i in range(0, len(parts), _BATCH)])
    if SILENCE not in labels:
        power = np.einsum("ws,ws->w", parts, parts) / CLIP_SAMPLES
        found = np.where((power < 10 ** (SILENCE_DBFS / 10))[:, None], np.float32(0), found)
    return found


def detections(found: Probabilities, labels: Sequence[str], rule: Rule) -> list[Detection]:
    """The keywords in the windows' probabilities, in the order of their times.

    A window is a detection where a keyword (a label without an underscore before it) is the likeliest class after
    averaging, at or over the threshold, and no other keyword's average within ``refractory_seconds`` is higher.
    """
    smooth = average(found, rule.smoothing)
    best = smooth.argmax(axis=1)
    keyword = np.array([not label.startswith("_") for label in labels])
    confidence = np.where(keyword[best], smooth.max(axis=1), np.float32(0))
    peaks = np.flatnonzero((confidence >= rule.threshold) & _is_peak(confidence, _reach(rule)))
    offset = CLIP_SAMPLES / SAMPLE_RATE / 2 - (rule.smoothing - 1) / 2 * rule.hop_seconds
    return [
        Detection(labels[best[i]], float(max(0.0, i * rule.hop_seconds + offset)), float(confidence[i])) for i in peaks
    ]


def average(found: Probabilities, count: int) -> Probabilities:
    """The mean of each window and the ``count - 1`` before it; at the beginning, of those that there are."""
    padded = np.concatenate([np.repeat(found[:1], count - 1, axis=0), found])
    smooth: Probabilities = sliding_window_view(padded, count, axis=0).mean(axis=-1, dtype=np.float32)
    return smooth


def _reach(rule: Rule) -> int:
    """How many windows on either side a detection suppresses."""
    return max(0, round(rule.refractory_seconds / rule.hop_seconds) - 1)


def _is_peak(confidence: npt.NDArray[np.float32], reach: int) -> npt.NDArray[np.bool_]:
    """Whether a window is the highest of those within ``reach``; of equal ones the first."""
    if reach == 0:
        return np.ones(len(confidence), dtype=bool)
    padded = np.pad(confidence, reach, constant_values=-1)
    around = sliding_window_view(padded, reach).max(axis=1)  # [windows + reach + 1]
    before, after = around[: len(confidence)], around[reach + 1 :]
    peak: npt.NDArray[np.bool_] = (confidence > before) & (confidence >= after)
    return peak
