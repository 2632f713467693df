"""Keyword spotting in running audio: misses against false accepts an hour, and the rule that does best.

The figures are those of the field: the share of spoken keywords that are missed (false rejects) at a given number of
false accepts an hour of audio without keywords, and the curve of both. A keyword is heard when a detection of its label
lies within ``TOLERANCE_SECONDS`` of the middle of its clip, the tolerance of TensorFlow's ``test_streaming_accuracy``.
"""

import bisect
import itertools
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from model.data import streams, vocabulary
from model.data.streams import Sources, Stream, Word
from model.detection import Detection, Probabilities, Rule, Run, detections, probabilities

log = logging.getLogger(__name__)

TOLERANCE_SECONDS = 0.75
TARGET = 0.5  # false accepts an hour: openWakeWord's and microWakeWord's operating point
STRICT = 0.1  # one in ten hours: Picovoice's
HOP, COARSER = 0.1, (1, 2)
SMOOTHINGS = (1, 2, 3, 4, 5)
REFRACTORIES = (0.5, 0.75, 1.0, 1.5)
_LOWEST = 0.05  # below this nothing is worth counting
_CURVE_TO, _CURVE_POINTS = 20.0, 80  # false accepts an hour
_EXAMPLES = 30


@dataclass(frozen=True)
class Heard:
    """What a model said about one stream: probabilities every ``hop`` seconds."""

    stream: Stream
    found: Probabilities
    hop: float


@dataclass(frozen=True)
class FalseAccept:
    """A detection where no keyword was said; ``homophone`` where a word was that sounds like it."""

    stream: Stream
    detection: Detection
    homophone: bool


@dataclass(frozen=True)
class Score:
    """All that a rule hears at any threshold; each figure at a threshold follows from it.

    Attributes:
        seconds: of audio without keywords, by source.
        false: the detections there, the surest first.
        words: (label, condition, confidence of the detection that heard it, 0 for none) of each keyword spoken.
        others: confidences of the detections among keywords that heard none: a slip, or a word's second.
    """

    seconds: Mapping[str, float]
    false: list[FalseAccept]
    words: list[tuple[str, str, float]]
    others: list[float]

    @property
    def hours(self) -> float:
        """Hours of audio without keywords."""
        return sum(self.seconds.values()) / 3600

    def threshold_for(self, per_hour: float) -> float:
        """The lowest threshold with at most so many false accepts an hour, homophones not counted."""
        allowed = math.floor(per_hour * self.hours + 1e-9)
        confidences = [each.detection.confidence for each in self.false if not each.homophone]
        if allowed >= len(confidences):
            return _LOWEST
        return min(1.0, math.floor(confidences[allowed] * 1e5 + 1) / 1e5)

    def misses(self, threshold: float) -> float:
        """The share of keywords that are missed."""
        return sum(confidence < threshold for *_, confidence in self.words) / max(1, len(self.words))


def listen(run: Run, labels: Sequence[str], several: Iterable[Stream], hop: float) -> list[Heard]:
    """Run the model over streams; their samples are let go."""
    return [
        Heard(stream.without_samples(), found, hop)
        for stream in several
        for found in [probabilities(run, stream.samples, labels, hop)]
    ]


def score(negatives: Sequence[Heard], positives: Sequence[Heard], labels: Sequence[str], rule: Rule) -> Score:
    """Apply a rule (its threshold aside) to what was heard."""
    open_rule = replace(rule, threshold=_LOWEST)
    seconds: dict[str, float] = defaultdict(float)
    false = []
    for heard in negatives:
        seconds[heard.stream.kind] += heard.stream.seconds
        alike = streams.homophones(heard.stream, labels)
        for detection in detections(heard.found, labels, open_rule):
            false.append(FalseAccept(heard.stream, detection, _is_homophone(detection, alike)))
    words, others = [], []
    for heard in positives:
        hits, left = _match(heard.stream.words, detections(heard.found, labels, open_rule))
        words += [(word.text, heard.stream.kind, hit) for word, hit in zip(heard.stream.words, hits, strict=True)]
        others += left
    return Score(seconds, sorted(false, key=lambda each: -each.detection.confidence), words, others)


def search(run: Run, labels: Sequence[str], sources: Sources, hours: float, seed: int = 0) -> Rule:
    """The rule with the fewest misses at ``TARGET`` false accepts an hour, on about ``hours`` made of ``sources``.

    To be given the validation split. Of rules that are level the one with the fewest detections that hear nothing,
    then the first.
    """
    negatives = listen(run, labels, streams.without_keywords(sources, hours, seed), HOP)
    positives = listen(run, labels, streams.with_keywords(sources, passes_for(hours), seed), HOP)
    tried: list[tuple[tuple[float, int], int, Rule]] = []
    for step, smoothing, refractory in itertools.product(COARSER, SMOOTHINGS, REFRACTORIES):
        rule = Rule(HOP * step, smoothing, refractory_seconds=refractory)
        heard = score(_every(negatives, step), _every(positives, step), labels, rule)
        threshold = heard.threshold_for(TARGET)
        slips = sum(confidence >= threshold for confidence in heard.others)
        tried.append(((heard.misses(threshold), slips), len(tried), replace(rule, threshold=threshold)))
    (misses, _), _, best = min(tried)
    log.info(
        "detection: a window every %g s, %d averaged, threshold %.4f, %g s apart: "
        "%.1f %% missed at %g false accepts an hour (validation, %.2f h)",
        *(best.hop_seconds, best.smoothing, best.threshold, best.refractory_seconds, 100 * misses, TARGET, hours),
    )
    return best


def passes_for(hours: float) -> int:
    """How often each keyword clip comes in the streams that go with ``hours`` without keywords."""
    return 1 if hours < 0.5 else 2 if hours < 3 else len(streams.SNR_DB)


