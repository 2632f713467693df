"""Keyword spotting in running audio: misses against false accepts an hour, and the rule that does best.

The figures are those of the field: the share of spoken keywords that are missed (false rejects) at a given number of
false accepts an hour of audio without keywords, and the curve of both.
"""

import itertools
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from model import console
from model.classes import even_choice
from model.data import streams
from model.data.streams import Sources, Stream
from model.dataset import Corpus
from model.detection import Rule, Run, reach
from model.settings import is_keyword
from model.tops import TOLERANCE_SECONDS, Heard, Score, find, listen, near

log = logging.getLogger(__name__)

TARGET = 0.5  # false accepts an hour: openWakeWord's and microWakeWord's operating point
STRICT = 0.1  # one in ten hours: Picovoice's
MOST_MISSES = 0.1
HOP, STEPS = 0.1, (1, 2)  # the hops tried are HOP times these
SMOOTHINGS = (1, 2, 3, 4, 5, 6, 8)
REFRACTORIES = (0.6, 0.8, 1.0, 1.4)
_CURVE_TO, _CURVE_POINTS = 20.0, 80  # false accepts an hour
_EXAMPLES = 30
_MOST_OTHERS = 2000  # clips of other words held in memory


def sources_of(corpus: Corpus, split: str, speech: Iterable[Stream] = (), *, sentences: bool = True) -> Sources:
    """What streams of a split are made of; for testing the words that no part of training has heard are in it, too.

    ``sentences`` is False where the model was trained on the voices that would speak them; ``speech`` is the user's own
    (``model.data.speech``).
    """
    keywords: dict[str, list[streams.Samples]] = {label: [] for label in filter(is_keyword, corpus.labels)}
    clips = [clip for clip in corpus.splits[split].clips if clip.word in keywords]
    for clip, samples in zip(clips, corpus.read(clips), strict=True):
        keywords[clip.word].append(samples)
    others = even_choice((*corpus.others[split], *(corpus.unseen if split == "testing" else ())), _MOST_OTHERS)
    spoken = list(zip((clip.word for clip in others), corpus.read(others), strict=True))
    return Sources(split if sentences else "", keywords, spoken, corpus.noise_waveforms[split], speech)


def search(run: Run, labels: Sequence[str], sources: Sources, hours: float, seed: int = 0) -> Rule:
    """The rule with the fewest misses at ``TARGET`` false accepts an hour, on about ``hours`` made of ``sources``.

    To be given the validation split. Where even this rule misses more than ``MOST_MISSES``, which nobody could use, the
    rule with the fewest false accepts at so many misses, and the log says so. Of rules that are level the one with the
    fewest detections that hear nothing, then the first.
    """
    negatives = listen(run, labels, _shown(streams.without_keywords(sources, hours, seed), hours), HOP)
    if not negatives:
        log.warning("detection: no other words, no noise, no sentences to choose the rule by; it is the default one")
        return Rule()
    positives = listen(run, labels, streams.with_keywords(sources, passes_for(hours), seed), HOP)
    return choose(negatives, positives, labels)


def choose(negatives: Sequence[Heard], positives: Sequence[Heard], labels: Sequence[str]) -> Rule:
    """``search`` on what was heard every ``HOP`` seconds."""
    scores = []
    for step, smoothing in itertools.product(STEPS, SMOOTHINGS):
        false, spoken = (
            find([each.every(step) for each in heard], labels, smoothing) for heard in (negatives, positives)
        )
        for refractory in REFRACTORIES:
            rule = Rule(HOP * step, smoothing, refractory_seconds=refractory)
            scores.append((rule, Score(tuple(labels), false, spoken, reach(rule))))

    def best(threshold_of: Callable[[Score], float], cost: Callable[[Score, float], float]) -> tuple[Rule, Score]:
        tried = []
        for number, (rule, score) in enumerate(scores):
            threshold = threshold_of(score)
            others = score.hits(threshold)[1]
            tried.append((cost(score, threshold), others, number, replace(rule, threshold=threshold)))
        *_, number, rule = min(tried)
        return rule, scores[number][1]

    rule, score = best(lambda score: score.threshold_for(TARGET), Score.misses)
    if score.misses(rule.threshold) > MOST_MISSES:
        log.warning(
            "at %g false accepts an hour %.1f %% of the keywords are missed; the rule is chosen for %.0f %% of misses",
            *(TARGET, 100 * score.misses(rule.threshold), 100 * MOST_MISSES),
        )
        rule, score = best(lambda score: score.threshold_missing(MOST_MISSES), Score.accepts_per_hour)
    log.info(
        "detection: a window every %g s, %d averaged, threshold %.4f, %g s apart: "
        "%.1f %% missed at %.1f false accepts an hour (validation, %.2f h)",
        *(rule.hop_seconds, rule.smoothing, rule.threshold, rule.refractory_seconds),
        *(100 * score.misses(rule.threshold), score.accepts_per_hour(rule.threshold), score.false.hours),
    )
    return rule


