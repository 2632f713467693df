"""Probabilities that mean what they say: of the answers given with 90 %, nine in ten are right.

One number does it, the temperature that the logits are divided by; it changes no answer, only how sure the model is
(Guo et al. 2017, arXiv:1706.04599). It is chosen on the validation split.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Targets = npt.NDArray[np.int64]

LOWEST, HIGHEST = 0.05, 20.0
BINS = 15
_GOLDEN = (math.sqrt(5) - 1) / 2


def fit_temperature(logits: Floats, targets: Targets) -> float:
    """The temperature with the least cross-entropy over ``logits [clips, classes]``, within ``LOWEST`` and ``HIGHEST``.

    The cross-entropy is convex in the inverse of the temperature: a golden-section search finds its one minimum.
    """
    values = logits.astype(np.float64)
    low, high = math.log(LOWEST), math.log(HIGHEST)
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    losses = [_cross_entropy(values / math.exp(x), targets) for x in inner]
    while high - low > 1e-4:
        if losses[0] <= losses[1]:
            high, inner[1], losses[1] = inner[1], inner[0], losses[0]
            inner[0] = high - _GOLDEN * (high - low)
            losses[0] = _cross_entropy(values / math.exp(inner[0]), targets)
        else:
            low, inner[0], losses[0] = inner[0], inner[1], losses[1]
            inner[1] = low + _GOLDEN * (high - low)
            losses[1] = _cross_entropy(values / math.exp(inner[1]), targets)
    return math.exp((low + high) / 2)


def reliability(probabilities: Floats, targets: Targets, bins: int = BINS) -> dict[str, Any]:
    """The expected calibration error (Naeini et al. 2015), and the reliability curve that it comes from.

    Clips are put into ``bins`` bins of equal width by the probability of their likeliest class; the error is the mean
    distance of accuracy and confidence in a bin, weighted by its clips.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == targets
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = [
        {
            "from": index / bins,
            "to": (index + 1) / bins,
            "clips": int(inside.sum()),
            "confidence": float(confidence[inside].mean()),
            "accuracy": float(right[inside].mean()),
        }
        for index in range(bins)
        if (inside := place == index).any()
    ]
    error = sum(row["clips"] * abs(row["accuracy"] - row["confidence"]) for row in rows) / max(1, len(targets))
    return {"ece": error, "bins": rows}


def _cross_entropy(logits: Floats, targets: Targets) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    chosen = np.take_along_axis(shifted, targets[:, None], axis=1)[:, 0]
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - chosen))
