"""The gates' verdict and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools import gates


def artifacts(folder: Path, *, accuracy: float = 0.95, **inference: Any) -> Path:
    """An artefact directory with what the gates read."""
    (folder / "model").mkdir(parents=True)
    (folder / "inference").mkdir()
    (folder / "model" / "evaluation.json").write_text(json.dumps({"accuracy": accuracy, "model_version": "abc"}))
    metrics = {"failures": [], "model_version": "abc", **inference}
    (folder / "inference" / "inference_metrics.json").write_text(json.dumps(metrics))
    return folder


def failed(folder: Path, min_accuracy: float = 0.9) -> list[str]:
    return [gate.name for gate in gates.judge(folder, min_accuracy) if not gate.passed]


def test_all_pass(tmp_path: Path) -> None:
    assert failed(artifacts(tmp_path)) == []


def test_accuracy_below_the_bound(tmp_path: Path) -> None:
    assert failed(artifacts(tmp_path, accuracy=0.899)) == ["model accuracy"]
    assert failed(artifacts(tmp_path / "level", accuracy=0.9)) == []


def test_a_failure_of_the_probe(tmp_path: Path) -> None:
    assert failed(artifacts(tmp_path, failures=["p95 is 300 ms"])) == ["/predict answers"]


def test_many_failures_of_the_probe_stay_readable(tmp_path: Path) -> None:
    wrong = [f"clip {number} was answered wrongly" for number in range(40)]
    folder = artifacts(tmp_path, failures=[*wrong, "accuracy is below the limit"])
    value = next(gate.value for gate in gates.judge(folder, 0.9) if not gate.passed)
    assert "accuracy is below the limit" in value
    assert value.endswith("38 more in inference_metrics.json")


def test_another_model_answered(tmp_path: Path) -> None:
    assert failed(artifacts(tmp_path, model_version="def")) == ["/predict model"]


def test_a_service_that_never_answered(tmp_path: Path) -> None:
    folder = artifacts(tmp_path)
    (folder / "inference" / "inference_metrics.json").unlink()
    assert failed(folder) == ["/predict answers"]


def test_the_published_image_is_judged_too(tmp_path: Path) -> None:
    folder = artifacts(tmp_path)
    (folder / "inference" / "published").mkdir()
    assert failed(folder) == ["published /predict answers"]


def test_a_missing_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(gates.ArtifactError, match=r"evaluation\.json"):
        gates.judge(tmp_path, 0.9)


def command(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tools.gates", str(folder)], capture_output=True, text=True)


def test_exit_code_says_the_verdict(tmp_path: Path) -> None:
    folder = artifacts(tmp_path, accuracy=0.5)
    gates.write(gates.judge(folder, 0.9), folder / "gates.json")
    done = command(folder)
    assert done.returncode == gates.FAILED
    assert done.stderr.splitlines() == ["gate failed: model accuracy: 50.00%, the bound is >= 90.00%"]
    gates.write(gates.judge(folder, 0.4), folder / "gates.json")
    assert command(folder).returncode == 0


def test_no_verdict_is_an_error_of_its_own(tmp_path: Path) -> None:
    done = command(tmp_path)
    assert done.returncode == 2
    assert "no verdict" in done.stderr