def measure(
    run: Run, labels: Sequence[str], rule: Rule, sources: Sources, hours: float, seed: int = 0
) -> dict[str, Any] | None:
    """What a rule does on about ``hours`` made of ``sources``, the test split: the evaluation's part ``streaming``.

    Rates do not count homophones unless they say so; an upper bound is the 95 % one of a Poisson rate, 3 / hours where
    nothing was heard. None where there is nothing to make audio without keywords of.
    """
    negatives = listen(run, labels, _shown(streams.without_keywords(sources, hours, seed), hours), rule.hop_seconds)
    if not negatives:
        log.warning("running audio is not measured: no other words, no noise, no sentences to make it of")
        return None
    positives = listen(run, labels, streams.with_keywords(sources, passes_for(hours), seed), rule.hop_seconds)
    false, spoken = (find(heard, labels, rule.smoothing) for heard in (negatives, positives))
    score = Score(tuple(labels), false, spoken, reach(rule))
    return {
        "rule": asdict(rule),
        "tolerance_seconds": TOLERANCE_SECONDS,
        "hours": false.hours,
        "lowest_upper_bound": upper_bound(0, false.hours),
        "keywords": sum(len(stream.words) for stream in spoken.streams),
        "homophones": sum(len(streams.homophones(stream, labels)) for stream in false.streams),
        "at_rule": figures(score, rule.threshold),
        "operating_points": [
            {"allowed_per_hour": rate, **figures(score, score.threshold_for(rate))} for rate in (TARGET, STRICT)
        ],
        "curve": _curve(score),
        "material": streams.material(sources, _seconds(score)),
        "false_accept_examples": _examples(score, rule.threshold),
    }


def _shown(several: Iterable[Stream], hours: float) -> Iterator[Stream]:
    """The streams, with a bar of how much of about ``hours`` has been heard."""
    heard = 0.0
    with console.bar("running audio (s)") as show:
        for stream in several:
            yield stream
            heard += stream.seconds
            show(int(min(heard, hours * 3600)), int(hours * 3600))


def passes_for(hours: float) -> int:
    """How often each keyword clip comes in the streams that go with ``hours`` without keywords."""
    return 1 if hours < 0.5 else 2 if hours < 3 else len(streams.SNR_DB)


def upper_bound(count: int, hours: float, confidence: float = 0.95) -> float:
    """The highest rate an hour that is compatible with ``count`` events (exact Poisson limit, Garwood 1936)."""
    low, high = 0.0, 10.0 + 3.0 * count
    for _ in range(60):
        mean = (low + high) / 2
        at_most = sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))
        low, high = (mean, high) if at_most > 1 - confidence else (low, mean)
    return high / hours if hours else math.inf


def figures(score: Score, threshold: float) -> dict[str, Any]:
    """False accepts and misses at a threshold."""
    false, hours = score.false, score.false.hours
    found = false.detections(threshold, score.apart)
    counted = found[~false.homophone[found]]
    by_source = Counter(false.streams[number].kind for number in false.stream[counted])
    hits, others = score.hits(threshold)
    words = [
        (word.text, stream.kind, hit)
        for stream, heard in zip(score.spoken.streams, hits, strict=True)
        for word, hit in zip(stream.words, heard.tolist(), strict=True)
    ]
    return {
        "threshold": threshold,
        "false_accepts": len(counted),
        "false_accepts_per_hour": len(counted) / hours,
        "upper_bound_per_hour": upper_bound(len(counted), hours),
        "homophones": len(found) - len(counted),
        "false_accepts_per_hour_with_homophones": len(found) / hours,
        "by_source": {
            source: {
                "hours": seconds / 3600,
                "false_accepts": by_source[source],
                "per_hour": by_source[source] * 3600 / seconds,
                "synthetic": source in streams.SYNTHETIC,
            }
            for source, seconds in _seconds(score).items()
        },
        "misses": sum(not hit for *_, hit in words) / len(words),
        "misses_by_word": _missed((label, hit) for label, _, hit in words),
        "misses_by_condition": _missed((kind, hit) for _, kind, hit in words),
        "other_detections": others,
    }


def _missed(hits: Any) -> dict[str, float]:
    """The share of misses of each key of (key, hit)."""
    whole, missed = Counter[str](), Counter[str]()
    for key, hit in hits:
        whole[key] += 1
        missed[key] += not hit
    return {key: missed[key] / whole[key] for key in whole}


def _seconds(score: Score) -> dict[str, float]:
    """Of each source without keywords."""
    total = Counter[str]()
    for stream in score.false.streams:
        total[stream.kind] += stream.seconds  # type: ignore[assignment]  # a Counter adds any numbers
    return dict(total)


def _curve(score: Score) -> list[dict[str, float]]:
    """Misses at each rate of false accepts up to ``_CURVE_TO``, from none on."""
    hours = score.false.hours
    counts = np.linspace(0, math.floor(_CURVE_TO * hours), _CURVE_POINTS)
    points = []
    for count in sorted({round(each) for each in counts.tolist()}):
        threshold = score.threshold_for(count / hours)
        points.append(
            {"false_accepts_per_hour": count / hours, "misses": score.misses(threshold), "threshold": threshold}
        )
    return points


def _examples(score: Score, threshold: float) -> list[dict[str, Any]]:
    """The surest false accepts, with what was said there."""
    false = score.false
    found = false.detections(threshold, score.apart)
    surest = found[np.argsort(-false.confidence[found], kind="stable")][:_EXAMPLES]
    return [
        {
            "source": false.streams[false.stream[i]].kind,
            "label": score.labels[false.label[i]],
            "confidence": float(false.confidence[i]),
            "said": " ".join(w.text for w in false.streams[false.stream[i]].words if near(w, false.time[i])),
            "homophone": bool(false.homophone[i]),
        }
        for i in surest
    ]
