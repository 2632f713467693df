"""Compare the trainings of a sweep: ``sweep.json``, ``sweep.md``, and the best one's name. Standard library only.

``python -m tools.sweep FOLDER``: each folder inside is a run, with ``train_metrics.json`` and ``evaluation.json``, or
with ``error.txt`` where it failed. The validation split chooses; what the test split says stands beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from model.markdown import percent, table
from tools.artifacts import ArtifactError, read, same_version


def run_of(folder: Path) -> dict[str, Any]:
    """The figures of a run, or its error. Raises ArtifactError where its files are of another version."""
    error = folder / "error.txt"
    if error.is_file():
        lines = [line for line in error.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {"name": folder.name, "error": lines[-1] if lines else "it said nothing"}
    metrics, evaluation = read(folder / "train_metrics.json"), read(folder / "evaluation.json")
    with same_version(folder):
        return {
            "name": folder.name,
            "validation_accuracy": float(metrics["best_val_acc"]),
            "validation_loss": float(metrics["best_val_loss"]),
            "test_accuracy": float(evaluation["accuracy"]),
            "parameters": int(metrics["parameters"]),
            "seconds": float(metrics["training_time_sec"]),
            "model_version": str(metrics["model_version"]),
        }


def compare(folder: Path) -> dict[str, Any]:
    """All runs, the best first: highest validation accuracy, then lowest validation loss, then name; failed ones last.

    Raises ArtifactError where no run succeeded.
    """
    runs = [run_of(run) for run in sorted(folder.iterdir()) if run.is_dir()]
    done = [run for run in runs if "error" not in run]
    failed = [run for run in runs if "error" in run]
    if not done:
        said = "; ".join(f"{run['name']}: {run['error']}" for run in failed) or f"{folder} holds no run"
        raise ArtifactError(f"no run succeeded: {said}")
    done.sort(key=lambda run: (-run["validation_accuracy"], run["validation_loss"], run["name"]))
    return {"best": done[0]["name"], "runs": done + failed}


def page(result: dict[str, Any]) -> str:
    """``sweep.md``."""
    rows = []
    for run in result["runs"]:
        name = f"**{run['name']}**" if run["name"] == result["best"] else run["name"]
        if "error" in run:
            rows.append([name, f"failed: {run['error']}", "-", "-", "-", "-"])
            continue
        accuracy, loss = percent(run["validation_accuracy"]), f"{run['validation_loss']:.4f}"
        rest = [percent(run["test_accuracy"]), f"{run['parameters']:,}", f"{run['seconds']:.0f}"]
        rows.append([name, accuracy, loss, *rest])
    columns = ["run", "validation accuracy", "validation loss", "test accuracy", "parameters", "seconds"]
    return "\n\n".join(["# Sweep", table(columns, rows), "The validation split chose the run in bold."]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder a run")
    options = parser.parse_args()
    try:
        result = compare(options.folder)
        (options.folder / "sweep.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        (options.folder / "sweep.md").write_text(page(result), encoding="utf-8")
    except (ArtifactError, OSError) as error:
        print(f"sweep: {error}", file=sys.stderr)
        return 2
    print(result["best"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
