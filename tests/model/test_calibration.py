"""Calibration and the threshold, on outcomes whose answer is known."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from model.calibration import HIGHEST, LOWEST, accepted, at_bound, calibrate, calibration_error, choose_threshold

LABELS = ("up", "down", "_unknown_")
NAMES = ("a", "b", "c")
HUNDRED = np.arange(100) % 2


@pytest.mark.parametrize(("true", "too_much"), [(0.4, 0.0), (1.0, 0.7), (2.5, 2.0)])
def test_what_made_the_data_is_found(true: float, too_much: float) -> None:
    """Temperature, and by how much a class is too likely that was trained on too often; a keyword counts for two."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (20_000, 3))
    chances = softmax(logits / true, axis=1)
    targets = (chances.cumsum(axis=1) > rng.random((len(logits), 1))).argmax(axis=1)
    found, bias, loss = calibrate(logits + too_much * (np.arange(3) == 2), targets, LABELS)
    assert found == pytest.approx(true, rel=0.05)
    assert bias == pytest.approx(too_much + true * np.log(2), abs=0.15)
    assert calibrate(logits, targets, NAMES)[1] == 0  # there is no such class
    twice = chances * [2, 2, 1] / (chances @ [2, 2, 1])[:, None]
    assert loss == pytest.approx(log_loss(targets, twice, sample_weight=1 + (targets != 2)), rel=0.02)
    assert calibration_error(chances, targets) < 0.02  # what 20,000 draws leave


@pytest.mark.parametrize(("clips", "scale"), [(30, 1.0), (30, 50.0), (200, 5.0), (3000, 5.0)])
def test_a_model_without_a_mistake_is_no_surer_than_its_clips_can_show(clips: int, scale: float) -> None:
    """The best temperature of such a model is 0, at which it gives 100 % to every answer."""
    targets = np.arange(clips) % 3
    logits = scale * (np.eye(3)[targets] + np.random.default_rng(0).normal(0, 0.01, (clips, 3)))
    found, _, _ = calibrate(logits, targets, NAMES)
    told = softmax(logits / found, axis=1)
    assert told.max(axis=1).mean() == pytest.approx(1 - 3 / (clips + 3), abs=2e-3)
    assert not at_bound(found)
    assert choose_threshold(told, targets, LABELS) <= 1 - 2.5 / clips


def test_a_temperature_at_the_end_of_its_search_and_an_error_by_hand() -> None:
    """Of a model that is always wrong, and of one whose logits hardly differ."""
    targets = np.arange(300) % 3
    for scale, bound in ((-5.0, HIGHEST), (1e-3, LOWEST)):
        found, _, _ = calibrate(scale * np.eye(3)[targets], targets, NAMES)
        assert found == pytest.approx(bound, rel=1e-2)
        assert at_bound(found)
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 10)
    targets = np.array([0] * 7 + [1] * 3 + [1] * 8 + [0] * 2)  # 70 % right at 0.9, 80 % right at 0.6
    assert calibration_error(probabilities, targets) == pytest.approx(0.5 * 0.2 + 0.5 * 0.2)


@pytest.mark.parametrize(
    ("targets", "threshold", "kept"),  # 96.5 % of those that are right, as many as there are, nothing to choose by
    [(HUNDRED, 0.515, 97), (np.where(np.arange(100) < 10, 1 - HUNDRED, HUNDRED), 0.55, 90), (1 - HUNDRED, 0.5, 100)],
)
def test_the_threshold_is_the_highest_that_keeps_the_recall(targets: np.ndarray, threshold: float, kept: int) -> None:
    sure = np.linspace(0.5, 0.99, 100)
    probabilities = np.stack([np.where(answer == HUNDRED, sure, (1 - sure) / 2) for answer in range(3)], axis=1)
    found = choose_threshold(probabilities, targets, LABELS)
    assert found == pytest.approx(threshold, abs=1e-2)
    assert accepted(np.array([*probabilities, [0, 0, 1]]), LABELS, found).sum() == kept  # no keyword, never
