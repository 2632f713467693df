"""The gates: what the artefacts must show before an image may be published. Standard library only.

``judge`` is the one authority: the pipeline asks it before it publishes, the report shows its table, and
``python -m tools.gates ARTIFACTS`` turns the verdict that stands in ``gates.json`` into an exit code.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FAILED = 3


class ArtifactError(ValueError):
    """An artefact is missing or is not what the contract says."""


@dataclass(frozen=True)
class Gate:
    """A bound, what was found, and whether it held."""

    name: str
    bound: str
    value: str
    passed: bool

    def line(self) -> str:
        return f"{self.name}: {self.value}, the bound is {self.bound}"


def read(path: Path) -> dict[str, Any]:
    """A JSON object of the artefacts. Raises ArtifactError where it is missing or broken."""
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise ArtifactError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} is not a JSON object")
    return content


def judge(artifacts: Path, min_accuracy: float) -> list[Gate]:
    """All gates over an artefact directory. ``min_accuracy``: on the test split, from 0 to 1."""
    evaluation = read(artifacts / "model" / "evaluation.json")
    accuracy = float(evaluation["accuracy"])
    gates = [Gate("model accuracy", f">= {min_accuracy:.2%}", f"{accuracy:.2%}", accuracy >= min_accuracy)]
    gates += _inference_gates("/predict", artifacts / "inference", evaluation["model_version"])
    published = artifacts / "inference" / "published"
    if published.is_dir():
        gates += _inference_gates("published /predict", published, evaluation["model_version"])
    return gates


def _inference_gates(name: str, folder: Path, model_version: str) -> list[Gate]:
    """The probe's verdict: answers of the right form, its limits, and that the model asked is the one trained."""
    path = folder / "inference_metrics.json"
    if not path.is_file():
        reason = folder / "error.txt"
        why = reason.read_text().splitlines()[0] if reason.is_file() else f"no {path.name}"
        return [Gate(f"{name} answers", "no failure", f"the service never answered ({why})", False)]
    metrics = read(path)
    failures = metrics["failures"]
    answered = metrics.get("model_version")
    return [
        Gate(f"{name} answers", "no failure", _shortened(failures) or "no failure", not failures),
        Gate(f"{name} model", f"version {model_version}", f"version {answered}", answered == model_version),
    ]


def _shortened(failures: list[str], most: int = 3) -> str:
    """The last failures (the probe's limits come last), and how many more stand in its metrics."""
    more = [f"{len(failures) - most} more in inference_metrics.json"] if len(failures) > most else []
    return "; ".join(failures[-most:] + more)


def write(gates: list[Gate], path: Path) -> None:
    """``gates.json``: the verdict and each gate."""
    verdict = {"passed": all(gate.passed for gate in gates), "gates": [asdict(gate) for gate in gates]}
    path.write_text(json.dumps(verdict, indent=2) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description="Fail, with a line a failed gate, where the verdict was no.")
    parser.add_argument("artifacts", type=Path, help="the pipeline's artefact directory")
    options = parser.parse_args()
    try:
        verdict = read(options.artifacts / "gates.json")
        gates = [Gate(**gate) for gate in verdict["gates"]]
    except (ArtifactError, KeyError, TypeError) as error:
        print(f"gates: {options.artifacts} holds no verdict of the pipeline: {error}", file=sys.stderr)
        return 2
    failed = [gate for gate in gates if not gate.passed]
    for gate in failed:
        print(f"gate failed: {gate.line()}", file=sys.stderr)
    if failed:
        return FAILED
    print(f"{len(gates)} gates passed")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
