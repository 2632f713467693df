"""The operating point: how sure the model must be before a keyword counts as heard.

A keyword is *accepted* when it is the model's answer and its probability is at or over the threshold. Raising the
threshold trades recall (keywords accepted as themselves) for fewer false accepts (anything else accepted as a keyword).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from model import settings
from model.calibration import Floats, Targets
from model.intervals import share

TARGET_RECALL = 0.97
RULE = (
    f"the highest threshold that accepts {TARGET_RECALL:.0%} of the validation split's keywords as themselves; where "
    "the model gets fewer of them right at any threshold, the highest that accepts as many as that"
)
# Where the curve is told; finer where models are surest.
_THRESHOLDS = (*(step / 20 for step in range(19)), 0.925, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.999)


def is_keyword(labels: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which classes are keywords: all but ``_unknown_`` and ``_silence_``."""
    return np.array([settings.is_keyword(label) for label in labels])


def accepted(probabilities: Floats, labels: Sequence[str], threshold: float) -> npt.NDArray[np.bool_]:
    """Which clips of ``[clips, classes]`` are taken for a keyword."""
    keyword = is_keyword(labels)[probabilities.argmax(axis=1)]
    taken: npt.NDArray[np.bool_] = keyword & (probabilities.max(axis=1) >= threshold)
    return taken


def recalled(probabilities: Floats, targets: Targets, labels: Sequence[str], threshold: float) -> npt.NDArray[np.bool_]:
    """For the clips of keywords among ``[clips, classes]``, in their order: accepted as what they are."""
    said = is_keyword(labels)[targets]
    right = accepted(probabilities, labels, threshold) & (probabilities.argmax(axis=1) == targets)
    return right[said]


def choose_threshold(
    probabilities: Floats, targets: Targets, labels: Sequence[str], target_recall: float = TARGET_RECALL
) -> float:
    """The threshold of ``RULE`` for a validation split, rounded down to a thousandth."""
    said = is_keyword(labels)[targets]
    right = said & (probabilities.argmax(axis=1) == targets)
    sure = np.sort(probabilities[right].max(axis=1))[::-1]
    needed = min(math.ceil(target_recall * said.sum()), len(sure))
    if needed == 0:
        return 0.5  # a model that gets no keyword right: nothing to choose by
    return max(0.001, math.floor(float(sure[needed - 1]) * 1000) / 1000)


def measure(
    probabilities: Floats, targets: Targets, others: Mapping[str, Floats], labels: Sequence[str], threshold: float
) -> dict[str, Any]:
    """Recall and false accepts at ``threshold``, and the curve of both.

    ``probabilities`` and ``targets`` are of a split whose keywords count; each of ``others`` holds clips without a
    keyword ``[clips, classes]``, by the name of their kind. Kinds without a clip are left out.
    """
    kinds = {name: clips for name, clips in others.items() if len(clips)}
    return {
        "threshold": threshold,
        "recall": share(recalled(probabilities, targets, labels, threshold)),
        "false_accepts": {name: share(accepted(clips, labels, threshold)) for name, clips in kinds.items()},
        "curve": [
            {
                "threshold": at,
                "recall": float(recalled(probabilities, targets, labels, at).mean()),
                "false_accepts": {name: float(accepted(p, labels, at).mean()) for name, p in kinds.items()},
            }
            for at in sorted({*_THRESHOLDS, threshold})
        ],
    }
