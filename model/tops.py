"""Where a model's probabilities come to a top in streams of known content: all that a threshold can make detections of.

Computed once for a rule's hop and smoothing; the figures at any threshold and refractory time follow from it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.data import streams, vocabulary
from model.data.streams import Stream
from model.detection import Probabilities, Run, chosen, middle, probabilities, tops

# A keyword is heard when a detection of its label lies this near the middle of its clip: the tolerance of TensorFlow's
# test_streaming_accuracy.
TOLERANCE_SECONDS = 0.75
LOWEST = 0.05  # below this no top is kept
_GAP = 10_000  # windows between two streams


@dataclass(frozen=True)
class Heard:
    """What a model said about a stream: probabilities every ``hop`` seconds. The samples are let go."""

    stream: Stream
    found: Probabilities
    hop: float

    def every(self, step: int) -> "Heard":
        """As with a hop ``step`` times as long."""
        return Heard(self.stream, self.found[::step], self.hop * step)


def listen(run: Run, labels: Sequence[str], several: Iterable[Stream], hop: float) -> list[Heard]:
    """Run the model over streams, one at a time."""
    return [Heard(stream.without_samples(), probabilities(run, stream.samples, labels, hop), hop) for stream in several]


@dataclass(frozen=True)
class Tops:
    """The tops of several streams, one after another: arrays with a value for each.

    Attributes:
        streams: in their order.
        stream: which one.
        window: counted on from stream to stream, with a gap between.
        label: index of the keyword.
        confidence: the averaged probability.
        valley: the lowest since the top before (``model.detection.Top``).
        time: middle of the averaged windows, seconds from the stream's beginning.
        homophone: whether a word was there that sounds like the keyword.
    """

    streams: tuple[Stream, ...]
    stream: npt.NDArray[np.intp]
    window: npt.NDArray[np.intp]
    label: npt.NDArray[np.intp]
    confidence: npt.NDArray[np.float32]
    valley: npt.NDArray[np.float32]
    time: npt.NDArray[np.float64]
    homophone: npt.NDArray[np.bool_]

    @property
    def hours(self) -> float:
        """The streams' length."""
        return sum(stream.seconds for stream in self.streams) / 3600

    def detections(self, threshold: float, apart: int) -> npt.NDArray[np.intp]:
        """Which tops are detections."""
        return np.array(chosen(self.window, self.confidence, self.valley, threshold, apart), np.intp)


def find(heard: Sequence[Heard], labels: Sequence[str], smoothing: int) -> Tops:
    """The tops of what was heard."""
    parts = []
    first = 0
    for number, each in enumerate(heard):
        top = tops(each.found, labels, smoothing, LOWEST)
        time = middle(top.window, smoothing, each.hop)
        top.valley[:1] = 0  # a stream begins anew
        alike = _homophones(each.stream, labels, top.label, time)
        columns = (top.window + first, top.label, top.confidence, top.valley, time, alike)
        parts.append((np.full(len(top.window), number), *columns))
        first += len(each.found) + _GAP
    if not parts:
        raise ValueError("no streams")
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Tops(tuple(each.stream for each in heard), *joined)


@dataclass(frozen=True)
class Score:
    """A rule, its threshold aside, on streams without keywords (``false``) and with them."""

    labels: tuple[str, ...]
    false: Tops
    spoken: Tops
    apart: int

    def threshold_for(self, per_hour: float) -> float:
        """The lowest threshold with at most so many false accepts an hour, homophones not counted; 1 where none has."""
        allowed = math.floor(per_hour * self.false.hours + 1e-9)
        lowest = 1.0
        for confidence in np.unique(self.false.confidence[~self.false.homophone])[::-1]:
            threshold = min(1.0, math.floor(float(confidence) * 1e6 + 1) / 1e6)  # just above it
            if np.count_nonzero(~self.false.homophone[self.false.detections(threshold, self.apart)]) > allowed:
                return lowest
            lowest = threshold
        return LOWEST

    def threshold_missing(self, share: float) -> float:
        """About the highest threshold at which no more than ``share`` of the keywords are missed."""
        low, high = LOWEST, 1.0
        for _ in range(14):
            threshold = (low + high) / 2
            low, high = (threshold, high) if self.misses(threshold) <= share else (low, threshold)
        return round(low, 4)

    def accepts_per_hour(self, threshold: float) -> float:
        """False accepts an hour, homophones not counted."""
        found = self.false.detections(threshold, self.apart)
        return np.count_nonzero(~self.false.homophone[found]) / self.false.hours

    def misses(self, threshold: float) -> float:
        """The share of keywords that are missed."""
        return 1 - float(np.concatenate(self.hits(threshold)[0]).mean())

    def hits(self, threshold: float) -> tuple[list[npt.NDArray[np.bool_]], int]:
        """For each stream which of its words are heard, and how many detections hear none, or one again."""
        found = self.spoken.detections(threshold, self.apart)
        hits, others = [], 0
        for number, stream in enumerate(self.spoken.streams):
            here = found[self.spoken.stream[found] == number]
            middles = np.array([(word.start + word.end) / 2 for word in stream.words])
            wanted = np.array([self.labels.index(word.text) for word in stream.words])
            near = np.abs(self.spoken.time[here][:, None] - middles) <= TOLERANCE_SECONDS
            right = near & (self.spoken.label[here][:, None] == wanted)
            hits.append(right.any(axis=0))
            others += len(here) - int(hits[-1].sum())
        return hits, others


def _homophones(
    stream: Stream, labels: Sequence[str], label: npt.NDArray[np.intp], time: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    alike = np.zeros(len(time), dtype=bool)
    for word in streams.homophones(stream, labels):
        sounds_like = labels.index(vocabulary.homophone_of(word.text, labels))
        alike |= (label == sounds_like) & near(word, time)
    return alike


def near(word: streams.Word, time: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether a word is about the middle of a window: what a detection there is of."""
    return (time > word.start - 0.3) & (time < word.end + 0.3)
