"""Bounds on what an evaluation measured: the project's own goals, and the gates that a caller sets.

A failed gate is the caller's to act on (exit code 3); a missed goal is only told. Standard library only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

GOALS = {
    "recall": 0.95,
    "unseen words": 0.08,
    "noise and near-silence": 0.01,
    "ece": 0.03,
    "streaming misses": 0.05,
}
PARITY = 1e-4  # of a probability
STREAMING_RATE = 0.5  # false accepts an hour


@dataclass(frozen=True)
class Gate:
    """A bound, what was found, and whether it held."""

    name: str
    bound: str
    value: str
    passed: bool

    def line(self) -> str:
        """For a terminal."""
        return f"{self.name}: {self.value}, the bound is {self.bound}"


@dataclass(frozen=True)
class Limits:
    """What a caller asks for; None is no gate. Shares are of 1."""

    min_accuracy: float | None = None
    min_accuracy_lower: float | None = None
    min_recall: float | None = None
    max_false_accepts: float | None = None
    max_loss_increase: float | None = None
    max_accuracy_drop: float | None = None
    goals: bool = False


def judge(evaluation: dict[str, Any], limits: Limits, baseline: dict[str, Any] | None = None) -> list[Gate]:
    """The gates that ``limits`` set, over the content of ``evaluation.json``; ``baseline`` is a former one."""
    gates = list(_asked(evaluation, limits))
    if baseline is not None:
        gates += _against(evaluation, baseline, limits)
    if (parity := evaluation.get("parity")) is not None:
        gates += _parity(parity)
    return gates + (goals(evaluation) if limits.goals else [])


def goals(evaluation: dict[str, Any]) -> list[Gate]:
    """What this project wants of every model, as far as it was measured."""
    operating = evaluation["operating"]
    found = [_least("keyword recall at the threshold", operating["recall"]["share"], GOALS["recall"])]
    for kind in ("unseen words", "noise and near-silence"):
        if kind in operating["false_accepts"]:
            share = operating["false_accepts"][kind]["share"]
            found.append(_most(f"{kind} taken for a keyword", share, GOALS[kind]))
    ece = evaluation["calibration"]["ece"]
    found.append(Gate("expected calibration error", f"<= {GOALS['ece']}", f"{ece:.4f}", ece <= GOALS["ece"]))
    for point in (evaluation.get("streaming") or {}).get("operating_points", []):
        if point["allowed_per_hour"] == STREAMING_RATE:
            name = f"keywords missed at {STREAMING_RATE} false accepts an hour"
            found.append(_most(name, point["misses"], GOALS["streaming misses"]))
    for case in evaluation["robustness"]["cases"]:
        name = f"keyword accuracy, {case['name']}"
        found.append(Gate(name, f">= {_percent(case['least'])}", _percent(case["accuracy"]), case["passed"]))
    return found


def _asked(evaluation: dict[str, Any], limits: Limits) -> Iterator[Gate]:
    if limits.min_accuracy is not None:
        yield _least("accuracy", evaluation["accuracy"], limits.min_accuracy)
    if limits.min_accuracy_lower is not None:
        low = evaluation["accuracy_interval_95"][0]
        yield _least("accuracy, lower end of the 95 % interval", low, limits.min_accuracy_lower)
    if limits.min_recall is not None:
        for label, figures in evaluation["per_class"].items():
            yield _least(f"recall of {label}", figures["recall"], limits.min_recall)
    if limits.max_false_accepts is not None:
        for kind, figures in evaluation["operating"]["false_accepts"].items():
            yield _most(f"{kind} taken for a keyword", figures["share"], limits.max_false_accepts)


def _against(evaluation: dict[str, Any], baseline: dict[str, Any], limits: Limits) -> Iterator[Gate]:
    if limits.max_loss_increase is not None:
        increase = evaluation["loss"] - baseline["loss"]
        bound = limits.max_loss_increase
        yield Gate("loss against the baseline", f"<= {bound:+.4f}", f"{increase:+.4f}", increase <= bound + 1e-9)
    if limits.max_accuracy_drop is not None:
        drop = baseline["accuracy"] - evaluation["accuracy"]
        value = f"{-100 * drop:+.2f} points"
        bound = limits.max_accuracy_drop
        yield Gate("accuracy against the baseline", f">= {-100 * bound:+.2f} points", value, drop <= bound + 1e-9)


def _parity(parity: dict[str, Any]) -> Iterator[Gate]:
    difference, others = parity["max_difference"], parity["other_answers"]
    yield Gate("ONNX against PyTorch", f"<= {PARITY:.0e}", f"{difference:.1e}", difference <= PARITY)
    clips = parity["clips"]
    yield Gate("ONNX answers as PyTorch", "the same on every clip", f"{others} of {clips} differ", others == 0)


def _least(name: str, value: float, bound: float) -> Gate:
    return Gate(name, f">= {_percent(bound)}", _percent(value), value >= bound - 1e-9)


def _most(name: str, value: float, bound: float) -> Gate:
    return Gate(name, f"<= {_percent(bound)}", _percent(value), value <= bound + 1e-9)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
