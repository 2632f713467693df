"""Which window speaks for a clip, and the rule that makes detections of running audio; the defaults of both.

The trainer chooses and measures by these very functions, and the service answers by them.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from kws.audio import SILENT_DBFS, Waveform

if TYPE_CHECKING:
    from kws.model_file import Model

Probabilities = npt.NDArray[np.float32]

UNKNOWN, SILENCE = "_unknown_", "_silence_"  # classes beside the keywords: any other word, no word at all
DEFAULT_THRESHOLD = 0.5  # of a clip and of running audio, where a model's file does not say

# The word is where the recording is loudest; windows within this of the loudest hold the same sound. Measured on
# words at random places of 1.5 to 10 s of silence or noise (2,400 recordings): 86 % right, against 79 % for the
# most confident window of all, which is often one of silence, and 63 % for the mean of all windows.
SAME_SOUND_DB = 0.5
WINDOWS_PER_CLIP = 4  # a word of up to three quarters of a clip lies whole in one of them
_CHUNK = 64  # windows of running audio at once, which bounds memory
_SOUND_RANGE_DB = 20.0


def is_keyword(label: str) -> bool:
    """Whether a class is a word to be spotted: all but ``UNKNOWN`` and ``SILENCE``, as no word's folder is called."""
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

    A recording shorter than a clip is padded with zeros at its end, as in training. From a longer one windows are
    taken: every quarter of a clip, and one that ends where the recording ends. Of the loudest ones (within
    ``SAME_SOUND_DB``) the most confident speaks for it.

    Raises:
        FloatingPointError: the model answers with what is no number.
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
    if not np.isfinite(probabilities).all():
        raise FloatingPointError("the model answered with probabilities that are not finite")
    if last == 0:
        best, levels = 0, np.array([10 * math.log10(float(np.dot(waveform, waveform)) / size + 1e-12)])
    else:
        levels = 10 * np.log10(_power(windows) + 1e-12)
        best = int(np.where(levels >= levels.max() - SAME_SOUND_DB, probabilities.max(axis=1), -1.0).argmax())
    index = int(probabilities[best].argmax())
    label, confidence = model.info.labels[index], float(probabilities[best, index])
    accepted = is_keyword(label) and confidence >= model.info.threshold
    return ClipResult(starts, levels, probabilities, best, label, confidence, accepted, milliseconds)


@dataclass(frozen=True)
class Rule:
    """How detections are made; stored in the model's metadata as ``detection``, JSON of these fields.

    Raises ValueError where a value makes no sense.
    """

    hop_seconds: float = 0.1  # from window to window; a window is one clip long
    smoothing: int = 3  # windows over which each class's probability is averaged: the window and those before it
    threshold: float = DEFAULT_THRESHOLD  # of the averaged probability
    refractory_seconds: float = 1.0  # after a detection there is none for as long

    def __post_init__(self) -> None:
        for name, low, high in (("hop_seconds", 0.01, 1), ("smoothing", 1, 100), ("refractory_seconds", 0, 60)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}; {low:g} to {high:g} makes sense")
        if not 0 < self.threshold <= 1 or self.smoothing != int(self.smoothing):
            raise ValueError(f"threshold {self.threshold} and smoothing {self.smoothing}: over 0 to 1, a whole number")

    def to_json(self) -> str:
        """For the metadata."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Rule":
        """What ``to_json`` gave; ValueError where it is no rule."""
        try:
            return Rule(**json.loads(text))
        except TypeError as error:  # other fields, other types
            raise ValueError(f"its detection rule is none ({error})") from None


@dataclass(frozen=True)
class Hit:
    """A detection in windows: the last of the averaged windows, the label's index, the averaged probability."""

    window: int
    label: int
    confidence: float


_NONE = Hit(-1, -1, 0.0)


class Detector:
    """The rule over probabilities as they come; one for each stream.

    A detection is where the likeliest class on average is a keyword, at or over the threshold, and not likelier in the
    next window; none within the refractory time after another, nor while the keyword that was detected last stays over
    the threshold: a word counts once. The next window is all that it waits for.
    """

    def __init__(self, labels: Sequence[str], rule: Rule) -> None:
        self._rule = rule
        self._keyword = np.array([is_keyword(label) for label in labels])
        self._recent = np.empty((0, len(labels)), np.float32)  # windows that the next average takes, too
        self._windows = 0
        self._last = _NONE  # the window before, if a keyword was over the threshold there
        self._counted = False  # whether this stay over the threshold has given its detection
        self._free = 0  # the first window that may be a detection again

    def feed(self, probabilities: Probabilities) -> list[Hit]:
        """The detections that float32[windows, classes] complete."""
        first, smooth = self._windows, self._average(probabilities)
        best = smooth.argmax(axis=1)
        confidence = np.where(self._keyword[best], smooth.max(axis=1), np.float32(0))
        found: list[Hit] = []
        place = -1
        for index in np.flatnonzero(confidence >= self._rule.threshold).tolist():
            if index > place + 1:
                found += self._next(_NONE)
            found += self._next(Hit(first + index, int(best[index]), float(confidence[index])))
            place = index
        return found + self._next(_NONE) if place < len(confidence) - 1 else found

    def finish(self) -> list[Hit]:
        """The detection, if any, that the end of the audio completes."""
        return self._next(_NONE)

    def _next(self, hit: Hit) -> list[Hit]:
        """The detection in the window before, now that its successor is known."""
        last, found = self._last, []
        is_top = last.label >= 0 and hit.confidence <= last.confidence
        if is_top and last.window >= self._free and not self._counted:
            found.append(last)
            self._free = last.window + max(1, round(self._rule.refractory_seconds / self._rule.hop_seconds))
            self._counted = True
        if hit.label != last.label:
            self._counted = False
        self._last = hit
        return found

    def _average(self, probabilities: Probabilities) -> Probabilities:
        """The mean of each window and those before it; at the beginning, of those that there are."""
        count, size = self._rule.smoothing, len(probabilities)
        known = np.concatenate([self._recent, probabilities])
        padded = np.concatenate([np.zeros((count - 1 + size - len(known), known.shape[1]), np.float32), known])
        total = np.zeros_like(probabilities)
        for offset in range(count):  # the same sum for a window however the audio was cut into pieces
            total += padded[offset : offset + size]
        there = np.minimum(np.arange(self._windows + 1, self._windows + size + 1), count).astype(np.float32)
        self._recent = known[max(0, len(known) - count + 1) :]
        self._windows += size
        smooth: Probabilities = total / there[:, None]
        return smooth


