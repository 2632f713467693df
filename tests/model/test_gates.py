"""Gates and goals: what holds, what fails, and what a failed one says."""

import copy
from typing import Any

import pytest

from model.gates import Limits, goals, judge


def share(value: float) -> dict[str, Any]:
    return {"share": value, "count": round(100 * value), "clips": 100, "interval_95": [0, 1]}


EVALUATION: dict[str, Any] = {
    "accuracy": 0.96,
    "accuracy_interval_95": [0.93, 0.98],
    "loss": 0.2,
    "per_class": {"up": {"recall": 0.97}, "no": {"recall": 0.90}},
    "operating": {
        "recall": share(0.96),
        "false_accepts": {"unseen words": share(0.07), "noise and near-silence": share(0.01)},
    },
    "calibration": {"ece": 0.02},
    "robustness": {"cases": [{"name": "noise at 0 dB", "accuracy": 0.85, "least": 0.81, "passed": True}]},
    "streaming": {"operating_points": [{"allowed_per_hour": 0.5, "misses": 0.04}]},
    "parity": {"clips": 100, "max_difference": 1e-6, "other_answers": 0},
}


@pytest.mark.parametrize(
    ("limits", "failed"),
    [
        (Limits(), []),
        (Limits(min_accuracy=0.96), []),
        (Limits(min_accuracy=0.961), ["accuracy: 96.00 %, the bound is >= 96.10 %"]),
        (
            Limits(min_accuracy_lower=0.94),
            ["accuracy, lower end of the 95 % interval: 93.00 %, the bound is >= 94.00 %"],
        ),
        (Limits(min_recall=0.95), ["recall of no: 90.00 %, the bound is >= 95.00 %"]),
        (
            Limits(max_false_accepts=0.05),
            ["unseen words taken for a keyword: 7.00 %, the bound is <= 5.00 %"],
        ),
    ],
)
def test_gates_hold_or_name_bound_and_value(limits: Limits, failed: list[str]) -> None:
    found = judge(EVALUATION, limits)
    assert [gate.line() for gate in found if not gate.passed] == failed
    assert [gate.name for gate in found][-2:] == ["ONNX against PyTorch", "ONNX answers as PyTorch"]


def test_a_baseline_bounds_loss_and_accuracy() -> None:
    limits = Limits(max_loss_increase=0.05, max_accuracy_drop=0.01)
    assert all(gate.passed for gate in judge(EVALUATION, limits, {"loss": 0.15, "accuracy": 0.97}))
    lines = [g.line() for g in judge(EVALUATION, limits, {"loss": 0.1, "accuracy": 0.98}) if not g.passed]
    assert lines == [
        "loss against the baseline: +0.1000, the bound is <= +0.0500",
        "accuracy against the baseline: -2.00 points, the bound is >= -1.00 points",
    ]


@pytest.mark.parametrize("parity", [{"max_difference": 2e-4}, {"max_difference": float("nan")}, {"other_answers": 1}])
def test_parity_fails_on_difference_and_on_another_answer(parity: dict[str, Any]) -> None:
    evaluation = {**EVALUATION, "parity": {**EVALUATION["parity"], **parity}}
    assert sum(not gate.passed for gate in judge(evaluation, Limits())) == 1
    assert judge({**EVALUATION, "parity": None}, Limits()) == []


def test_goals_are_told_and_gates_only_where_asked() -> None:
    assert [goal.passed for goal in goals(EVALUATION)] == [True] * 6
    worse = copy.deepcopy(EVALUATION)
    worse["streaming"]["operating_points"][0]["misses"] = 0.06
    worse["operating"]["false_accepts"]["noise and near-silence"] = share(0.02)
    missed = ["noise and near-silence taken for a keyword", "keywords missed at 0.5 false accepts an hour"]
    assert [goal.name for goal in goals(worse) if not goal.passed] == missed
    assert all(gate.passed for gate in judge(worse, Limits()))
    assert [gate.name for gate in judge(worse, Limits(goals=True)) if not gate.passed] == missed
