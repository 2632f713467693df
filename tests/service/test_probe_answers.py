"""What the probe takes for a right answer, and its percentiles."""

from __future__ import annotations

import re

import pytest

from service.probe.answer import AnswerError, check_answer
from service.probe.measure import percentile

from .answers import GOOD, change

WRONG: list[tuple[object, str]] = [
    ([], "not a JSON object"),
    *(({k: v for k, v in GOOD.items() if k != field}, f"{field} is missing") for field in GOOD),
    (change(prediction="down"), "is not the most probable"),
    (change(prediction="left"), "is not the most probable"),
    (change(prediction=""), "prediction is empty"),
    (change(prediction=3), "prediction is 3"),
    (change(confidence=0.6), "confidence is 0.6"),
    (change(confidence=True), "confidence is True"),
    (change(latency_ms=-1), "latency_ms is -1"),
    (change(latency_ms=float("nan")), "latency_ms is nan"),
    (change(latency_ms="0.5"), "latency_ms is '0.5'"),
    (change(model_version=""), "model_version is empty"),
    (change(model_version=None), "model_version is None"),
    (change(probabilities={"up": 1.0}), "fewer than two"),
    (change(probabilities={"up": 0.7, "down": 0.7}), "sum to 1.4"),
    (change(probabilities={"up": 0.7, "down": "0.3"}), "probability of 'down' is '0.3'"),
    (change(probabilities={"up": 1.7, "down": -0.7}), "probability of 'up' is 1.7"),
    (change(probabilities={"up": float("nan"), "down": 0.3}), "probability of 'up' is nan"),
    (change(windows={}), "windows is not a list"),
    (change(windows=[{"start": 0}]), "a window lacks a field"),
    (change(windows=[{**GOOD, "start": 1.0, "end": 0.5}]), "a window lasts from 1.0 to 0.5 s"),
    (change(windows=[{**GOOD, "start": 0, "end": 1, "confidence": 0.1}]), "confidence is 0.1"),
]


@pytest.mark.parametrize(("answer", "message"), WRONG)
def test_wrong_answers_are_seen(answer: object, message: str) -> None:
    check_answer(GOOD)
    with pytest.raises(AnswerError, match=re.escape(message)):
        check_answer(answer)


def test_another_label_set_is_seen() -> None:
    check_answer(GOOD, ["no", "yes", "up", "down"])
    with pytest.raises(AnswerError, match="the labels are"):
        check_answer(GOOD, ["up", "down", "yes"])


def test_percentile_is_nearest_rank() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([7.0], 50) == percentile([7.0], 99) == 7.0
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0
    assert percentile([1.0, 2.0, 3.0], 95) == 3.0