def measure(
    run: Run, labels: Sequence[str], rule: Rule, sources: Sources, hours: float, seed: int = 0
) -> dict[str, Any]:
    """What a rule does on about ``hours`` made of ``sources``, the test split: the evaluation's part ``streaming``.

    Rates do not count homophones unless they say so; an upper bound is the 95 % one of a Poisson rate, 3 / hours where
    nothing was heard.
    """
    negatives = listen(run, labels, streams.without_keywords(sources, hours, seed), rule.hop_seconds)
    positives = listen(run, labels, streams.with_keywords(sources, passes_for(hours), seed), rule.hop_seconds)
    heard = score(negatives, positives, labels, rule)
    return {
        "rule": asdict(rule),
        "tolerance_seconds": TOLERANCE_SECONDS,
        "hours": heard.hours,
        "lowest_upper_bound": upper_bound(0, heard.hours),
        "keywords": len(heard.words),
        "at_rule": _at(heard, rule.threshold),
        "operating_points": [
            {"allowed_per_hour": rate, **_at(heard, heard.threshold_for(rate))} for rate in (TARGET, STRICT)
        ],
        "curve": _curve(heard),
        "material": streams.material(sources, heard.seconds),
        "false_accept_examples": _examples(heard, rule.threshold),
    }


def upper_bound(count: int, hours: float, confidence: float = 0.95) -> float:
    """The highest rate an hour that is compatible with ``count`` events (exact Poisson limit, Garwood 1936)."""
    low, high = 0.0, 10.0 + 3.0 * count
    for _ in range(60):
        mean = (low + high) / 2
        at_most = sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))
        low, high = (mean, high) if at_most > 1 - confidence else (low, mean)
    return high / hours if hours else math.inf


def _at(heard: Score, threshold: float) -> dict[str, Any]:
    """The figures at a threshold."""
    above = [each for each in heard.false if each.detection.confidence >= threshold]
    alike = sum(each.homophone for each in above)
    by_source = Counter(each.stream.kind for each in above if not each.homophone)
    missed = [(label, kind) for label, kind, confidence in heard.words if confidence < threshold]
    count, hours = len(above) - alike, heard.hours
    return {
        "threshold": threshold,
        "false_accepts": count,
        "false_accepts_per_hour": count / hours,
        "upper_bound_per_hour": upper_bound(count, hours),
        "homophones": alike,
        "false_accepts_per_hour_with_homophones": len(above) / hours,
        "by_source": {
            source: {
                "hours": seconds / 3600,
                "false_accepts": by_source[source],
                "per_hour": by_source[source] / (seconds / 3600),
                "synthetic": source in streams.SYNTHETIC,
            }
            for source, seconds in heard.seconds.items()
        },
        "misses": len(missed) / max(1, len(heard.words)),
        "misses_by_word": _shares([label for label, _ in missed], [label for label, *_ in heard.words]),
        "misses_by_condition": _shares([kind for _, kind in missed], [kind for _, kind, _ in heard.words]),
        "other_detections": sum(confidence >= threshold for confidence in heard.others),
    }


def _shares(some: Sequence[str], every: Sequence[str]) -> dict[str, float]:
    parts, whole = Counter(some), Counter(every)
    return {key: parts[key] / whole[key] for key in whole}


def _curve(heard: Score) -> list[dict[str, float]]:
    """Misses at each rate up to ``_CURVE_TO``, from none on."""
    counts = range(math.floor(_CURVE_TO * heard.hours) + 1)
    kept = sorted({counts[round(i)] for i in np.linspace(0, len(counts) - 1, _CURVE_POINTS)})
    points = []
    for count in kept:
        threshold = heard.threshold_for(count / heard.hours)
        points.append(
            {
                "false_accepts_per_hour": count / heard.hours,
                "misses": heard.misses(threshold),
                "threshold": threshold,
            }
        )
    return points


def _examples(heard: Score, threshold: float) -> list[dict[str, Any]]:
    """The surest false accepts, with what was said there."""
    return [
        {
            "source": each.stream.kind,
            "label": each.detection.label,
            "confidence": each.detection.confidence,
            "said": " ".join(word.text for word in each.stream.words if _near(word, each.detection.time)),
            "homophone": each.homophone,
        }
        for each in heard.false[:_EXAMPLES]
        if each.detection.confidence >= threshold
    ]


def _match(words: Sequence[Word], found: Sequence[Detection]) -> tuple[list[float], list[float]]:
    """The confidence with which each word was heard, and those of detections that heard none."""
    middles = [(word.start + word.end) / 2 for word in words]  # in order; further apart than the tolerance twice
    hits, left = [0.0] * len(words), []
    for detection in found:
        place = bisect.bisect(middles, detection.time)
        near = min(
            (i for i in (place - 1, place) if 0 <= i < len(words)), key=lambda i: abs(middles[i] - detection.time)
        )
        if abs(middles[near] - detection.time) > TOLERANCE_SECONDS or detection.label != words[near].text:
            left.append(detection.confidence)
        else:
            left += [min(hits[near], detection.confidence)] if hits[near] else []
            hits[near] = max(hits[near], detection.confidence)
    return hits, left


def _is_homophone(detection: Detection, alike: Sequence[Word]) -> bool:
    return any(_near(word, detection.time) and vocabulary.homophone_of(word.text, [detection.label]) for word in alike)


def _near(word: Word, time: float) -> bool:
    """Whether a word is in the middle of a window; the window's edges do not carry a detection."""
    return word.start - 0.3 < time < word.end + 0.3


def _every(several: Sequence[Heard], step: int) -> list[Heard]:
    return [Heard(heard.stream, heard.found[::step], heard.hop * step) for heard in several]
