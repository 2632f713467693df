"""Commands missed against false accepts an hour, on a model whose answers are known."""

import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import soundfile

from kws.audio import SAMPLE_RATE
from kws.detection import Rule, detect
from model.data.speech import Recording, Speech
from model.evaluation.running_audio import HOP_SECONDS, alarms, choose_rule, measure, threshold, upper_bound

from .stand_ins import ToneModel, corpus

TONES: Any = ToneModel()


def measured(speech: Speech, model: Any = TONES) -> dict[str, Any]:
    found = measure(model, corpus(speech=speech))
    assert found is not None
    return found


def test_a_clear_model_misses_nothing_and_accepts_nothing_false(speech: Speech) -> None:
    found = measured(speech)
    at = found["operating"]["medium"]
    assert (at["misses"]["count"], at["misses"]["clips"], at["false_accepts"]) == (0, 12, 0)
    assert {name: one["share"] for name, one in at["misses_by_word"].items()} == {"low": 0, "high": 0}
    assert (at["misses_embedded"]["count"], at["misses_embedded"]["clips"]) == (0, 1)
    assert found["hours"] * 3600 == pytest.approx(11 + 8)
    assert at["upper_bound_per_hour"] == found["lowest_upper_bound"] == pytest.approx(3 / found["hours"], rel=0.01)


def test_what_sounds_like_a_keyword_is_a_false_accept_and_is_named(speech: Speech) -> None:
    model: Any = ToneModel(rule=Rule(0.1, 3, 0.3), sensitivities={"low": 0.9, "medium": 0.3, "high": 0.3})
    found = measured(speech, model)
    counts = {name: point["false_accepts"] for name, point in found["operating"].items()}
    assert counts == {"low": 0, "medium": 1, "high": 1}
    worst = found["worst"][0]
    assert (worst["recording"], worst["label"]) == ("testing-a.wav", "low")
    assert worst["seconds"] == pytest.approx(5, abs=1)
    assert found["operating"]["medium"]["false_accepts_per_hour"] == pytest.approx(1 / found["hours"])
    misses = [point["misses"] for point in found["curve"]]
    rates = [point["false_accepts_per_hour"] for point in found["curve"]]
    assert misses == sorted(misses)
    assert rates == sorted(rates, reverse=True)


def test_the_figures_count_what_the_service_would_detect(speech: Speech) -> None:
    rule = Rule(HOP_SECONDS, 5, 0.3)
    model: Any = ToneModel(rule=rule)
    every = [one for split in ("validation", "testing") for one in speech.without[split]]
    for one, found in zip(every, alarms(model, every), strict=True):
        samples = soundfile.read(one.path, dtype="float32")[0]
        assert found["alarms"] == len(detect(cast(Any, model), samples)), one.path.name
        assert found["minutes"] == pytest.approx(len(samples) / SAMPLE_RATE / 60)


def test_the_rule_is_chosen_on_validation_for_the_false_accepts_that_are_allowed(speech: Speech) -> None:
    rule, sensitivities = choose_rule(TONES, corpus(speech=speech), 1.0)
    assert sensitivities["medium"] == rule.threshold
    assert sensitivities["low"] >= rule.threshold >= sensitivities["high"]
    found = measured(speech, ToneModel(rule=rule, sensitivities=sensitivities))
    assert found["operating"]["medium"]["false_accepts"] == 0
    looser, _ = choose_rule(TONES, corpus(speech=speech), 500.0)
    assert looser.threshold < rule.threshold


def test_without_speech_the_rule_has_the_models_threshold_and_nothing_is_measured() -> None:
    assert choose_rule(cast(Any, ToneModel(threshold=0.7)), corpus(), 1.0) == (Rule(threshold=0.7), {})
    assert measure(TONES, corpus()) is None


@pytest.mark.parametrize("allowed", [0.5, 1.0, 2.0, 5.0, 50.0])
def test_so_many_reach_the_threshold(allowed: float) -> None:
    """On odds whose logarithm has an exponential tail, where how many are over a threshold is known."""
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        odds = np.sort(rng.exponential(0.5, 400) - 3)[::-1]
        at = threshold(1 / (1 + np.exp(-odds)), allowed)
        found.append(400 * math.exp(-(math.log(at / (1 - at)) + 3) / 0.5))
    assert np.median(found) == pytest.approx(allowed, rel=0.35)


@pytest.mark.parametrize(("tops", "at"), [([], 0.5), ([0.3], 0.5), ([0.9, 0.2, 0.1], 0.9369)])
def test_few_false_accepts_give_a_threshold_over_the_highest(tops: list[float], at: float) -> None:
    assert threshold(np.array(tops), 0.5) == pytest.approx(at, abs=1e-4)


@pytest.mark.parametrize(
    ("count", "hours", "bound"), [(0, 1.0, 2.996), (0, 6.0, 0.499), (1, 1.0, 4.744), (10, 2.0, 8.48)]
)
def test_the_upper_bound_of_a_rate(count: int, hours: float, bound: float) -> None:
    """Garwood's tables."""
    assert upper_bound(count, hours) == pytest.approx(bound, abs=2e-3)


def test_a_recording_that_cannot_be_read_is_left_out(tmp_path: Path, speech: Speech) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    before = measured(speech)["hours"]
    speech.without["testing"].append(Recording(tmp_path / "broken.wav", "x", None))
    assert measured(speech)["hours"] == before
