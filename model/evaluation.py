"""What the test split, and all that surrounds it, says of a model as its users run it: ``evaluation.json``."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from model import operating, robustness
from model.calibration import Floats, Targets, reliability
from model.inference import Probabilities, Waveforms
from model.intervals import share, wilson
from model.material import Group, Material

_EXAMPLES = 50


def assess(run: Callable[[Waveforms], Probabilities], material: Material, threshold: float) -> dict[str, Any]:
    """Everything that one model file is judged by, but running audio.

    Args:
        run: ``float32[clips, samples]`` -> probabilities ``float32[clips, classes]``, the classes of ``material``.
        threshold: below it a keyword is not accepted.

    Returns:
        Plain JSON values: ``evaluate``'s, and ``keyword_accuracy``, ``calibration``, ``operating``,
        ``false_accept_examples``, ``robustness`` and what could not be measured.
    """
    labels = material.labels
    keywords = operating.is_keyword(labels)
    probabilities = run(material.waveforms)
    said = keywords[material.targets]
    right = probabilities.argmax(axis=1) == material.targets
    among = np.where(keywords, probabilities, -1.0).argmax(axis=1) == material.targets
    others = {kind: group.heard_by(run) for kind, group in material.others.items()}
    words = {kind: _by_word(group, others[kind], labels, threshold) for kind, group in material.others.items()}
    return {
        **evaluate(probabilities, material.targets, labels, material.names),
        "keyword_accuracy": float(right[said].mean()),
        "keyword_accuracy_interval_95": share(right[said])["interval_95"],
        "keyword_clips": int(said.sum()),
        "keyword_accuracy_among_keywords": float(among[said].mean()),
        "calibration": reliability(probabilities, material.targets),
        "operating": {
            "rule": operating.RULE,
            **operating.measure(probabilities, material.targets, others, labels, threshold),
            "false_accepts_by_word": {kind: found for kind, found in words.items() if len(found) > 1},
        },
        "false_accept_examples": _false_accepts(material.others, others, labels, threshold),
        "robustness": robustness.measure(
            run, material.waveforms[said], material.targets[said], material.noise, material.voices
        ),
        "not_measured": material.missing,
    }


def evaluate(
    probabilities: Floats, targets: Targets, labels: Sequence[str], names: Sequence[str], split: str = "testing"
) -> dict[str, Any]:
    """The figures of ``probabilities [clips, classes]`` and ``targets [clips]``, with the clips' names.

    ``confusion_matrix[i][j]`` counts the clips of label i that were taken for label j. A ratio without a case (nothing
    predicted, nothing there) is 0. ``loss`` is the mean cross-entropy.
    """
    predicted = probabilities.argmax(axis=1)
    classes = len(labels)
    matrix = np.bincount(targets * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    total, correct = int(matrix.sum()), int(matrix.trace())
    of_target = np.take_along_axis(probabilities, targets[:, None], axis=1).astype(np.float64)
    return {
        "split": split,
        "n": total,
        "correct": correct,
        "accuracy": correct / total,
        "accuracy_interval_95": list(wilson(correct, total)),
        "loss": float(-np.log(np.maximum(of_target, 1e-12)).mean()),
        "labels": list(labels),
        "per_class": {label: _class_figures(matrix, index) for index, label in enumerate(labels)},
        "confusion_matrix": matrix.tolist(),
        "mistakes": _mistakes(probabilities, targets, labels, names),
    }


def _class_figures(matrix: Any, index: int) -> dict[str, float | int]:
    hit, there, said = (int(x) for x in (matrix[index, index], matrix[index].sum(), matrix[:, index].sum()))
    precision = hit / said if said else 0.0
    recall = hit / there if there else 0.0
    f1 = 2 * hit / (there + said) if there + said else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "clips": there}


def _mistakes(
    probabilities: Floats, targets: Targets, labels: Sequence[str], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Every clip taken for another label, the surest mistake first."""
    predicted = probabilities.argmax(axis=1)
    found = [
        {
            "clip": names[i],
            "label": labels[int(targets[i])],
            "prediction": labels[int(predicted[i])],
            "probability": float(probabilities[i].max()),
        }
        for i in (predicted != targets).nonzero()[0].tolist()
    ]
    return sorted(found, key=lambda mistake: (-mistake["probability"], mistake["clip"]))


def _by_word(group: Group, probabilities: Floats, labels: Sequence[str], threshold: float) -> dict[str, Any]:
    """False accepts of each word of a group, the word most often taken for a keyword first."""
    taken = operating.accepted(probabilities, labels, threshold)
    words = np.array(group.words)
    found: dict[str, dict[str, Any]] = {word: share(taken[words == word]) for word in sorted(set(group.words))}
    return dict(sorted(found.items(), key=lambda item: -item[1]["share"]))


def _false_accepts(
    groups: dict[str, Group], heard: dict[str, Floats], labels: Sequence[str], threshold: float
) -> list[dict[str, Any]]:
    """The surest of what was taken for a keyword and is none."""
    found: list[dict[str, Any]] = [
        {
            "clip": group.names[i],
            "label": group.words[i],
            "prediction": labels[int(heard[kind][i].argmax())],
            "probability": float(heard[kind][i].max()),
            "kind": kind,
        }
        for kind, group in groups.items()
        for i in operating.accepted(heard[kind], labels, threshold).nonzero()[0].tolist()
    ]
    return sorted(found, key=lambda accept: (-accept["probability"], accept["clip"]))[:_EXAMPLES]
