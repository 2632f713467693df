"""Keyword spotting in running audio: keywords missed against false accepts an hour, and the rule that does best.

The audio is made of one split's clips and background noise: without keywords (other words and background) for the false
accepts, and with each of the split's keywords once at a known time for the misses.
"""

import itertools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.stats import chi2

from kws.audio import SAMPLE_RATE, Waveform, rms
from kws.detection import Detector, Hit, Probabilities, Rule, middle, running_probabilities
from kws.model_file import Model
from model.data.recording import as_recorded
from model.settings import CLIP_SAMPLES, Settings

if TYPE_CHECKING:
    from model.corpus import Corpus

log = logging.getLogger(__name__)

TARGET, STRICT = 0.5, 0.1  # false accepts an hour: what openWakeWord and microWakeWord aim at; what Picovoice does
MOST_MISSES = 0.1  # a rule that misses more at TARGET is of no use: then the fewest false accepts at so many misses
# A keyword is heard when a detection of it lies this near its clip's middle (TensorFlow's test_streaming_accuracy).
TOLERANCE_SECONDS = 0.75
HOP_SECONDS = 0.1
RULES = tuple(
    Rule(HOP_SECONDS * step, smoothing, refractory_seconds=refractory)
    for step, smoothing, refractory in itertools.product((1, 2), (1, 2, 3, 4, 6), (0.6, 1.0))
)
SNR_DB = (None, 20.0, 10.0, 5.0)  # of the keywords, in turn; None: as recorded
# The thresholds that are tried: even steps of the odds' logarithm, for models are surest near 1.
THRESHOLDS = tuple(round(1 / (1 + math.exp(-step / 8)), 5) for step in range(-24, 81))
_WINDOWS = 600  # of a stretch of audio: a minute, which bounds memory
_HOP = round(HOP_SECONDS * SAMPLE_RATE)
_STRETCH = (_WINDOWS - 1) * _HOP + CLIP_SAMPLES
_MOST_OTHERS = 2000  # clips of other words held in memory
_ROOM_DBFS = -75.0  # of a keyword as recorded: there is always a room
_CHUNKS = np.array_split(np.arange(_STRETCH), 6)  # of a stretch: each has a noise and a level of its own
_EDGE = SAMPLE_RATE // 50  # clips are faded in and out, so that no cut clicks


@dataclass(frozen=True)
class Heard:
    """What a model said of stretches of audio, one after another, and the keywords that are there."""

    found: Probabilities  # float32[windows, classes], a window every ``HOP_SECONDS``
    words: tuple[tuple[str, float], ...] = ()  # keyword, seconds from the middle of the first window to its clip's

    @property
    def hours(self) -> float:
        """The audio's length."""
        return len(self.found) * HOP_SECONDS / 3600


@dataclass(frozen=True)
class Trial:
    """A rule on audio without keywords and on audio with them."""

    labels: tuple[str, ...]
    negative: Heard
    positive: Heard
    rule: Rule

    def at(self, threshold: float) -> "Trial":
        """The same with another threshold."""
        return replace(self, rule=replace(self.rule, threshold=threshold))

    def _detect(self, heard: Heard) -> list[Hit]:
        detector = Detector(self.labels, self.rule)
        step = round(self.rule.hop_seconds / HOP_SECONDS)
        return detector.feed(heard.found[::step]) + detector.finish()

    def false_accepts(self) -> int:
        """Detections where there is no keyword."""
        return len(self._detect(self.negative))

    def missed(self) -> list[str]:
        """The keywords that are not heard, one entry a time each was said."""
        hits = self._detect(self.positive)
        times = np.array([middle(hit.window, self.rule) for hit in hits])
        said = np.array([self.labels[hit.label] for hit in hits])
        return [
            word
            for word, time in self.positive.words
            if not ((np.abs(times - time) <= TOLERANCE_SECONDS) & (said == word)).any()
        ]

    def misses(self) -> float:
        """The share of keywords that are not heard."""
        return len(self.missed()) / len(self.positive.words)

    def threshold_for(self, per_hour: float) -> float:
        """The lowest threshold tried from which on there are at most so many false accepts an hour."""
        allowed = math.floor(per_hour * self.negative.hours + 1e-9)
        return _first(lambda threshold: self.at(threshold).false_accepts() <= allowed)

    def threshold_missing(self, share: float) -> float:
        """The highest threshold tried at which at most that share of the keywords is missed; the lowest where none."""
        above = THRESHOLDS.index(_first(lambda threshold: self.at(threshold).misses() > share))
        return THRESHOLDS[max(0, above - 1)]

    def figures(self) -> dict[str, Any]:
        """False accepts and misses at the rule's threshold; the upper bound is the 95 % one of a Poisson rate."""
        count, hours, missed = self.false_accepts(), self.negative.hours, self.missed()
        words = [word for word, _ in self.positive.words]
        return {
            "threshold": self.rule.threshold,
            "false_accepts": count,
            "false_accepts_per_hour": count / hours,
            "upper_bound_per_hour": upper_bound(count, hours),
            "misses": len(missed) / len(words),
            "misses_by_word": {word: missed.count(word) / words.count(word) for word in sorted(set(words))},
        }


