"""Keywords in a longer recording: one detection a spoken word."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .audio import Waveform
from .classifier import Classifier
from .rule import detections, middle

SILENCE = "_silence_"
# Below this level a window is silent for a model that has not learned what silence is.
SILENCE_DBFS = -60.0
_FRAMES_PER_SECOND = 100
_SOUND_RANGE_DB = 20.0
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class Detection:
    """One spoken word: `start` and `end` in seconds, `confidence` the averaged probability."""

    label: str
    start: float
    end: float
    confidence: float


def detect(classifier: Classifier, waveform: Waveform, threshold: float | None = None) -> list[Detection]:
    """The keywords in float32[samples], in the order of their times, by the model's own rule (`rule.py`).

    `threshold` goes before the rule's. A detection's times are those of what is loud in the window about its middle.
    """
    info = classifier.info
    rule = info.rule if threshold is None else replace(info.rule, threshold=threshold)
    hop = max(1, round(rule.hop_seconds * info.sample_rate))
    count = 1 + max(0, -(-(len(waveform) - info.clip_samples) // hop))
    padded = np.zeros(info.clip_samples + (count - 1) * hop, np.float32)
    padded[: len(waveform)] = waveform
    windows = sliding_window_view(padded, info.clip_samples)[::hop]
    probabilities = classifier(windows)
    if SILENCE not in info.labels:
        power = np.einsum("ws,ws->w", windows, windows) / info.clip_samples
        probabilities = np.where((power < 10 ** (SILENCE_DBFS / 10))[:, None], np.float32(0), probabilities)
    index, labels, confidence = detections(probabilities, info.labels, rule)
    found = []
    for label, shift, probability in zip(
        labels.tolist(), middle(index, rule).tolist(), confidence.tolist(), strict=True
    ):
        begin, end = _sound(padded, round(shift * info.sample_rate), info.clip_samples, info.sample_rate)
        times = begin / info.sample_rate, min(end, len(waveform)) / info.sample_rate
        found.append(Detection(info.labels[label], *times, probability))
    return found


def _sound(samples: Waveform, first: int, size: int, sample_rate: int) -> tuple[int, int]:
    """First sample and the one after the last of what is loud in the window at `first`.

    A word may reach over the window's edges: followed over pauses of `_PAUSE_SECONDS` up to a window's length in all.
    """
    frame = sample_rate // _FRAMES_PER_SECOND
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    power = np.einsum("fs,fs->f", frames, frames)
    low, high = first // frame, min((first + size) // frame, len(power))
    loud = np.flatnonzero(power >= power[low:high].max() * 10 ** (-_SOUND_RANGE_DB / 10))
    inside = loud[(loud >= low) & (loud < high)]
    begin, end = int(inside[0]), int(inside[-1])
    pause = _PAUSE_SECONDS * _FRAMES_PER_SECOND
    longest = size // frame
    for index in loud[loud > end]:
        if index - end > pause or index - begin >= longest:
            break
        end = int(index)
    for index in loud[loud < begin][::-1]:
        if begin - index > pause or end - index >= longest:
            break
        begin = int(index)
    return begin * frame, (end + 1) * frame
