"""Calibration and the operating point, on outcomes whose answer is known."""

import numpy as np
import pytest

from model.calibration import HIGHEST, LOWEST, fit_temperature, reliability
from model.operating import accepted, choose_threshold, measure

LABELS = ("up", "down", "_unknown_")


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("true", [0.4, 1.0, 2.5])
def test_the_temperature_that_made_the_data_is_found(true: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (20_000, 5))
    chances = softmax(logits / true)
    targets = (chances.cumsum(axis=1) > rng.random((len(logits), 1))).argmax(axis=1)
    assert fit_temperature(logits, targets) == pytest.approx(true, rel=0.05)
    before, after = reliability(softmax(logits), targets)["ece"], reliability(chances, targets)["ece"]
    assert after < 0.02  # what 20,000 draws leave
    assert true == 1.0 or before > 5 * after


def test_the_temperature_stays_within_its_bounds() -> None:
    targets = np.arange(30) % 3
    right = 5.0 * np.eye(3)[targets]
    assert fit_temperature(right, targets) == pytest.approx(LOWEST, rel=1e-3)  # never wrong: as sure as may be
    assert fit_temperature(-right, targets) == pytest.approx(HIGHEST, rel=1e-3)


def test_the_calibration_error_of_a_known_outcome() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 10)
    targets = np.array([0] * 7 + [1] * 3 + [1] * 8 + [0] * 2)  # 70 % right at 0.9, 80 % right at 0.6
    found = reliability(probabilities, targets)
    assert found["ece"] == pytest.approx(0.5 * 0.2 + 0.5 * 0.2)
    assert [(row["clips"], row["accuracy"]) for row in found["bins"]] == [(10, 0.8), (10, 0.7)]
    assert reliability(np.array([[1.0, 0.0]]), np.array([0]))["bins"][0]["to"] == 1.0


def sure(answer: int, probability: float) -> list[float]:
    rest = (1 - probability) / 2
    return [probability if index == answer else rest for index in range(3)]


def test_accepted_is_a_keyword_and_sure_enough() -> None:
    probabilities = np.array([sure(0, 0.9), sure(0, 0.7), sure(2, 0.9), sure(1, 0.8)])
    assert accepted(probabilities, LABELS, 0.8).tolist() == [True, False, False, True]
    assert accepted(probabilities, LABELS, 0.0).tolist() == [True, True, False, True]


def test_the_threshold_is_the_highest_that_keeps_the_recall() -> None:
    levels = np.linspace(0.5, 0.99, 100)
    probabilities = np.array([sure(index % 2, level) for index, level in enumerate(levels)])
    targets = np.arange(100) % 2
    threshold = choose_threshold(probabilities, targets, LABELS, 0.97)
    assert accepted(probabilities, LABELS, threshold).sum() == 97
    assert threshold == pytest.approx(levels[3], abs=1e-3)
    wrong = np.where(np.arange(100) < 10, 1 - targets, targets)  # only 90 right: as many as there are
    assert accepted(probabilities, LABELS, choose_threshold(probabilities, wrong, LABELS, 0.97)).sum() == 90
    assert choose_threshold(probabilities, 1 - targets, LABELS, 0.97) == 0.5  # none right: nothing to choose by


def test_recall_and_false_accepts_with_their_curve() -> None:
    probabilities = np.array([sure(0, 0.9), sure(1, 0.9), sure(0, 0.6), sure(2, 0.9)])
    targets = np.array([0, 0, 0, 2])  # right and sure, wrong, right and unsure, no keyword
    others = {"words": np.array([sure(0, 0.95), sure(2, 0.9)]), "nothing": np.empty((0, 3))}
    found = measure(probabilities, targets, others, LABELS, 0.8)
    assert (found["recall"]["count"], found["recall"]["clips"]) == (1, 3)
    assert found["false_accepts"]["words"]["share"] == 0.5
    assert "nothing" not in found["false_accepts"]
    by_threshold = {point["threshold"]: point for point in found["curve"]}
    assert by_threshold[0.0]["recall"] == pytest.approx(2 / 3)
    assert by_threshold[0.8]["recall"] == pytest.approx(1 / 3)
    assert by_threshold[0.96]["false_accepts"]["words"] == 0.0
    recalls = [point["recall"] for point in found["curve"]]
    assert recalls == sorted(recalls, reverse=True)
