"""The table of a sweep and its choice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .conftest import EVALUATION, METRICS, ROOT


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.sweep", str(folder)], cwd=ROOT, capture_output=True, text=True, check=False
    )


def trained(folder: Path, validation: float, loss: float, test: float) -> None:
    folder.mkdir(parents=True)
    metrics = {**METRICS, "best_val_acc": validation, "best_val_loss": loss, "model_version": "abc"}
    (folder / "train_metrics.json").write_text(json.dumps(metrics))
    (folder / "evaluation.json").write_text(json.dumps({**EVALUATION, "accuracy": test}))


def test_the_validation_split_chooses_and_a_failed_run_stands_last(tmp_path: Path) -> None:
    trained(tmp_path / "seed-1", 0.95, 0.20, 0.99)  # better on the test split: that must not count
    trained(tmp_path / "seed-2", 0.96, 0.30, 0.90)
    trained(tmp_path / "seed-3", 0.96, 0.25, 0.91)
    (tmp_path / "seed-0").mkdir()
    (tmp_path / "seed-0" / "error.txt").write_text("Traceback\nerror: --width 9 is too much\n\n")
    done = run(tmp_path)
    assert (done.returncode, done.stdout) == (0, "seed-3\n")
    result = json.loads((tmp_path / "sweep.json").read_text())
    assert [entry["name"] for entry in result["runs"]] == ["seed-3", "seed-2", "seed-1", "seed-0"]
    page = (tmp_path / "sweep.md").read_text()
    assert "| **seed-3** | 96.0 % | 0.2500 | 91.0 % |" in page
    assert "| seed-0 | failed: error: --width 9 is too much | - |" in page


def test_where_every_run_failed_each_reason_is_said(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "error.txt").write_text(f"error: {name} broke\n")
    done = run(tmp_path)
    assert done.returncode == 2
    assert done.stderr == "sweep: no run succeeded: a: error: a broke; b: error: b broke\n"


def test_an_empty_folder_and_files_of_another_version_are_one_line(tmp_path: Path) -> None:
    assert run(tmp_path).stderr.count("\n") == 1
    trained(tmp_path / "a", 0.9, 0.1, 0.9)
    (tmp_path / "a" / "evaluation.json").write_text("{}")
    done = run(tmp_path)
    assert done.returncode == 2
    assert "of another version" in done.stderr
