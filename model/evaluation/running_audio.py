"""Keyword spotting in running audio: keywords missed against false accepts an hour, and the rule that does best.

The audio is made of one split's clips and background noise: without keywords (other words and background) for the false
accepts, and with each of the split's keywords once at a known time for the misses.
"""

import itertools
import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.random import Generator
from scipy.stats import chi2

from kws.audio import SAMPLE_RATE, Waveform, rms
from kws.detection import Detector, Probabilities, Rule, middle, running_probabilities
from kws.model_file import Model
from model.corpus import Corpus
from model.data.recording import as_recorded
from model.settings import CLIP_SAMPLES, Settings

log = logging.getLogger(__name__)

RATES = (0.5, 0.1)  # false accepts an hour: what openWakeWord and microWakeWord aim at; what Picovoice does
MOST_MISSES = 0.1  # a rule that misses more at RATES[0] is of no use: then the fewest false accepts at so many misses
TOLERANCE_SECONDS = 0.75  # of a detection from its clip's middle: TensorFlow's test_streaming_accuracy
HOP_SECONDS = 0.1
RULES = [Rule(HOP_SECONDS * step, smoothing) for step in (1, 2) for smoothing in (1, 2, 3, 4, 6)]
# The thresholds that are tried: even steps of the odds' logarithm, for models are surest near 1.
THRESHOLDS = [round(1 / (1 + math.exp(-step / 3)), 5) for step in range(-6, 31)]
SNR_DB = (None, 20.0, 10.0, 5.0)  # of the keywords, in turn; None: as recorded
_WINDOWS = 600  # of a stretch of audio: a minute, which bounds memory
_HOP = round(HOP_SECONDS * SAMPLE_RATE)
_STRETCH = (_WINDOWS - 1) * _HOP + CLIP_SAMPLES
_MOST_OTHERS = 2000  # clips of other words held in memory
_HISS = 10 ** (-75 / 20)  # there is always a room
_EDGE = SAMPLE_RATE // 50  # clips are faded in and out, so that no cut clicks

Words = list[tuple[str, float]]  # keywords, and the seconds at which their clips begin
Spoken = list[tuple[str, Waveform]]  # words and their clips
Stretch = tuple[Waveform, Words]


@dataclass(frozen=True)
class Heard:
    """What a model said of audio without keywords and of audio with them, a window every ``HOP_SECONDS``."""

    labels: tuple[str, ...]
    negative: Probabilities  # float32[windows, classes]
    positive: Probabilities
    words: Words  # of the audio with keywords

    @property
    def hours(self) -> float:
        """The length of the audio without keywords."""
        return len(self.negative) * HOP_SECONDS / 3600

    def figures(self, rule: Rule) -> dict[str, Any]:
        """False accepts and misses of a rule whose hop is a multiple of ``HOP_SECONDS``."""
        step, words = round(rule.hop_seconds / HOP_SECONDS), [word for word, _ in self.words]
        count = len(Detector(self.labels, rule).feed(self.negative[::step], ends=True))
        hits = Detector(self.labels, rule).feed(self.positive[::step], ends=True)
        times, said = np.array([middle(hit[0], rule) for hit in hits]), [self.labels[hit[1]] for hit in hits]
        near = np.abs(times - np.array([[time] for _, time in self.words])) <= TOLERANCE_SECONDS
        heard = (near & (np.array(said) == np.array(words)[:, None])).any(axis=1)
        missed = [word for word, hit in zip(words, heard.tolist(), strict=True) if not hit]
        return {
            "threshold": rule.threshold,
            "false_accepts": count,
            "false_accepts_per_hour": count / self.hours,
            "upper_bound_per_hour": upper_bound(count, self.hours),
            "misses": len(missed) / len(words),
            "misses_by_word": {word: missed.count(word) / words.count(word) for word in sorted(set(words))},
        }

    def curve(self, rule: Rule) -> list[dict[str, Any]]:
        """The figures at each of ``THRESHOLDS``."""
        return [self.figures(replace(rule, threshold=threshold)) for threshold in THRESHOLDS]


def choose_rule(model: Model, corpus: Corpus, settings: Settings) -> Rule:
    """The rule with the fewest misses at the first of ``RATES`` on the validation split.

    Where even this one misses more than ``MOST_MISSES``, the rule with the fewest false accepts at so many misses.
    Where there is nothing to choose by, the default rule with the model's own threshold.
    """
    heard = listen(model, corpus, "validation", settings.stream_hours)
    if heard is None:
        return Rule(threshold=model.info.threshold)
    curves = [(rule, heard.curve(rule)) for rule in RULES]
    tried = [(rule, _allowing(curve, RATES[0])) for rule, curve in curves]
    rule, point = min(tried, key=lambda each: each[1]["misses"])
    if point["misses"] > MOST_MISSES:
        log.info("running audio: %.0f %% missed at %g false accepts an hour", 100 * point["misses"], RATES[0])
        tried = [(rule, [curve[0], *(p for p in curve if p["misses"] <= MOST_MISSES)][-1]) for rule, curve in curves]
        rule, point = min(tried, key=lambda each: (each[1]["false_accepts"], each[1]["misses"]))
    rule, misses = replace(rule, threshold=point["threshold"]), 100 * point["misses"]
    said = "running audio: %s: %.1f %% missed at %.1f false accepts an hour (validation)"
    log.info(said, rule, misses, point["false_accepts_per_hour"])
    return rule


