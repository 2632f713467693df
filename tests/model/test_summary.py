"""The page for a person, from whatever stages have run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT

PROBE = {
    "http_status": 200,
    "latency_ms": 1.5,
    "server_latency_ms": 0.7,
    "p50_ms": 1.5,
    "p95_ms": 2.5,
    "p99_ms": 3.5,
    "accuracy": 0.975,
    "clips": 40,
    "correct": 39,
    "failures": [],
    "limits": {"min_accuracy": {"metric": "accuracy", "limit": 0.9, "value": 0.975, "passed": True}},
}
IMAGE = {
    "reference": "ghcr.io/me/words@sha256:abc",
    "digest": "sha256:abc",
    "size_bytes": 98_700_000,
    "labels": {"org.opencontainers.image.licenses": "MIT"},
    "platforms": ["linux/amd64"],
}


@pytest.fixture
def artefacts(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "artefacts/model")
    return tmp_path / "artefacts"


def _run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    # -S and -I: no site-packages, so this is the standard library alone.
    code = (
        f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); runpy.run_module('model.summary', run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-S", "-I", "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def _put(artefacts: Path, name: str, content: Any) -> None:
    (artefacts / name).parent.mkdir(parents=True, exist_ok=True)
    (artefacts / name).write_text(content if isinstance(content, str) else json.dumps(content))


def test_with_the_model_alone_the_rest_is_said_to_be_absent(artefacts: Path) -> None:
    result = _run(artefacts)
    assert result.returncode == 0, result.stderr
    page = (artefacts / "report.md").read_text()
    evaluation = json.loads((artefacts / "model/evaluation.json").read_text())
    assert f"**{100 * evaluation['accuracy']:.1f} %** of 16 test clips right" in page
    assert "Absent: before publishing, published image" in page
    assert "Absent: no image was built" in page
    assert "No limits were set." in page
    assert "[Training report](model/report.md)" in page
    assert "sbom" not in page
    assert sorted(path.name for path in artefacts.iterdir()) == ["model", "report.md"]


def test_with_everything_the_page_has_the_figures(artefacts: Path) -> None:
    _put(artefacts, "inference/inference_metrics.json", {**PROBE, "p50_ms": 1.1})
    _put(artefacts, "inference/published/inference_metrics.json", PROBE)
    _put(artefacts, "image/image.json", IMAGE)
    gate = {"name": "model accuracy", "bound": ">= 90.0%", "value": "96.1%", "passed": True}
    _put(artefacts, "gates.json", {"passed": True, "gates": [gate]})
    assert _run(artefacts).returncode == 0
    page = (artefacts / "report.md").read_text()
    assert "answers in **1.5 ms**" in page  # the published image's, not the one before
    assert "| before publishing | 200 | 1.1 | 2.5 | 3.5 | 0.7 | 39 of 40 |" in page
    assert "| model accuracy | 96.1% | >= 90.0% | ✅ |" in page
    assert "**99 MB**" in page
    assert "published as `ghcr.io/me/words@sha256:abc`" in page
    assert "Absent" not in page


def test_a_missed_limit_is_plain_to_see(artefacts: Path) -> None:
    limit = {"metric": "p95_ms", "limit": 2, "value": 2.5, "passed": False}
    failed = {**PROBE, "limits": {"max_latency_ms": limit}, "failures": ["p95 is over the limit"]}
    _put(artefacts, "inference/inference_metrics.json", failed)
    assert _run(artefacts).returncode == 0
    page = (artefacts / "report.md").read_text()
    assert "| max_latency_ms (before publishing) | 2.5 | 2 | ❌ missed |" in page
    assert "❌ before publishing: p95 is over the limit" in page


def test_a_failed_gate_comes_first(artefacts: Path) -> None:
    gate = {"name": "model accuracy", "bound": ">= 90.0%", "value": "50.0%", "passed": False}
    _put(artefacts, "gates.json", {"passed": False, "gates": [gate]})
    assert _run(artefacts).returncode == 0
    first = [line for line in (artefacts / "report.md").read_text().splitlines() if line][1]
    assert first == "- ❌ **model accuracy**: 50.0%, the bound is >= 90.0%"


def test_a_service_that_never_answered_has_its_row(artefacts: Path) -> None:
    _put(artefacts, "inference/inference_metrics.json", {"http_status": None, "failures": ["not ready"], "limits": {}})
    assert _run(artefacts).returncode == 0
    assert "| before publishing | none | - | - | - | - | - |" in (artefacts / "report.md").read_text()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model/evaluation.json", None, "evaluation.json' is missing; run `python -m model train"),
        ("model/train_metrics.json", None, "train_metrics.json' is missing"),
        ("model/train_metrics.json", "{", "is not JSON"),
        ("model/train_metrics.json", "[]", "is not a JSON object"),
        ("model/evaluation.json", "{}", "are of another version (KeyError"),
        ("image/image.json", "no", "image.json' is not JSON"),
    ],
)
def test_bad_input_is_one_line(artefacts: Path, name: str, content: str | None, message: str) -> None:
    (artefacts / "report.md").write_text("of an earlier run")
    if content is None:
        (artefacts / name).unlink()
    else:
        _put(artefacts, name, content)
    result = _run(artefacts)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert (artefacts / "report.md").read_text() == "of an earlier run"


def test_usage() -> None:
    assert _run().returncode == 2
    assert _run("--help").stdout.startswith("usage: ")
