"""What the test split says of a model: accuracy with its interval, figures per class, the confusion matrix."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def wilson(correct: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927); honest for few clips and for shares near 1."""
    if total == 0:
        return 0.0, 1.0
    share = correct / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(0.0, centre - half), min(1.0, centre + half)


def evaluate(logits: Tensor, targets: Tensor, labels: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """The content of ``evaluation.json`` for logits ``[clips, classes]``, targets ``[clips]`` and the clips' names.

    ``confusion_matrix[i][j]`` counts the clips of label i that were taken for label j. A ratio without a case (nothing
    predicted, nothing there) is 0.
    """
    predicted = logits.argmax(dim=1)
    classes = len(labels)
    matrix = torch.bincount(targets * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    total, correct = int(matrix.sum()), int(matrix.diagonal().sum())
    low, high = wilson(correct, total)
    return {
        "split": "testing",
        "n": total,
        "correct": correct,
        "accuracy": correct / total,
        "accuracy_interval_95": [low, high],
        "loss": float(F.cross_entropy(logits, targets)),
        "labels": list(labels),
        "per_class": {label: _class_figures(matrix, index) for index, label in enumerate(labels)},
        "confusion_matrix": matrix.tolist(),
        "mistakes": _mistakes(logits, targets, labels, names),
    }


def _class_figures(matrix: Tensor, index: int) -> dict[str, float | int]:
    hit, there, said = (int(x) for x in (matrix[index, index], matrix[index].sum(), matrix[:, index].sum()))
    precision = hit / said if said else 0.0
    recall = hit / there if there else 0.0
    f1 = 2 * hit / (there + said) if there + said else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "clips": there}


def _mistakes(logits: Tensor, targets: Tensor, labels: Sequence[str], names: Sequence[str]) -> list[dict[str, Any]]:
    """Every clip taken for another label, the surest mistake first."""
    confidence, predicted = torch.softmax(logits, dim=1).max(dim=1)
    wrong = (predicted != targets).nonzero().flatten().tolist()
    found = [
        {
            "clip": names[i],
            "label": labels[int(targets[i])],
            "prediction": labels[int(predicted[i])],
            "probability": float(confidence[i]),
        }
        for i in wrong
    ]
    return sorted(found, key=lambda mistake: (-mistake["probability"], mistake["clip"]))