def choose_rule(model: Model, corpus: "Corpus", settings: Settings) -> Rule:
    """The rule with the fewest misses at ``TARGET`` false accepts an hour on the validation split.

    Where even this one misses more than ``MOST_MISSES``, the rule with the fewest false accepts at so many misses.
    Where there is nothing to choose by, the default rule with the model's own threshold.
    """
    default = Rule(threshold=model.info.threshold)
    heard = _listen(model, corpus, "validation", settings.stream_hours)
    if heard is None:
        log.info("running audio: nothing to choose the rule by; it is the default one")
        return default
    trials = [Trial(model.info.labels, *heard, rule) for rule in RULES]
    best = min((trial.at(trial.threshold_for(TARGET)) for trial in trials), key=lambda trial: trial.misses())
    if best.misses() > MOST_MISSES:
        log.info("running audio: %.0f %% missed at %g false accepts an hour", 100 * best.misses(), TARGET)
        tried = (trial.at(trial.threshold_missing(MOST_MISSES)) for trial in trials)
        best = min(tried, key=lambda trial: (trial.false_accepts(), trial.misses()))
    log.info("running audio: %s (validation: %s)", best.rule, _line(best.figures()))
    return best.rule


def measure(model: Model, corpus: "Corpus", settings: Settings) -> dict[str, Any] | None:
    """What the model's rule does on audio made of the test split; None where there is nothing to make it of."""
    heard = _listen(model, corpus, "testing", settings.stream_hours)
    if heard is None:
        return None
    trial = Trial(model.info.labels, *heard, model.info.rule)
    points = [trial.at(threshold) for threshold in THRESHOLDS[::4]]
    log.info("running audio: %s (test)", _line(trial.figures()))
    return {
        "rule": asdict(trial.rule),
        "tolerance_seconds": TOLERANCE_SECONDS,
        "hours": trial.negative.hours,
        "lowest_upper_bound": upper_bound(0, trial.negative.hours),
        "keywords": len(trial.positive.words),
        "at_rule": trial.figures(),
        "operating_points": [
            {"allowed_per_hour": rate, **trial.at(trial.threshold_for(rate)).figures()} for rate in (TARGET, STRICT)
        ],
        "curve": [
            {key: point.figures()[key] for key in ("threshold", "false_accepts_per_hour", "misses")} for point in points
        ],
    }


def upper_bound(count: int, hours: float) -> float:
    """The highest rate an hour that is compatible with ``count`` events (95 %, one-sided; Garwood 1936)."""
    return float(chi2.ppf(0.95, 2 * (count + 1)) / 2 / hours)


def _first(holds: Callable[[float], bool]) -> float:
    """The first of ``THRESHOLDS`` from which on something holds, by bisection; the last where it never does."""
    low, high = 0, len(THRESHOLDS) - 1
    while low < high:
        half = (low + high) // 2
        low, high = (low, half) if holds(THRESHOLDS[half]) else (half + 1, high)
    return THRESHOLDS[low]


def _listen(model: Model, corpus: "Corpus", split: str, hours: float) -> tuple[Heard, Heard] | None:
    """About ``hours`` without keywords and all the split's keywords; the words held back are heard in testing alone."""
    keywords = [clip for clip in corpus.splits[split].clips if clip.word in model.info.keywords]
    held_back = [clip for clip in corpus.unseen if clip.split == split] if split == "testing" else []
    others, noise = [*corpus.others[split], *held_back], corpus.noise_waveforms[split]
    if not hours or not keywords or not (others or noise):
        return None
    rng = np.random.default_rng(0)
    chosen = [others[index] for index in rng.permutation(len(others))[:_MOST_OTHERS].tolist()]
    negative = _hear(model, _without_keywords(corpus.read(chosen), noise, max(1, round(hours * 60)), rng))
    words = [clip.word for clip in keywords]
    return negative, _hear(model, _with_keywords(words, corpus.read(keywords), noise, rng))


