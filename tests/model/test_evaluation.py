"""The figures of the test split."""

import pytest
import torch

from model.evaluation import evaluate, wilson


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(407, 420, 0.9477, 0.9818), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (0, 0, 0.0, 1.0)],
)
def test_wilson_interval(correct: int, total: int, low: float, high: float) -> None:
    assert wilson(correct, total) == pytest.approx((low, high), abs=5e-4)


def test_figures_of_a_known_outcome() -> None:
    targets = torch.tensor([0, 0, 0, 1, 1, 2])
    predicted = torch.tensor([0, 0, 1, 1, 0, 1])  # nothing is taken for the third label
    logits = 3.0 * torch.nn.functional.one_hot(predicted, 3)
    logits[4, 0] = 5.0  # the surest mistake
    result = evaluate(logits, targets, ["a", "b", "c"], [f"clip{i}" for i in range(6)])
    assert (result["n"], result["correct"], result["accuracy"]) == (6, 3, 0.5)
    assert result["confusion_matrix"] == [[2, 1, 0], [1, 1, 0], [0, 1, 0]]
    assert result["per_class"]["a"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "clips": 3})
    assert result["per_class"]["b"] == pytest.approx({"precision": 1 / 3, "recall": 1 / 2, "f1": 0.4, "clips": 2})
    assert result["per_class"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "clips": 1}
    assert [mistake["clip"] for mistake in result["mistakes"]] == ["clip4", "clip2", "clip5"]
    assert result["mistakes"][0]["prediction"] == "a"
    assert result["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, targets)))
