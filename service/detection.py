"""Keywords in a longer recording: one detection a spoken word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .audio import Waveform
from .classifier import SAME_SOUND_DB, Classifier

HOP_SECONDS = 0.1
DEFAULT_THRESHOLD = 0.5
# Probabilities are averaged over this many windows: a word holds on for as long, a slip does not.
SMOOTHING = 3
# Nothing this much below the loudest window, or below this level, is a word.
SPEECH_RANGE_DB = 30.0
SILENCE_DBFS = -60.0
_FRAMES_PER_SECOND = 100
_SOUND_RANGE_DB = 20.0
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class Detection:
    """One spoken word: `start` and `end` in seconds, `confidence` the smoothed probability."""

    label: str
    start: float
    end: float
    confidence: float


def detect(classifier: Classifier, waveform: Waveform, threshold: float) -> list[Detection]:
    """The keywords in float32[samples], in the order of their times.

    A window every `HOP_SECONDS`, probabilities smoothed. The loudest window at or over the threshold speaks for the
    sound in it, as in `classify`; every window that touches this sound is then spent, so that a word counts once.
    Labels in underscores (`_unknown_`, `_silence_`) are never detections. Two words within one window give one.
    """
    info = classifier.info
    hop = max(1, round(HOP_SECONDS * info.sample_rate))
    count = 1 + max(0, -(-(len(waveform) - info.clip_samples) // hop))
    padded = np.zeros(info.clip_samples + (count - 1) * hop, np.float32)
    padded[: len(waveform)] = waveform[: len(padded)]
    windows = sliding_window_view(padded, info.clip_samples)[::hop]
    probabilities = _smooth(classifier(windows))
    levels = 10 * np.log10(np.einsum("ws,ws->w", windows, windows) / info.clip_samples + 1e-12)
    keyword = np.array([not label.startswith("_") for label in info.labels])
    best = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    heard = (confidence >= threshold) & keyword[best]
    heard &= levels >= max(levels.max() - SPEECH_RANGE_DB, SILENCE_DBFS)
    found: list[Detection] = []
    # Loudest first; of those that hold the same sound the most confident.
    for index in np.lexsort((-confidence, -np.floor(levels / SAME_SOUND_DB))):
        if not heard[index]:
            continue
        begin, end = _sound(padded, int(index) * hop, info.clip_samples, info.sample_rate)
        starts = np.arange(count) * hop
        heard &= (starts + info.clip_samples <= begin) | (starts >= end)
        label = info.labels[int(best[index])]
        found.append(
            Detection(
                label, begin / info.sample_rate, min(end, len(waveform)) / info.sample_rate, float(confidence[index])
            )
        )
    return sorted(found, key=lambda detection: detection.start)


def _smooth(probabilities: Waveform) -> Waveform:
    """Mean with the neighbours; at the ends of the recording with those that there are."""
    half = SMOOTHING // 2
    padded = np.pad(probabilities, ((half, half), (0, 0)), mode="edge")
    smooth: Waveform = sliding_window_view(padded, SMOOTHING, axis=0).mean(axis=-1, dtype=np.float32)
    return smooth


def _sound(samples: Waveform, first: int, size: int, sample_rate: int) -> tuple[int, int]:
    """First sample and the one after the last of what is loud in the window at `first`.

    A word may reach over the window's edges: followed for half a window, over pauses of `_PAUSE_SECONDS`.
    """
    frame = sample_rate // _FRAMES_PER_SECOND
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    power = np.einsum("fs,fs->f", frames, frames)
    low, high = first // frame, min((first + size) // frame, len(power))
    loud = np.flatnonzero(power >= power[low:high].max() * 10 ** (-_SOUND_RANGE_DB / 10))
    inside = loud[(loud >= low) & (loud < high)]
    begin, end = int(inside[0]), int(inside[-1])
    pause = _PAUSE_SECONDS * _FRAMES_PER_SECOND
    half = size // frame // 2
    for index in loud[(loud < begin) & (loud >= low - half)][::-1]:
        if begin - index > pause:
            break
        begin = int(index)
    for index in loud[(loud > end) & (loud < high + half)]:
        if index - end > pause:
            break
        end = int(index)
    return begin * frame, (end + 1) * frame
