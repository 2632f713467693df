"""An artefact directory as the pipeline leaves it, small and written by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LABELS = ["up", "no"]
EVALUATION = {
    "n": 200,
    "accuracy": 0.95,
    "accuracy_interval_95": [0.91, 0.97],
    "loss": 0.2,
    "model_version": "abc",
    "labels": LABELS,
    "per_class": {
        "up": {"precision": 0.95, "recall": 0.94, "f1": 0.945, "clips": 100},
        "no": {"precision": 0.95, "recall": 0.96, "f1": 0.955, "clips": 100},
    },
    "confusion_matrix": [[94, 6], [4, 96]],
    "robustness": {"cases": [{"name": "gain", "difference": 0.0}, {"name": "noise at 0 dB", "difference": -0.08}]},
}
AUDIT = {"read": 9, "padded": 1, "cut": 0, "silent": 0, "broken": 0}
METRICS = {
    "training_time_sec": 14.2,
    "epochs": 2,
    "best_epoch": 2,
    "best_val_acc": 0.96,
    "best_val_loss": 0.15,
    "seed": 0,
    "parameters": 64756,
    "samples_per_sec": 3700.0,
    "settings": {"profile": "quick"},
    "onnx": {"size_bytes": 334715, "parity_max_difference": 6.6e-7},
    "data": {
        "source": "synthetic",
        "split_rule": "official",
        "digest": "0123456789abcdef",
        "licence": "",
        "splits": {"training": AUDIT, "testing": AUDIT},
    },
    "history": [
        {"epoch": 1, "train_acc": 0.52, "val_acc": 0.81},
        {"epoch": 2, "train_acc": 0.91, "val_acc": 0.96},
    ],
}
PROBE = {
    "http_status": 200,
    "latency_ms": 1.5,
    "server_latency_ms": 0.7,
    "p50_ms": 1.1,
    "p95_ms": 2.5,
    "p99_ms": 3.5,
    "accuracy": 0.975,
    "clips": 40,
    "correct": 39,
    "failures": [],
    "model_version": "abc",
}
LAYERED: dict[str, Any] = {
    "platform": "linux/amd64",
    "layers": [
        {"name": "base", "digest": f"sha256:{'b' * 64}", "size_bytes": 41_000_000, "unpacked_bytes": 129_000_000},
        {"name": "model", "digest": f"sha256:{'d' * 64}", "size_bytes": 310_000, "unpacked_bytes": 340_000},
    ],
}
IMAGE = {
    "reference": "ghcr.io/me/words@sha256:abc",
    "digest": "sha256:abc",
    "size_bytes": 98_700_000,
    "labels": {"org.opencontainers.image.licenses": "MIT"},
    "platforms": ["linux/amd64"],
    "images": [LAYERED],
}
SBOM = {
    "components": [
        {"name": "Flask", "licenses": [{"license": {"id": "BSD-3-Clause"}}]},
        {"name": "packaging", "licenses": [{"expression": "Apache-2.0 OR BSD-2-Clause"}]},
        {"name": "protobuf"},
    ]
}
CONTENTS = {
    "model/evaluation.json": EVALUATION,
    "model/train_metrics.json": METRICS,
    "inference/inference_metrics.json": PROBE,
    "inference/start_time.json": {"seconds": 1.5, "runs": [1.4, 1.5, 1.6], "error": ""},
    "image/image.json": {**IMAGE, "reference": ""},
    "image/sbom.cdx.json": SBOM,
}

Change = Callable[..., Path]


@pytest.fixture
def change(tmp_path: Path) -> Change:
    """``change("model/evaluation.json", accuracy=0.5)``: the directory with that key replaced (None: without it).

    Without a key, the whole file: ``change("inference/start_time.json", None)`` removes it, a str is its text.
    """
    folder = tmp_path / "artifacts"
    for name, content in CONTENTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))

    def apply(name: str = "", whole: Any = ..., **keys: Any) -> Path:
        path = folder / name
        if not name:
            return folder
        if whole is None:
            path.unlink()
            return folder
        content = whole if whole is not ... else json.loads(path.read_text())
        if keys:
            content = {key: value for key, value in {**content, **keys}.items() if value is not None}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return folder

    return apply
