"""Which window speaks for a clip, and the rule that makes detections of running audio: in trainer and service alike."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from kws.audio import SILENT_DBFS, Waveform

if TYPE_CHECKING:
    from kws.model_file import Model

Probabilities = npt.NDArray[np.float32]
Hit = tuple[int, int, float]  # a detection: the last of the averaged windows, the label's index, its mean probability

UNKNOWN, SILENCE = "_unknown_", "_silence_"  # classes beside the keywords: any other word, no word at all
DEFAULT_THRESHOLD = 0.5  # of a clip and of running audio, where a model's file does not say

# Windows within this of the loudest hold the same sound, the word: right for 86 % of words at random places of 1.5 to
# 10 s, where the most confident window of all, often of silence, is for 79 %.
SAME_SOUND_DB = 0.5
WINDOWS_PER_CLIP = 4  # a word of up to three quarters of a clip lies whole in one of them
_SOUND_RANGE_DB = 20.0


def is_keyword(label: str) -> bool:
    """Whether a class is a word to be spotted: all but ``UNKNOWN`` and ``SILENCE``; no word begins with ``_``."""
    return not label.startswith("_")


@dataclass(frozen=True)
class ClipResult:
    """What a model says of one recording."""

    starts: list[int]  # first sample of each window
    levels: npt.NDArray[np.floating[Any]]  # dBFS (root mean square) of each window
    probabilities: Probabilities  # float32[windows, classes]
    best: int  # index of the window that speaks for the recording
    label: str  # the likeliest class there
    confidence: float  # its probability
    accepted: bool  # whether it is a keyword, at or over the model's threshold
    milliseconds: float  # inside the model


def classify(model: "Model", waveform: Waveform) -> ClipResult:
    """Classify float32[samples] of any length but 0.

    A shorter recording is padded with zeros at its end, as in training. From a longer one a window is taken every
    quarter of a clip, and one at the end; of the loudest ones (within ``SAME_SOUND_DB``) the most confident speaks for
    it. Raises FloatingPointError where an answer is no number.
    """
    size = model.info.clip_samples
    if len(waveform) < size:
        waveform = np.concatenate([waveform, np.zeros(size - len(waveform), np.float32)])
    last = len(waveform) - size
    starts = [*range(0, last, size // WINDOWS_PER_CLIP), last]
    windows = waveform[None, :] if last == 0 else sliding_window_view(waveform, size)[starts]
    begin = time.perf_counter()
    probabilities = model(windows)
    milliseconds = (time.perf_counter() - begin) * 1e3
    if not math.isfinite(probabilities.sum()):
        raise FloatingPointError("the model answered with probabilities that are not finite")
    levels = 10 * np.log10(_power(windows) + 1e-12)
    best = 0
    if len(starts) > 1:
        best = int(np.where(levels >= levels.max() - SAME_SOUND_DB, probabilities.max(axis=1), -1.0).argmax())
    index = int(probabilities[best].argmax())
    label, confidence = model.info.labels[index], float(probabilities[best, index])
    accepted = is_keyword(label) and confidence >= model.info.threshold
    return ClipResult(starts, levels, probabilities, best, label, confidence, accepted, milliseconds)


def check_bounds(name: str, value: float, low: float, high: float) -> None:
    """Raises ValueError where ``value`` is not within ``low`` and ``high``, as NaN never is."""
    if not low <= value <= high:
        raise ValueError(f"its {name} is {value}; {low:g} to {high:g} makes sense")


@dataclass(frozen=True)
class Rule:
    """How detections are made; stored in the model's metadata as ``detection``, JSON of these fields.

    Raises ValueError where a value makes no sense.
    """

    hop_seconds: float = 0.1  # from window to window; a window is one clip long
    smoothing: int = 7  # windows over which each class's probability is averaged: the window and those before it
    threshold: float = DEFAULT_THRESHOLD  # of the averaged probability
    refractory_seconds: float = 1.0  # after a detection there is none for as long

    def __post_init__(self) -> None:
        check_bounds("hop_seconds", self.hop_seconds, 0.01, 1)
        check_bounds("smoothing", self.smoothing, 1, 100)
        check_bounds("threshold", self.threshold, math.ulp(0.0), 1)  # over 0
        check_bounds("refractory_seconds", self.refractory_seconds, 0, 60)
        if not isinstance(self.smoothing, int):
            raise ValueError(f"its smoothing is {self.smoothing}; it is a whole number of windows")


class Detector:
    """The rule over probabilities as they come; one for each stream.

    A detection is where the likeliest class on average is a keyword, at or over the threshold, and not likelier in the
    next window; none within the refractory time after another, nor while the keyword that was detected last stays over
    the threshold: a word counts once. An average is over all its windows: one over the first few alone would be surer
    of a first sound than the rule is of any other.
    """

    def __init__(self, labels: Sequence[str], rule: Rule) -> None:
        self._rule = rule
        self._keyword = np.array([is_keyword(label) for label in labels])
        self._recent = np.empty((0, len(labels)), np.float32)  # that the next average takes, too
        self._windows = rule.smoothing - 1  # the next window that has an average
        self._last = (-1, 0.0)  # of the window before: the keyword that is over the threshold, if any, how sure it is
        self._counted = False  # whether that keyword was detected since it is over the threshold
        self._free = 0  # the first window that may be a detection again

    def feed(self, probabilities: Probabilities, ends: bool = False) -> list[Hit]:
        """The detections that float32[windows, classes] complete, and that the end of the audio does after them."""
        rule, found = self._rule, list[Hit]()
        known = np.concatenate([self._recent, probabilities])
        smooth = averages(known, rule.smoothing)
        best, sure = smooth.argmax(axis=1), smooth.max(axis=1)
        over = self._keyword[best] & (sure >= rule.threshold)
        labels, tops = np.where(over, best, -1).tolist(), np.where(over, sure, 0.0).tolist()
        for label, now in [*zip(labels, tops, strict=True), *[(-1, 0.0)] * ends]:
            (last, top), window = self._last, self._windows - 1
            if last >= 0 and now <= top and not self._counted and window >= self._free:
                found.append((window, last, top))
                self._free = window + max(1, round(rule.refractory_seconds / rule.hop_seconds))
                self._counted = True
            self._counted &= label == last
            self._last, self._windows = (label, now), self._windows + 1
        self._recent = known[len(smooth) :]
        return found


def averages(probabilities: Probabilities, smoothing: int) -> Probabilities:
    """float32[windows, classes] -> the means over ``smoothing`` windows: float32[windows - smoothing + 1, classes]."""
    count = max(0, len(probabilities) - smoothing + 1)
    total = np.zeros((count, probabilities.shape[1]), np.float32)
    for offset in range(smoothing):  # the same sum for a window however the audio was cut into pieces
        total += probabilities[offset : offset + count]
    return total / np.float32(smoothing)


@dataclass(frozen=True)
class Detection:
    """One spoken word."""

    label: str
    start: float  # seconds
    end: float
    confidence: float  # the averaged probability


class Listener:
    """Detections in one stream at the model's sample rate.

    It hears as much silence before the stream as the averages of the first windows need, and after it as those of the
    last ones do: a recording may be a word and nothing else.
    """

    def __init__(self, model: "Model", rule: Rule) -> None:
        self._model, self._rule, self._detector = model, rule, Detector(model.info.labels, rule)
        self._hop = max(1, round(rule.hop_seconds * model.info.sample_rate))
        self._lead = (rule.smoothing - 1) * self._hop  # samples of silence before the stream
        self._kept = np.zeros(self._lead, np.float32)  # the newest samples
        self._first = -self._lead  # the number of the first of them
        self._samples = self._windows = 0  # heard so far

    def feed(self, waveform: Waveform, ends: bool = False) -> list[Detection]:
        """The detections that more audio, float32[samples], completes, and that the end of the audio does after it."""
        info, size, hop, found = self._model.info, self._model.info.clip_samples, self._hop, []
        self._samples += len(waveform)
        over = self._samples + self._lead - size  # what the first window leaves
        missing = max(0, -(-over // hop)) * hop - over + self._lead if ends and self._samples else 0
        self._kept = np.concatenate([self._kept, waveform, np.zeros(missing, np.float32)])
        rest = self._kept[self._windows * hop - self._lead - self._first :]
        windows = sliding_window_view(rest, size)[::hop] if len(rest) >= size else np.empty((0, size), np.float32)
        for window, label, confidence in self._detector.feed(running_probabilities(self._model, windows), ends):
            # The word is what is loud from the middle of its windows to the end of the next.
            begin, frame = round(middle(window, self._rule) * info.sample_rate), info.sample_rate // 100
            begin, after = max(begin, self._first), (window + 1) * hop + size - self._lead
            heard = self._kept[begin - self._first : after - self._first]
            power = _power(heard[: len(heard) // frame * frame].reshape(-1, frame))
            loud = begin + frame * np.flatnonzero(power >= power.max() * 10 ** (-_SOUND_RANGE_DB / 10))
            start, end = max(0, int(loud[0])), min(int(loud[-1]) + frame, self._samples)
            found.append(Detection(info.labels[label], start / info.sample_rate, end / info.sample_rate, confidence))
        self._windows += len(windows)
        # What is detected next may begin as many windows ago as are averaged.
        drop = max(0, (self._windows - self._rule.smoothing - 1) * hop - self._lead - self._first)
        self._kept, self._first = self._kept[drop:], self._first + drop
        return found


def detect(model: "Model", waveform: Waveform, threshold: float | None = None) -> list[Detection]:
    """The keywords in float32[samples], in the order of their times; ``threshold`` goes before the rule's."""
    rule = model.info.rule if threshold is None else replace(model.info.rule, threshold=threshold)
    return Listener(model, rule).feed(waveform, ends=True)


def running_probabilities(model: "Model", windows: Waveform) -> Probabilities:
    """float32[windows, classes]; 0 for a silent window where the model has not learned what silence is."""
    found = model(windows)
    if SILENCE in model.info.labels:
        return found
    return np.where((_power(windows) < 10 ** (SILENT_DBFS / 10))[:, None], np.float32(0), found)


def middle(window: int, rule: Rule) -> float:
    """Where a detection's windows begin on average, in seconds from the beginning of a ``Listener``'s stream."""
    return (window - 1.5 * (rule.smoothing - 1)) * rule.hop_seconds


def _power(windows: Waveform) -> Waveform:
    """The mean square of each of float32[windows, samples]."""
    return np.vecdot(windows, windows) / windows.shape[1]
