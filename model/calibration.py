"""Probabilities that mean what they say, and the threshold of a keyword; both are chosen on the validation split.

Two numbers do the first: the temperature that the logits are divided by (Guo et al. 2017, arXiv:1706.04599), and what
is taken from the logits of ``UNKNOWN``.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax

from kws.detection import DEFAULT_THRESHOLD, UNKNOWN, is_keyword

Floats = npt.NDArray[np.floating[Any]]
Targets = npt.NDArray[np.int64]

LOWEST, HIGHEST = 0.05, 20.0  # temperatures searched
MOST_BIAS = 8.0
TARGET_RECALL = 0.965
RULE = (
    f"the highest threshold that accepts {TARGET_RECALL:.1%} of the validation split's keywords as themselves; where "
    "the model gets fewer of them right at any threshold, the highest that accepts as many as that"
)
BINS = 15


def at_bound(temperature: float) -> bool:
    """Whether a temperature is at the end of ``calibrate``'s search: then the probabilities mean little."""
    return not 1.01 * LOWEST < temperature < HIGHEST / 1.01


def calibrate(logits: Floats, targets: Targets, labels: Sequence[str]) -> tuple[float, float, float]:
    """The temperature, and what is taken from ``UNKNOWN``'s logits, with the least cross-entropy over clips; and this.

    ``logits [clips, classes]``. Training hears ``UNKNOWN`` many times as often as any keyword, so that its logits are
    too high for a split in which all classes are as frequent (Saerens et al. 2002, "Adjusting the outputs of a
    classifier to new a priori probabilities"). A keyword's clip counts twice: keywords of new speakers are less sure
    than those of validation, by more than other words are surer.

    n clips without a mistake show no more than that fewer than 3 in n are wrong (95 %; Hanley & Lippman-Hand 1983,
    "If nothing goes wrong, is everything all right?"). So much of each clip's target goes to the other classes alike:
    without that the best temperature of a model that makes no mistake on validation is 0.
    """
    values, rows = logits.astype(np.float64), np.arange(len(targets))
    unsure = 3 / (len(targets) + 3)
    wanted = np.full(values.shape, unsure / (values.shape[1] - 1))
    wanted[rows, targets] = 1 - unsure
    unknown, weights = np.array([label == UNKNOWN for label in labels]), 1.0 + keyword_mask(labels)[targets]

    def cross_entropy(at: Floats) -> float:
        shifted = (values - at[1] * unknown) / math.exp(at[0])
        return -float(np.average((wanted * log_softmax(shifted, axis=1)).sum(axis=1), weights=weights))

    bounds = [(math.log(LOWEST), math.log(HIGHEST)), (0.0, MOST_BIAS if UNKNOWN in labels else 0.0)]
    best = minimize(cross_entropy, [0.0, 0.0], method="L-BFGS-B", bounds=bounds)
    return math.exp(best.x[0]), float(best.x[1]), float(best.fun)


def keyword_mask(labels: Sequence[str]) -> npt.NDArray[np.bool_]:
    return np.array([is_keyword(label) for label in labels])


def accepted(probabilities: Floats, labels: Sequence[str], threshold: float) -> npt.NDArray[np.bool_]:
    """Which clips of ``[clips, classes]`` are taken for a keyword, as ``kws.detection.classify`` does it."""
    return keyword_mask(labels)[probabilities.argmax(axis=1)] & (probabilities.max(axis=1) >= threshold)


def choose_threshold(probabilities: Floats, targets: Targets, labels: Sequence[str]) -> float:
    """The threshold of ``RULE`` for ``[clips, classes]`` of the validation split, rounded down to a thousandth."""
    keywords = keyword_mask(labels)[targets]
    right = keywords & (probabilities.argmax(axis=1) == targets)
    sure = np.sort(probabilities[right].max(axis=1))[::-1]
    needed = min(math.ceil(TARGET_RECALL * keywords.sum()), len(sure))
    if needed == 0:
        return DEFAULT_THRESHOLD  # a model that gets no keyword right: nothing to choose by
    return max(0.001, math.floor(float(sure[needed - 1]) * 1000) / 1000)


def calibration_error(probabilities: Floats, targets: Targets) -> float:
    """The expected calibration error (Naeini et al. 2015): the mean distance of accuracy and confidence in each of
    ``BINS`` bins of equal width, by the probability of the likeliest class, weighted by the bin's clips."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    right = probabilities.argmax(axis=1) == targets
    sure, hits = (np.bincount(place, weights, BINS) for weights in (confidence, right))
    return float(np.abs(sure - hits).sum() / max(1, len(targets)))
