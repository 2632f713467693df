"""The rule that makes detections of running audio: windows in, one detection a spoken keyword out.

The service holds the same rule (``service/detection.py``); a test keeps the two alike. How the rule was chosen is in
``docs/model.md``.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from model.audio import SILENT_DBFS
from model.settings import CLIP_SAMPLES, SAMPLE_RATE, SILENCE, is_keyword

Samples = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
Run = Callable[[Samples], Probabilities]

_BATCH = 64


@dataclass(frozen=True)
class Rule:
    """How detections are made; stored in the exported model's metadata as ``detection``.

    Attributes:
        hop_seconds: from window to window; a window is one clip long.
        smoothing: windows over which each class's probability is averaged: the window itself and those before it.
        threshold: of the averaged probability, over 0 and at most 1.
        refractory_seconds: after a detection there is none for as long.
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
        found = np.where((power < 10 ** (SILENT_DBFS / 10))[:, None], np.float32(0), found)
    return found


def detections(found: Probabilities, labels: Sequence[str], rule: Rule) -> list[Detection]:
    """The keywords in the windows' probabilities, in the order of their times.

    A detection is a top (see ``tops``) at or over the threshold, but not within the refractory time after another, nor
    while the keyword that was detected last stays over the threshold: a word counts once. Causal but for the one window
    that shows that a probability has passed its top, so that a live stream is judged as a recording is.
    """
    top = tops(found, labels, rule.smoothing)
    time = middle(top.window, rule.smoothing, rule.hop_seconds)
    return [
        Detection(labels[top.label[i]], float(time[i]), float(top.confidence[i]))
        for i in chosen(top.window, top.confidence, top.valley, rule.threshold, reach(rule))
    ]


class Top(NamedTuple):
    """Tops of averaged probabilities: arrays, one value each.

    ``valley`` is the lowest that the label's average was since the top before, 0 where another label was likelier.
    """

    window: Indices
    label: Indices
    confidence: Probabilities
    valley: Probabilities


def tops(found: Probabilities, labels: Sequence[str], smoothing: int, lowest: float = 0.0) -> Top:
    """Where a keyword is the likeliest class on average, over ``lowest``, and not likelier in the next window.

    A keyword is a label without an underscore before it.
    """
    smooth = average(found, smoothing)
    best = smooth.argmax(axis=1)
    keyword = np.array([is_keyword(label) for label in labels])
    confidence = np.where(keyword[best], smooth.max(axis=1), np.float32(0))
    window = np.flatnonzero((confidence > lowest) & (confidence >= np.append(confidence[1:], np.float32(0))))
    held = np.where(best == np.concatenate([[-1], best[:-1]]), confidence, np.float32(0))
    begins = np.concatenate([[0], window[:-1] + 1]).astype(np.intp)
    valley = np.minimum.reduceat(held[: window[-1] + 1], begins) if len(window) else confidence[:0]
    return Top(window, best[window], confidence[window], valley)


def chosen(
    window: Indices, confidence: Probabilities, valley: Probabilities, threshold: float, apart: int
) -> list[int]:
    """Which tops, in the order of their windows, are detections; ``apart`` is the refractory time in windows."""
    run = np.cumsum(valley < threshold)  # the same number while one keyword stays over the threshold
    detected: list[int] = []
    free, last_run = -1, -1
    for top in np.flatnonzero(confidence >= threshold).tolist():
        if window[top] >= free and run[top] != last_run:
            detected.append(top)
            free, last_run = window[top] + max(1, apart), run[top]
    return detected


def middle(index: Indices, smoothing: int, hop_seconds: float) -> npt.NDArray[np.float64]:
    """The middle, in seconds, of the windows that were averaged for each of ``index``."""
    there = np.minimum(index + 1, smoothing)
    return CLIP_SAMPLES / SAMPLE_RATE / 2 + (index - (there - 1) / 2) * hop_seconds


def reach(rule: Rule) -> int:
    """The refractory time in windows."""
    return round(rule.refractory_seconds / rule.hop_seconds)


def average(found: Probabilities, count: int) -> Probabilities:
    """The mean of each window and the ``count - 1`` before it; at the beginning, of those that there are."""
    padded = np.concatenate([np.zeros((count - 1, found.shape[1]), np.float32), found])
    total = np.zeros_like(found)
    for offset in range(count):  # the same sum for a window wherever the stream begins
        total += padded[offset : offset + len(found)]
    there = np.minimum(np.arange(1, len(found) + 1), count).astype(np.float32)
    smooth: Probabilities = total / there[:, None]
    return smooth
