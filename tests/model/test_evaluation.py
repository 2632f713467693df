"""The figures of the test split."""

import numpy as np
import pytest

from model.evaluation import assess, evaluate
from model.intervals import share, wilson
from model.material import Group, Material


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(407, 420, 0.9477, 0.9818), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (0, 0, 0.0, 1.0)],
)
def test_wilson_interval(correct: int, total: int, low: float, high: float) -> None:
    assert wilson(correct, total) == pytest.approx((low, high), abs=5e-4)


def test_a_share_of_nothing_is_nothing() -> None:
    assert share(np.zeros(0, bool)) == {"count": 0, "clips": 0, "share": 0.0, "interval_95": [0.0, 1.0]}


def answers(predicted: list[int], sure: float = 0.8, classes: int = 3) -> np.ndarray:
    probabilities = np.full((len(predicted), classes), (1 - sure) / (classes - 1), np.float32)
    probabilities[np.arange(len(predicted)), predicted] = sure
    return probabilities


def test_figures_of_a_known_outcome() -> None:
    targets = np.array([0, 0, 0, 1, 1, 2])
    probabilities = answers([0, 0, 1, 1, 0, 1])  # nothing is taken for the third label
    probabilities[4] = [0.9, 0.05, 0.05]  # the surest mistake
    result = evaluate(probabilities, targets, ["a", "b", "c"], [f"clip{i}" for i in range(6)])
    assert (result["n"], result["correct"], result["accuracy"]) == (6, 3, 0.5)
    assert result["confusion_matrix"] == [[2, 1, 0], [1, 1, 0], [0, 1, 0]]
    assert result["per_class"]["a"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "clips": 3})
    assert result["per_class"]["b"] == pytest.approx({"precision": 1 / 3, "recall": 1 / 2, "f1": 0.4, "clips": 2})
    assert result["per_class"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "clips": 1}
    assert [mistake["clip"] for mistake in result["mistakes"]] == ["clip4", "clip2", "clip5"]
    assert result["mistakes"][0]["prediction"] == "a"
    of_target = np.array([0.8, 0.8, 0.1, 0.8, 0.05, 0.1])
    assert result["loss"] == pytest.approx(-np.log(of_target).mean(), rel=1e-5)


def test_a_model_is_judged_by_what_it_answers_to_each_kind_of_clip() -> None:
    """By a model that reads its answer from the samples: 1 for the first keyword, -1 for the second, 0 for unknown."""

    def run(waveforms: np.ndarray) -> np.ndarray:
        return answers([{1: 0, -1: 1, 0: 2}[int(np.rint(clip[0]))] for clip in waveforms], 0.9)

    def saying(*values: float) -> np.ndarray:
        clips = np.zeros((len(values), 16_000), np.float32)
        clips[:] = np.array(values, np.float32)[:, None]
        return clips

    unseen = saying(1, 0, 0, -1)
    material = Material(
        labels=("up", "down", "_unknown_"),
        waveforms=saying(1, 1, -1, 0, 0, 1),
        targets=np.array([0, 0, 1, 1, 2, 2]),
        names=[f"clip{i}" for i in range(6)],
        others={"unseen words": Group([f"u{i}" for i in range(4)], ["a", "a", "b", "b"], lambda part: unseen[part])},
        noise=[],
        voices=None,
        missing={"noise": "none"},
    )
    found = assess(run, material, 0.5)
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert (found["keyword_accuracy"], found["keyword_clips"]) == (0.75, 4)
    assert found["operating"]["recall"]["share"] == 0.75
    assert found["operating"]["false_accepts"]["unseen words"]["share"] == 0.5
    words = found["operating"]["false_accepts_by_word"]["unseen words"]
    assert {word: figures["share"] for word, figures in words.items()} == {"a": 0.5, "b": 0.5}
    accepts = found["false_accept_examples"]
    assert [(a["clip"], a["label"], a["prediction"]) for a in accepts] == [("u0", "a", "up"), ("u3", "b", "down")]
    assert found["not_measured"] == {"noise": "none"}
    assert assess(run, material, 0.95)["operating"]["recall"]["share"] == 0.0
