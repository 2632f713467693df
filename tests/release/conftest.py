"""The command line in process, and an artefact directory as the pipeline leaves it, in which every gate holds."""

import io
import json
from collections.abc import Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from release.__main__ import main
from release.artifacts import EVALUATION, IMAGE, INFERENCE, METRICS, OSV, PUBLISHED, SBOM

ROOT = Path(__file__).resolve().parents[2]
DIGEST = f"sha256:{'d' * 64}"
CLASS = {"precision": 0.95, "recall": 0.95, "f1": 0.95, "clips": 100}
TIMES = {"p50_ms": 1.1, "p95_ms": 2.5, "p99_ms": 3.5, "server_latency_ms": 0.7}
ANSWERS = {"http_status": 200, "accuracy": 0.975, "clips": 40, "correct": 39, "failures": [], "model_version": "abc"}
LISTENING = {"misses": {"share": 0.12}, "false_accepts_per_hour": 1.4, "upper_bound_per_hour": 6.4}
# The files without which a run is not whole.
CONTENTS: dict[str, Any] = {
    EVALUATION: {
        "n": 200,
        "accuracy": 0.95,
        "accuracy_interval_95": [0.91, 0.97],
        "keyword_accuracy": 0.95,
        "keyword_accuracy_interval_95": [0.91, 0.97],
        "loss": 0.2,
        "model_version": "abc",
        "test_clips_digest": "c1",
        "labels": ["up", "no", "_unknown_"],
        "per_class": {"up": CLASS, "no": CLASS, "_unknown_": CLASS},
        "confusion_matrix": [[94, 6, 0], [4, 96, 0], [0, 5, 95]],
        "mistakes": [{"clip": "up/a|b.wav", "label": "up", "prediction": "no", "probability": 0.9}],
        "robustness": {"cases": [{"group": "gain", "name": "6 dB", "accuracy": 0.95, "difference": 0.0}]},
        "data": {"source": "synthetic", "licence": "CC0 1.0", "speakers_known": True}
        | {"leaks": {"speakers": 0, "recordings": 0, "examples": []}},
        "caveats": ["9 clips were left out"],
        "running_audio": {"hours": 0.74, "operating": {"medium": LISTENING}},
        "parity": {"clips": 200, "max_difference": 6.6e-7},
        "not_measured": {"synthetic voices": "the data set has such voices itself"},
    },
    METRICS: {"training_time_sec": 14.2, "revision": "0123abc", "settings": {"profile": "quick", "seed": 0}}
    | {"history": [{"train_acc": 0.52, "val_acc": 0.81}, {"train_acc": 0.91, "val_acc": 0.96}]},
    INFERENCE: TIMES | ANSWERS,
    PUBLISHED: TIMES | ANSWERS,
    IMAGE: {"digest": DIGEST, "platform": "linux/amd64", "platforms": ["linux/amd64"], "labels": {}}
    | {"size_bytes": 98_700_000, "layers": [{"digest": "sha256:bb", "size_bytes": 98_700_000}]},
    SBOM: {
        "components": [
            {"name": "flask", "licenses": [{"license": {"id": "BSD-3-Clause"}}]},
            {"name": "packaging", "licenses": [{"expression": "Apache-2.0 OR BSD-2-Clause"}]},
        ]
    },
    OSV: {"asked": "api.osv.dev", "packages": 2, "unasked": ["python 3.13"]}
    | {"failed": [], "unfixed": [], "accepted": []},
}
FILES = list(CONTENTS)


def artifacts(root: Path, changes: Mapping[str, Any] = {}) -> Path:
    """The directory of CONTENTS; ``changes`` by file: other values of some keys, a text in its place, None: no file."""
    for name in {**CONTENTS, **changes}:
        change, path = changes.get(name, {}), root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if change is not None:
            path.write_text(change if isinstance(change, str) else json.dumps(CONTENTS.get(name, {}) | change))
    return root


def run(*arguments: object) -> tuple[int, str, str]:
    """``run("judge", root)``, as on the command line in the project's root → exit code, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    words = ["release", *map(str, arguments)]
    said = redirect_stdout(out), redirect_stderr(err)
    with chdir(ROOT), mock.patch("sys.argv", words), said[0], said[1], pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), out.getvalue(), err.getvalue()


def judged(root: Path, *options: object, published: str = f"ghcr.io/me/words@{DIGEST}") -> dict[str, Any]:
    """gates.json of a run by the project's own bounds; exit code, stderr and page say the same."""
    code, _, said = run("judge", root, "--published", published, *options)
    found: dict[str, Any] = json.loads((root / "gates.json").read_text())
    assert (code == 0, found["passed"]) == (found["headline"][0] == "✅",) * 2
    assert said.splitlines() == [f"failed: {line}" for line in found["failed"]]
    assert (root / "report.md").read_text().startswith(f"# {found['headline'][0]} ")
    return found


def program(path: Path, script: str) -> None:
    """A stand-in for a tool, in shell."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
