"""Keyword spotting in running audio: commands missed against false accepts an hour, and the rule that does best.

False accepts are counted on running speech without keywords. A *command* is a clip of a keyword in quiet noise, with a
pause before and after; an *embedded* keyword is one in a sentence, known by its transcript. Speech with a keyword in it
counts for neither commands nor false accepts.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import expit, logit
from scipy.stats import chi2

from kws.audio import SAMPLE_RATE, AudioError, Waveform, decode
from kws.detection import Detector, Probabilities, Rule, averages, is_keyword, middle, running_probabilities
from kws.model_file import Model
from model.calibration import keyword_mask
from model.console import log
from model.corpus import Corpus
from model.data.recording import as_recorded, rms
from model.data.speech import MAX_SECONDS, Recording
from model.evaluation.clips import share
from model.features import SPEEDS
from model.settings import CLIP_SAMPLES

HOP_SECONDS = 0.1
SMOOTHING = (5, 7, 9, 11)  # averages that are tried; over more a detection would come later than people wait
# The sensitivities of the service: the false accepts that each allows, as a multiple of those that the run allows.
SENSITIVITIES = {"low": 0.1, "medium": 1.0, "high": 5.0}
QUIET_DBFS = (-65.0, -48.0)  # of the noise around a command
BEFORE, AFTER = (1.0, 1.5), (1.2, 1.8)  # seconds of the pauses
RATES = (1, 2, 5)  # false accepts an hour at which the misses are told, whatever the stored rule
WORST = 20  # false accepts that are named
_THRESHOLDS = expit(np.arange(-9, 22) / 3).round(5).tolist()  # even steps of the logarithm of odds
_HOP = round(HOP_SECONDS * SAMPLE_RATE)
_MOST = max(SMOOTHING) - 1  # hops of silence around a recording, as ``Listener`` hears it
_TAIL = 12  # false accepts that the rate of rarer ones is reckoned from
_LEAST = 0.05  # how sure a model must be to count at all
_LEAST_COUNT = 3  # false accepts from which on they are counted instead

Scores = npt.NDArray[np.float64]


class Heard(NamedTuple):
    """What a model said of one recording, a window every ``HOP_SECONDS``, with ``_MOST`` hops of silence around it."""

    name: str
    said: frozenset[str]  # keywords
    seconds: float
    labels: tuple[str, ...]
    probabilities: Probabilities  # float32[windows, classes]

    def windows(self, rule: Rule) -> Probabilities:
        """As many of them as a ``Listener`` with that rule hears."""
        unused = _MOST - (rule.smoothing - 1)
        return self.probabilities[unused : len(self.probabilities) - unused]

    def detections(self, rule: Rule) -> list[tuple[str, float, float]]:
        """Label, seconds and confidence of what the rule finds."""
        found = Detector(self.labels, rule).feed(self.windows(rule), ends=True)
        return [(self.labels[label], max(0.0, middle(window, rule)), sure) for window, label, sure in found]


def choose_rule(model: Model, corpus: Corpus, per_hour: float) -> tuple[Rule, dict[str, float]]:
    """The rule with the fewest missed commands of the validation split at ``per_hour`` false accepts in its speech, and
    its threshold for each of ``SENSITIVITIES``.

    The speech is heard at three speeds: other voices of a kind, by which the threshold holds better for other people.
    Without speech the default rule with the model's own threshold, and no other thresholds.
    """
    negatives = list(_hear(model, corpus.speech.without["validation"], *SPEEDS))
    commands = list(_commands(model, corpus, "validation"))
    if not negatives or not commands:
        return Rule(threshold=model.info.threshold), {}
    hours, tried = sum(each.seconds for each in negatives) / 3600, []
    for smoothing in SMOOTHING:
        rule = Rule(HOP_SECONDS, smoothing)
        tops = _tops(negatives, rule, likeliest=False)
        at = {name: threshold(tops, hours * per_hour * factor) for name, factor in SENSITIVITIES.items()}
        misses = float((_sure(commands, rule) < at["medium"]).mean())
        tried.append((misses, replace(rule, threshold=at["medium"]), at))
    misses, rule, at = min(tried, key=lambda each: each[0])
    where = f"at {per_hour:g} false accepts an hour ({hours:.2f} h, at three speeds)"
    said = "running audio, on validation: means of %d windows, threshold %.3f: %.1f %% of the commands missed %s"
    log.info(said, rule.smoothing, rule.threshold, 100 * misses, where)
    return rule, at


def threshold(tops: Scores, allowed: float) -> float:
    """The threshold that so many of ``tops``, the highest first, reach on average.

    Where few are allowed, counting them tells little: the logarithm of the odds of the highest ones has an exponential
    tail, which is reckoned on (peaks over a threshold; Pickands 1975).
    """
    odds = logit(np.clip(tops, 1e-6, 1 - 1e-6))
    if allowed >= _LEAST_COUNT and len(odds) > allowed:
        at = float(odds[int(allowed) - 1] + odds[int(allowed)]) / 2
    elif len(odds) > _LEAST_COUNT:
        count = min(_TAIL, len(odds) - 1)
        at = float(odds[count] + (odds[:count] - odds[count]).mean() * math.log(count / max(allowed, 1e-3)))
    else:  # too few to reckon from: over the highest
        at = max(0.0, float(odds[0]) + 0.5) if len(odds) > allowed else 0.0
    return round(min(max(float(expit(at)), _LEAST), 0.9999), 4)


def measure(model: Model, corpus: Corpus) -> dict[str, Any] | None:
    """What the model's rule does on speech of other people and on the commands of the test split; None without them."""
    negatives, rule = list(_hear(model, corpus.speech.without["testing"])), model.info.rule
    commands = list(_commands(model, corpus, "testing"))
    if not negatives or not commands:
        return None
    holding = list(_hear(model, corpus.speech.holding["testing"]))
    hours = sum(each.seconds for each in negatives) / 3600
    tops, sure = _tops(negatives, rule, likeliest=True), _sure(commands, rule)
    table = model.info.sensitivities or {"medium": rule.threshold}
    names = ("threshold", "false_accepts_per_hour", "misses")
    curve = [(at, int((tops >= at).sum()) / hours, float((sure < at).mean())) for at in _THRESHOLDS]
    missed = [float((sure <= top).mean()) for top in (*tops, 0.0)]  # over each false accept's threshold
    worst: list[dict[str, Any]] = [
        {"recording": each.name, "seconds": round(at, 2), "label": label, "confidence": confidence}
        for each in negatives
        for label, at, confidence in each.detections(replace(rule, threshold=_LEAST))
    ]

    def misses(rule: Rule, recordings: Sequence[Heard]) -> dict[str, list[bool]]:
        """For each keyword, of every recording that says it, whether it was not detected there."""
        found = [(each.said, {label for label, _, _ in each.detections(rule)}) for each in recordings]
        keywords = filter(is_keyword, model.info.labels)
        return {word: [word not in heard for said, heard in found if word in said] for word in keywords}

    def operating(rule: Rule) -> dict[str, Any]:
        count = sum(len(each.detections(rule)) for each in negatives)
        alone, embedded = misses(rule, commands), misses(rule, holding)
        return {
            "threshold": rule.threshold,
            "false_accepts": count,
            "false_accepts_per_hour": count / hours,
            "upper_bound_per_hour": upper_bound(count, hours),
            "misses": share([*chain(*alone.values())]),
            "misses_by_word": {word: share(found) for word, found in alone.items()},
            "misses_embedded": share([*chain(*embedded.values())]),
        }

    return {
        "rule": asdict(rule),
        "hours": hours,
        "lowest_upper_bound": upper_bound(0, hours),
        "commands": len(commands),
        "operating": {name: operating(replace(rule, threshold=at)) for name, at in table.items()},
        "misses_at": {f"{rate} an hour": float(np.interp(rate * hours, range(len(missed)), missed)) for rate in RATES},
        "curve": [dict(zip(names, point, strict=True)) for point in curve],
        "worst": sorted(worst, key=lambda each: -each["confidence"])[:WORST],
    }


