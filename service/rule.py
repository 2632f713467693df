"""The rule that makes detections of running audio, as the model file states it: one detection a spoken keyword.

The trainer holds the same rule (`model/detection.py`), which it chose and measured; a test keeps the two alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Rule:
    """How detections are made; the defaults are for a model whose file does not say.

    Attributes:
        hop_seconds: from window to window.
        smoothing: windows over which each class's probability is averaged: the window itself and those before it.
        threshold: of the averaged probability.
        refractory_seconds: after a detection there is none for as long.
    """

    hop_seconds: float = 0.1
    smoothing: int = 3
    threshold: float = 0.5
    refractory_seconds: float = 1.0

    def to_dict(self) -> dict[str, float]:
        """As plain values."""
        return asdict(self)


# name: (lowest, highest) value that makes sense, both included.
_BOUNDS = {
    "hop_seconds": (0.01, 1.0),
    "smoothing": (1, 100),
    "threshold": (1e-6, 1.0),
    "refractory_seconds": (0.0, 60.0),
}


def read_rule(text: str | None, threshold: float | None) -> Rule:
    """The rule of the metadata `detection` (JSON); without one the defaults, with the file's own `threshold` if any.

    Raises:
        ValueError: it is no rule; the message says why.
    """
    if text is None:
        return Rule() if threshold is None else Rule(threshold=threshold)
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise ValueError("is no JSON object")
    for field in fields(Rule):
        if field.name not in values:
            raise ValueError(f"lacks {field.name}")
        value = values[field.name]
        low, high = _BOUNDS[field.name]
        whole = field.name == "smoothing"
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
            raise ValueError(f"has {field.name} {value!r}; {low:g} to {high:g} makes sense")
    return Rule(**{field.name: values[field.name] for field in fields(Rule)})


def detections(
    probabilities: Probabilities, labels: Sequence[str], rule: Rule
) -> tuple[Indices, Indices, Probabilities]:
    """The windows where a keyword is detected, their labels and averaged probabilities.

    Where the likeliest class on average is a keyword (a label without an underscore before it), at or over the
    threshold, and not likelier in the next window; none within the refractory time after another, nor while the keyword
    that was detected last stays over the threshold: a word counts once. `probabilities` is float32[windows, classes].
    """
    smooth = _average(probabilities, rule.smoothing)
    best = smooth.argmax(axis=1)
    keyword = np.array([not label.startswith("_") for label in labels])
    confidence = np.where(keyword[best], smooth.max(axis=1), np.float32(0))
    top = (confidence > 0) & (confidence >= np.append(confidence[1:], np.float32(0)))
    over = confidence >= rule.threshold
    run = np.cumsum(~over | (best != np.concatenate([[-1], best[:-1]])))  # the same while a keyword stays over it
    apart = max(1, round(rule.refractory_seconds / rule.hop_seconds))
    chosen: list[int] = []
    free, last_run = -1, -1
    for window in np.flatnonzero(top & over).tolist():
        if window >= free and run[window] != last_run:
            chosen.append(window)
            free, last_run = window + apart, run[window]
    found = np.array(chosen, np.intp)
    return found, best[found], confidence[found]


def _average(probabilities: Probabilities, count: int) -> Probabilities:
    """The mean of each window and the `count - 1` before it; at the beginning, of those that there are."""
    padded = np.concatenate([np.zeros((count - 1, probabilities.shape[1]), np.float32), probabilities])
    total = np.zeros_like(probabilities)
    for offset in range(count):
        total += padded[offset : offset + len(probabilities)]
    there = np.minimum(np.arange(1, len(probabilities) + 1), count).astype(np.float32)
    smooth: Probabilities = total / there[:, None]
    return smooth


def middle(index: Indices, rule: Rule) -> npt.NDArray[np.float64]:
    """Seconds from the middle of the first window to that of the windows averaged for each of `index`."""
    there = np.minimum(index + 1, rule.smoothing)
    return (index - (there - 1) / 2) * rule.hop_seconds