def _hear(model: Model, stretches: Iterator[tuple[Waveform, list[tuple[str, float]]]]) -> Heard:
    found, words = [], []
    for number, (samples, said) in enumerate(stretches):
        found.append(running_probabilities(model, sliding_window_view(samples, CLIP_SAMPLES)[::_HOP]))
        words += [(word, number * _WINDOWS * HOP_SECONDS + seconds) for word, seconds in said]
    return Heard(np.concatenate(found), tuple(words))


def _without_keywords(
    others: Waveform, noise: list[Waveform], minutes: int, rng: np.random.Generator
) -> Iterator[tuple[Waveform, list[tuple[str, float]]]]:
    """By turns other words, some running into one another, over noise, and noise alone from near silence to loud."""
    for number in range(minutes):
        if not len(others) or (number % 2 and noise):
            yield as_recorded(_noise(noise, -70, -15, rng)), []
            continue
        samples, at = np.zeros(_STRETCH, np.float32), int(rng.uniform(0, SAMPLE_RATE))
        while at + CLIP_SAMPLES < _STRETCH:
            clip = others[rng.integers(len(others))]
            _add(samples, clip * (10 ** (rng.uniform(-35, -12) / 20) / max(rms(clip), 1e-4)), at)
            at += CLIP_SAMPLES + int(rng.uniform(-0.4, 1.2) * SAMPLE_RATE)
        yield as_recorded(samples + rms(samples) * _noise(noise, -40, -5, rng)), []


def _with_keywords(
    words: list[str], clips: Waveform, noise: list[Waveform], rng: np.random.Generator
) -> Iterator[tuple[Waveform, list[tuple[str, float]]]]:
    """Each keyword once, in random order with pauses of 0.5 to 2.5 s, over noise at ``SNR_DB`` or in a quiet room."""
    left = rng.permutation(len(clips)).tolist()
    for snr in itertools.cycle(SNR_DB if noise else (None,)):
        if not left:
            return
        samples, said, levels, at = np.zeros(_STRETCH, np.float32), [], [], SAMPLE_RATE
        while left and at + 2 * CLIP_SAMPLES < _STRETCH:
            index = left.pop()
            _add(samples, clips[index], at)
            said.append((words[index], at / SAMPLE_RATE))
            levels.append(rms(clips[index]))
            at += CLIP_SAMPLES + int(rng.uniform(0.5, 2.5) * SAMPLE_RATE)
        room = 10 ** (_ROOM_DBFS / 20)
        level = room if snr is None else max(room, float(np.median(levels)) * 10 ** (-snr / 20))
        yield as_recorded(samples + level * _noise([] if snr is None else noise, 0, 0, rng)), said


def _noise(noise: list[Waveform], low_db: float, high_db: float, rng: np.random.Generator) -> Waveform:
    """A stretch of random recordings at random levels, of RMS 1 before them; hiss where there is no recording."""
    samples = rng.standard_normal(_STRETCH, np.float32)
    for chunk in _CHUNKS if noise else ():
        piece = noise[rng.integers(len(noise))]
        turned = np.roll(piece, -int(rng.integers(len(piece))))
        gain = 10 ** (rng.uniform(low_db, high_db) / 20)
        samples[chunk] = _faded(np.resize(turned, len(chunk))) * (gain / max(rms(piece), 1e-6))
    return samples if noise else samples * np.float32(10 ** (rng.uniform(low_db, high_db) / 20))


def _add(samples: Waveform, clip: Waveform, at: int) -> None:
    samples[at : at + len(clip)] += _faded(clip)


def _faded(samples: Waveform) -> Waveform:
    ramp = np.minimum(1, np.arange(len(samples), dtype=np.float32) / _EDGE)
    return samples * ramp * ramp[::-1]


def _line(figures: dict[str, Any]) -> str:
    return f"{100 * figures['misses']:.1f} % missed at {figures['false_accepts_per_hour']:.1f} false accepts an hour"
