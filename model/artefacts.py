"""The names of what a training run writes. Standard library only."""

from pathlib import Path

from model.files import holds_only

CHECKPOINT = "best_model.pth"
ONNX = "model.onnx"
LOG = "train.log"
METRICS = "train_metrics.json"
EVALUATION = "evaluation.json"
REPORT = "report.md"
PLOTS = "plots"
CURVES, CONFUSION = "curves.svg", "confusion.svg"

ALL = {CHECKPOINT, ONNX, LOG, METRICS, EVALUATION, REPORT, PLOTS}


def is_former_run(folder: Path) -> bool:
    """Whether a folder is an earlier run's output, which a new one may replace."""
    return holds_only(folder, ALL, METRICS)
