"""Misses against false accepts an hour, on a model whose answers are known."""

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kws.detection import Detector, Rule
from model.evaluation import running_audio
from model.evaluation.running_audio import THRESHOLDS, Heard, choose_rule, listen, measure, upper_bound

from .stand_ins import LABELS, NOISE, ToneModel, clip, corpus

MINUTES: Any = SimpleNamespace(stream_hours=0.05)
TONES: Any = ToneModel()
LIKE_LOW = tuple(clip("bird", "testing", n, "_unknown_", like_low=n / 20) for n in range(20))


def measured(data: Any, model: Any = None, settings: Any = MINUTES) -> dict[str, Any]:
    found = measure(model or TONES, data, settings)
    assert found is not None
    return found


def test_a_clear_model_misses_nothing_and_accepts_nothing_false() -> None:
    found = measured(corpus())
    at = found["at_rule"]
    assert (at["misses"], at["false_accepts"], at["false_accepts_per_hour"]) == (0, 0, 0)
    assert at["misses_by_word"] == {"low": 0, "high": 0}
    assert (found["keywords"], found["hours"]) == (12, pytest.approx(0.05))
    assert at["upper_bound_per_hour"] == found["lowest_upper_bound"] == pytest.approx(3 / 0.05, rel=0.01)
    assert found["rule"] == {"hop_seconds": 0.1, "smoothing": 3, "threshold": 0.6, "refractory_seconds": 0.8}


def test_other_words_that_sound_like_a_keyword_are_false_accepts() -> None:
    """The words held back are heard in the test split alone, and those of the other splits never."""
    unseen = tuple(clip("tree", split, 0, "low") for split in ("training", "testing"))
    data = corpus(others={"testing": (), "validation": ()}, unseen=unseen)
    at = measured(data)["at_rule"]
    assert at["false_accepts"] > 10
    assert at["false_accepts_per_hour"] == pytest.approx(at["false_accepts"] / 0.05)
    assert at["upper_bound_per_hour"] > at["false_accepts_per_hour"]
    validation = listen(TONES, data, "validation", 0.05)
    assert validation is not None
    assert validation.figures(TONES.info.rule)["false_accepts"] == 0


def test_operating_points_keep_their_bound_and_the_curve_falls() -> None:
    found = measured(corpus(others={"testing": LIKE_LOW}), settings=SimpleNamespace(stream_hours=0.2))
    for point in found["operating_points"]:
        assert point["false_accepts_per_hour"] <= point["allowed_per_hour"]
    misses = [point["misses"] for point in found["curve"]]
    assert misses == sorted(misses)
    rates = [point["false_accepts_per_hour"] for point in found["curve"]]
    assert rates[0] > 10 > rates[-1]
    assert [point["threshold"] for point in found["curve"]] == THRESHOLDS


def test_detections_are_those_of_the_one_rule() -> None:
    """The figures count what ``kws.detection`` detects, at hops that are multiples of the one that was heard."""
    heard = listen(TONES, corpus(others={"testing": LIKE_LOW}), "testing", 0.1)
    assert heard is not None
    for rule in (Rule(0.1, 2, 0.5), Rule(0.2, 3, 0.6)):
        found = Detector(LABELS, rule).feed(heard.negative[:: round(rule.hop_seconds * 10)], ends=True)
        assert heard.figures(rule)["false_accepts"] == len(found)


def test_a_keyword_counts_only_as_itself_and_near_its_time() -> None:
    found = np.full((600, 4), 0.01, np.float32)
    found[:, 2] = 0.97
    for window, label in ((100, 0), (200, 1), (300, 0)):
        found[window] = np.where(np.arange(4) == label, 0.97, 0.01)
    rule = Rule(0.1, 1, 0.5)
    for words, missed in (
        ([("low", 10.0), ("high", 20.0), ("low", 30.7)], 0),
        ([("high", 10.0), ("high", 20.0), ("low", 30.0)], 1),  # another word
        ([("low", 10.0), ("high", 20.8), ("low", 29.2)], 2),  # too far
        ([("low", 40.0)], 1),
    ):
        figures = Heard(LABELS, found, found, words).figures(rule)
        assert round(figures["misses"] * len(words)) == missed
        assert figures["false_accepts"] == 3


@pytest.mark.parametrize(
    ("changes", "hours"),
    [({}, 0.0), ({"others": {"testing": ()}, "unseen": (), "noise_waveforms": {"testing": []}}, 0.05)],
)
def test_nothing_to_hear_is_not_measured(changes: dict[str, Any], hours: float) -> None:
    settings: Any = SimpleNamespace(stream_hours=hours)
    assert measure(TONES, corpus(**changes), settings) is None


SURE = tuple(clip("bird", "validation", number, "low") for number in range(3))


@pytest.mark.parametrize(
    ("others", "noise", "misses", "says"),
    [
        (LIKE_LOW[:10], [NOISE], 0.0, "0.0 % missed at 0.0 false accepts an hour (validation)"),
        # Other words are the very keyword: without a false accept every ``low`` is missed, which nobody could use.
        (SURE, [NOISE], running_audio.MOST_MISSES, "missed at 0.5 false accepts an hour"),
        ((), [], 1.0, ""),  # nothing to choose by: the model's own threshold
    ],
)
def test_the_rule_is_chosen_on_validation(
    caplog: pytest.LogCaptureFixture, others: Any, noise: Any, misses: float, says: str
) -> None:
    data = corpus(others={"validation": others}, noise_waveforms={"validation": noise})
    with caplog.at_level(logging.INFO):
        rule = choose_rule(TONES, data, MINUTES)
    assert says in caplog.text
    heard = listen(TONES, data, "validation", 0.05)
    if heard is None:
        assert rule == Rule(threshold=TONES.info.threshold)
        return
    assert rule.threshold in THRESHOLDS
    assert heard.figures(rule)["misses"] <= misses


@pytest.mark.parametrize(
    ("count", "hours", "bound"), [(0, 1.0, 2.996), (0, 6.0, 0.499), (1, 1.0, 4.744), (10, 2.0, 8.48)]
)
def test_the_upper_bound_of_a_rate(count: int, hours: float, bound: float) -> None:
    """Garwood's tables."""
    assert upper_bound(count, hours) == pytest.approx(bound, abs=2e-3)