def alarms(model: Model, recordings: Sequence[Recording]) -> list[dict[str, Any]]:
    """How many detections the model's rule makes in each of the user's own recordings without keywords; ``before`` is
    filled in by a caller with a model that had not heard them."""
    heard = ((each, len(each.detections(model.info.rule))) for each in _hear(model, recordings))
    return [{"recording": each.name, "minutes": each.seconds / 60, "alarms": n, "before": None} for each, n in heard]


def upper_bound(count: int, hours: float) -> float:
    """The highest rate an hour that is compatible with ``count`` events (95 %, one-sided; Garwood 1936)."""
    return float(chi2.ppf(0.95, 2 * (count + 1)) / 2 / hours)


def _tops(recordings: Sequence[Heard], rule: Rule, likeliest: bool) -> Scores:
    """How sure a model is of a keyword where it is surest, at places at least the refractory time apart, sorted down;
    with ``likeliest`` only where the keyword is the likeliest class, as a detection is."""
    apart, found = round(rule.refractory_seconds / rule.hop_seconds), []
    for each in recordings:
        means, keyword = averages(each.windows(rule), rule.smoothing), keyword_mask(each.labels)
        sure = means[:, keyword].max(axis=1, initial=0.0)
        if likeliest:
            sure[~keyword[means.argmax(axis=1)]] = 0.0
        while len(sure) and sure[top := int(sure.argmax())] > _LEAST:
            found.append(float(sure[top]))
            sure[max(0, top - apart) : top + apart + 1] = 0.0
    return np.sort(found)[::-1]


