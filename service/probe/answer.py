"""Is an answer of `/predict` what the interface promises?"""

from __future__ import annotations

import math
from typing import Any

# What rounding to six decimals may add up to, and no more than a reader would forgive.
SUM_TOLERANCE = 1e-3


class AnswerError(Exception):
    """The answer is wrong in form; the message says what is."""


def check_answer(answer: Any, labels: list[str] | None = None) -> None:
    """Check a decoded JSON answer of `/predict`.

    Args:
        answer: the decoded document.
        labels: what the label set must be; None when it is not known yet.

    Raises:
        AnswerError: a field is missing, of the wrong type, or contradicts another.
    """
    if not isinstance(answer, dict):
        raise AnswerError("the answer is not a JSON object")
    for field, kinds in (
        ("prediction", str),
        ("probabilities", dict),
        ("confidence", (int, float)),
        ("latency_ms", (int, float)),
        ("model_version", str),
        ("request_id", str),
    ):
        if field not in answer:
            raise AnswerError(f"{field} is missing")
        if not isinstance(answer[field], kinds) or isinstance(answer[field], bool):
            raise AnswerError(f"{field} is {answer[field]!r}")
    for field in ("prediction", "model_version", "request_id"):
        if not answer[field]:
            raise AnswerError(f"{field} is empty")
    if not math.isfinite(answer["latency_ms"]) or answer["latency_ms"] < 0:
        raise AnswerError(f"latency_ms is {answer['latency_ms']}")
    _check_scores(answer, labels)
    windows = answer.get("windows", [])
    if not isinstance(windows, list):
        raise AnswerError("windows is not a list")
    for window in windows:
        _check_window(window, list(answer["probabilities"]))


def _check_window(window: Any, labels: list[str]) -> None:
    if not isinstance(window, dict) or not {"start", "end", "prediction", "probabilities", "confidence"} <= set(window):
        raise AnswerError("a window lacks a field")
    if not 0 <= window["start"] < window["end"]:
        raise AnswerError(f"a window lasts from {window['start']} to {window['end']} s")
    _check_scores(window, labels)


def _check_scores(scores: dict[str, Any], labels: list[str] | None) -> None:
    """`probabilities` must be a distribution over the labels, and the rest follow from it."""
    probabilities: dict[str, Any] = scores["probabilities"]
    if labels is not None and set(probabilities) != set(labels):
        raise AnswerError(f"the labels are {sorted(probabilities)}, not {sorted(labels)}")
    if len(probabilities) < 2:
        raise AnswerError("probabilities has fewer than two labels")
    for label, p in probabilities.items():
        if not isinstance(p, int | float) or isinstance(p, bool) or not 0 <= p <= 1:
            raise AnswerError(f"the probability of {label!r} is {p!r}")
    total = sum(probabilities.values())
    if abs(total - 1) > SUM_TOLERANCE:
        raise AnswerError(f"the probabilities sum to {total:.6f}")
    most = max(probabilities.values())
    if probabilities.get(scores["prediction"]) != most:
        raise AnswerError(f"the prediction {scores['prediction']!r} is not the most probable label")
    if scores["confidence"] != most:
        raise AnswerError(f"confidence is {scores['confidence']}, the highest probability {most}")
