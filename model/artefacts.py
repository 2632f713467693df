"""The names of what a training run writes. Standard library only."""

import os
from pathlib import Path

from model.files import holds_only

CHECKPOINT = "best_model.pth"
ONNX = "model.onnx"
LOG = "train.log"
METRICS = "train_metrics.json"
CONFIG = "config.json"
EVALUATION = "evaluation.json"
REPORT = "report.md"
PLOTS = "plots"
CURVES, CONFUSION, RELIABILITY = "curves.svg", "confusion.svg", "reliability.svg"
OPERATING, ROBUSTNESS, STREAMING = "operating.svg", "robustness.svg", "streaming.svg"
CARD = "model_card.md"

ALL = {CHECKPOINT, ONNX, LOG, METRICS, CONFIG, EVALUATION, REPORT, CARD, PLOTS}


def resume_folder(output: Path) -> Path:
    """Where the state of a run with this output is kept while it is under way: ``<output>.resume``."""
    output = Path(os.path.abspath(output))  # noqa: PTH100 - Path.absolute keeps "..", resolve follows links
    return output.with_name(f"{output.name}.resume")


def is_former_run(folder: Path) -> bool:
    """Whether a folder is an earlier run's output, which a new one may replace."""
    return holds_only(folder, ALL, METRICS)


def is_former_evaluation(folder: Path) -> bool:
    """Whether a folder is the output of an earlier ``evaluate``, which a new one may replace."""
    return holds_only(folder, {EVALUATION, REPORT, PLOTS}, EVALUATION)