def _sure(commands: Sequence[Heard], rule: Rule) -> Scores:
    """How sure a model is of the one word that each recording holds, where this is the likeliest class on average."""
    found = []
    for each in commands:
        means, (word,) = averages(each.windows(rule), rule.smoothing), each.said
        right = means[means.argmax(axis=1) == each.labels.index(word)]
        found.append(float(right.max(initial=0.0)))
    return np.array(found)


def _commands(model: Model, corpus: Corpus, split: str) -> Iterator[Heard]:
    rng, noise = np.random.default_rng(0), corpus.noise_waveforms[split]
    words = {*filter(is_keyword, model.info.labels)}
    for clip in (clip for clip in corpus.splits[split].clips if clip.word in words):
        before, after = (round(SAMPLE_RATE * rng.uniform(*pause)) for pause in (BEFORE, AFTER))
        samples = np.pad(corpus.read([clip])[0], (before, after))
        piece = noise[int(rng.integers(len(noise)))] if noise else rng.standard_normal(SAMPLE_RATE, np.float32)
        quiet = np.resize(np.roll(piece, -int(rng.integers(len(piece)))), len(samples))
        level = 10 ** (rng.uniform(*QUIET_DBFS) / 20) / max(rms(quiet), 1e-6)
        yield _listened(model, clip.name, as_recorded(samples + level * quiet), {clip.word})


def _hear(model: Model, recordings: Sequence[Recording], *speeds: tuple[int, int]) -> Iterator[Heard]:
    """Each recording as it is and, one after another, at other speeds."""
    for one in recordings:
        try:
            waveform = decode(one.path.read_bytes(), max_seconds=MAX_SECONDS).waveform
        except AudioError as error:
            log.warning("broken, left out: %s (%s)", one.path, error.detail)
            continue
        for up, down in ((1, 1), *speeds):
            played = waveform if up == down else soxr.resample(waveform, up, down)
            yield _listened(model, one.path.name, played, one.words or ())


def _listened(model: Model, name: str, waveform: Waveform, words: Iterable[str]) -> Heard:
    """A recording as a ``Listener`` hears it: silence before and after, so that its last sample is in a window."""
    over = len(waveform) + _MOST * _HOP - CLIP_SAMPLES
    padded = np.pad(waveform, (_MOST * _HOP, max(-over, -over % _HOP) + _MOST * _HOP))
    probabilities = running_probabilities(model, sliding_window_view(padded, CLIP_SAMPLES)[::_HOP])
    said = frozenset(words).intersection(model.info.labels)
    return Heard(name, said, len(waveform) / SAMPLE_RATE, model.info.labels, probabilities)