def measure(model: Model, corpus: Corpus, settings: Settings) -> dict[str, Any] | None:
    """What the model's rule does on audio made of the test split; None where there is nothing to make it of."""
    heard, rule = listen(model, corpus, "testing", settings.stream_hours), model.info.rule
    if heard is None:
        return None
    curve = heard.curve(rule)
    return {
        "rule": asdict(rule),
        "tolerance_seconds": TOLERANCE_SECONDS,
        "hours": heard.hours,
        "lowest_upper_bound": upper_bound(0, heard.hours),
        "keywords": len(heard.words),
        "at_rule": heard.figures(rule),
        "operating_points": [{"allowed_per_hour": rate, **_allowing(curve, rate)} for rate in RATES],
        "curve": [{key: point[key] for key in ("threshold", "false_accepts_per_hour", "misses")} for point in curve],
    }


def _allowing(curve: list[dict[str, Any]], per_hour: float) -> dict[str, Any]:
    """The lowest threshold from which on there are at most so many false accepts an hour; the highest where none is."""
    too_many = [index for index, point in enumerate(curve) if point["false_accepts_per_hour"] > per_hour]
    return curve[min(max(too_many, default=-1) + 1, len(curve) - 1)]


def upper_bound(count: int, hours: float) -> float:
    """The highest rate an hour that is compatible with ``count`` events (95 %, one-sided; Garwood 1936)."""
    return float(chi2.ppf(0.95, 2 * (count + 1)) / 2 / hours)


def listen(model: Model, corpus: Corpus, split: str, hours: float) -> Heard | None:
    """Hear about ``hours`` without keywords and all of a split's keywords; None where there is nothing to hear.

    The words held back from training are heard in the test split alone.
    """
    keywords = [clip for clip in corpus.splits[split].clips if clip.word in model.info.keywords]
    others = [*corpus.others[split], *(clip for clip in corpus.unseen if clip.split == split == "testing")]
    noise = corpus.noise_waveforms[split]
    if not hours or not keywords or not (others or noise):
        return None
    rng = np.random.default_rng(0)
    chosen = [others[index] for index in rng.permutation(len(others))[:_MOST_OTHERS].tolist()]
    negative, _ = _hear(model, _without_keywords(corpus.read(chosen), noise, max(1, round(hours * 60)), rng))
    spoken = list(zip((clip.word for clip in keywords), corpus.read(keywords), strict=True))
    return Heard(model.info.labels, negative, *_hear(model, _with_keywords(spoken, noise, rng)))


def _hear(model: Model, stretches: Iterator[Stretch]) -> tuple[Probabilities, Words]:
    found, words = [], []
    for number, (samples, said) in enumerate(stretches):
        found.append(running_probabilities(model, sliding_window_view(samples, CLIP_SAMPLES)[::_HOP]))
        words += [(word, number * _WINDOWS * HOP_SECONDS + seconds) for word, seconds in said]
    return np.concatenate(found), words


def _without_keywords(others: Waveform, noise: list[Waveform], minutes: int, rng: Generator) -> Iterator[Stretch]:
    """By turns other words, some running into one another, over noise, and noise alone from near silence to loud."""
    for number in range(minutes):
        if not len(others) or (number % 2 and noise):
            yield as_recorded(_noise(noise, -70, -15, rng)), []
            continue
        spoken = [("", others[int(rng.integers(len(others)))]) for _ in range(90)]
        samples, _ = _placed(spoken, -0.4, 1.2, rng)
        samples += rms(samples) * _noise(noise, -40, -5, rng)
        yield as_recorded(samples * 10 ** (rng.uniform(-20, 6) / 20)), []


def _with_keywords(spoken: Spoken, noise: list[Waveform], rng: Generator) -> Iterator[Stretch]:
    """Each keyword once, in random order with pauses of 0.5 to 2.5 s, at one of ``SNR_DB`` after another."""
    left = [spoken[index] for index in rng.permutation(len(spoken)).tolist()]
    level = float(np.median([rms(clip) for _, clip in spoken]))
    for snr in itertools.cycle(SNR_DB if noise else (None,)):
        samples, said = _placed(left, 0.5, 2.5, rng)
        samples += _HISS * rng.standard_normal(_STRETCH, np.float32)
        yield as_recorded(samples if snr is None else samples + level * _noise(noise, -snr, -snr, rng)), said
        if not left:
            return


def _placed(left: Spoken, shortest: float, longest: float, rng: Generator) -> Stretch:
    """A stretch of the last of the clips that are ``left``, which are taken from it, with pauses of so many seconds."""
    samples, said, at = np.zeros(_STRETCH, np.float32), [], SAMPLE_RATE
    while left and at + 2 * CLIP_SAMPLES < _STRETCH:
        word, clip = left.pop()
        samples[at : at + CLIP_SAMPLES] += _faded(clip)
        said.append((word, at / SAMPLE_RATE))
        at += CLIP_SAMPLES + int(rng.uniform(shortest, longest) * SAMPLE_RATE)
    return samples, said


def _noise(noise: list[Waveform], low_db: float, high_db: float, rng: Generator) -> Waveform:
    """A stretch of random recordings, or hiss where there is none, each 10 s at a random level of its RMS."""
    samples = np.empty(_STRETCH, np.float32)
    for chunk in np.array_split(samples, 6):  # views: what is written there is written into the stretch
        piece = noise[int(rng.integers(len(noise)))] if noise else rng.standard_normal(len(chunk), np.float32)
        gain = 10 ** (rng.uniform(low_db, high_db) / 20) / max(rms(piece), 1e-6)
        chunk[:] = _faded(np.resize(np.roll(piece, -int(rng.integers(len(piece)))), len(chunk))) * gain
    return samples


def _faded(samples: Waveform) -> Waveform:
    ramp = np.minimum(1, np.arange(len(samples), dtype=np.float32) / _EDGE)
    return samples * ramp * ramp[::-1]