@dataclass(frozen=True)
class Detection:
    """One spoken word: ``start`` and ``end`` in seconds, ``confidence`` the averaged probability."""

    label: str
    start: float
    end: float
    confidence: float


class Listener:
    """Detections in one stream at the model's sample rate, by the model's own rule or ``rule``."""

    def __init__(self, model: "Model", rule: Rule | None = None) -> None:
        self._model, self._rule = model, rule or model.info.rule
        self._detector = Detector(model.info.labels, self._rule)
        self._hop = max(1, round(self._rule.hop_seconds * model.info.sample_rate))
        self._kept = np.empty(0, np.float32)  # the newest samples
        self._first = 0  # the number of the first of them
        self._samples = self._windows = 0  # heard so far

    def feed(self, waveform: Waveform) -> list[Detection]:
        """The detections that more audio, float32[samples], completes."""
        self._samples += len(waveform)
        return self._hear(waveform)

    def finish(self) -> list[Detection]:
        """The detections that the end completes: zeros follow, so that the last sample is in a window."""
        size = self._model.info.clip_samples
        heard = (self._windows - 1) * self._hop + size if self._windows else 0
        missing = heard + (self._hop if self._windows else size) - self._samples if heard < self._samples else 0
        return self._hear(np.zeros(missing, np.float32)) + self._detections(self._detector.finish())

    def _hear(self, waveform: Waveform) -> list[Detection]:
        size, hop = self._model.info.clip_samples, self._hop
        self._kept = np.concatenate([self._kept, waveform])
        rest = self._kept[self._windows * hop - self._first :]
        found: list[Detection] = []
        if len(rest) >= size:
            windows = sliding_window_view(rest, size)[::hop]
            for start in range(0, len(windows), _CHUNK):
                part = windows[start : start + _CHUNK]
                found += self._detections(self._detector.feed(running_probabilities(self._model, part)))
            self._windows += len(windows)
        # What is detected next may begin as many windows ago as are averaged.
        drop = max(0, (self._windows - self._rule.smoothing - 1) * hop - self._first)
        self._kept, self._first = self._kept[drop:], self._first + drop
        return found

    def _detections(self, hits: list[Hit]) -> list[Detection]:
        rate, found = self._model.info.sample_rate, []
        for hit in hits:  # of what is loud from the middle of the averaged windows to the end of the one after them
            begin = round(middle(hit.window, self._rule) * rate)
            heard = (hit.window + 1) * self._hop + self._model.info.clip_samples
            first, last = _loud(self._kept[begin - self._first : heard - self._first], rate // 100)
            times = (begin + first) / rate, min(begin + last, self._samples) / rate
            found.append(Detection(self._model.info.labels[hit.label], *times, hit.confidence))
        return found


def detect(model: "Model", waveform: Waveform, threshold: float | None = None) -> list[Detection]:
    """The keywords in float32[samples], in the order of their times; ``threshold`` goes before the rule's."""
    rule = model.info.rule if threshold is None else replace(model.info.rule, threshold=threshold)
    listener = Listener(model, rule)
    return listener.feed(waveform) + listener.finish()


def running_probabilities(model: "Model", windows: Waveform) -> Probabilities:
    """float32[windows, classes]; 0 for a silent window where the model has not learned what silence is."""
    found = model(windows)
    if SILENCE in model.info.labels:
        return found
    return np.where((_power(windows) < 10 ** (SILENT_DBFS / 10))[:, None], np.float32(0), found)


def middle(window: int, rule: Rule) -> float:
    """Seconds from the middle of the first window to that of the windows averaged for ``window``."""
    return (window - (min(window + 1, rule.smoothing) - 1) / 2) * rule.hop_seconds


def _power(windows: Waveform) -> Waveform:
    """The mean square of each of float32[windows, samples]."""
    power: Waveform = np.einsum("ws,ws->w", windows, windows) / windows.shape[1]
    return power


def _loud(window: Waveform, frame: int) -> tuple[int, int]:
    """First sample and the one after the last of what is loud in float32[samples], in frames of ``frame`` samples."""
    power = _power(window[: len(window) // frame * frame].reshape(-1, frame))
    loud = np.flatnonzero(power >= power.max() * 10 ** (-_SOUND_RANGE_DB / 10))
    return int(loud[0]) * frame, (int(loud[-1]) + 1) * frame
