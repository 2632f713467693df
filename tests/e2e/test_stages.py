"""Each function of the module alone, on a real engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from .conftest import ROOT, Call, Run, database, free_port, wait_for
from .registry import Repository

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def own_layers(image: Path) -> list[str]:
    """The digests of the layers above the base image, which an engine packs anew when it has dropped the packed one."""
    return [layer["digest"] for layer in json.loads((image / "image.json").read_text())["layers"]][-3:]


def test_build_and_the_archive_are_one_image(first_run: Run, call: Call, tmp_path: Path) -> None:
    origin = [each for each in first_run.shared if each.startswith(("--repository", "--revision", "--created"))]
    call(*origin, "sbom", first_run.model, "export", f"--path={tmp_path}")
    assert own_layers(tmp_path) == own_layers(first_run.artifacts / "image")


def test_an_edit_of_the_service_leaves_the_dependencies(first_run: Run, call: Call, tmp_path: Path) -> None:
    edited = tmp_path / "service"
    shutil.copytree(ROOT / "service", edited, ignore=shutil.ignore_patterns("__pycache__"))
    (edited / "app.py").write_text((edited / "app.py").read_text() + "\n# edited\n")
    call("--created=2026-03-01T12:00:00Z", f"--service-source={edited}", "sbom", first_run.model, "export",
         f"--path={tmp_path / 'image'}")  # fmt: skip
    dependencies, code, model = own_layers(first_run.artifacts / "image")
    now = own_layers(tmp_path / "image")
    assert (now[0], now[2]) == (dependencies, model)
    assert now[1] != code


def test_nothing_that_the_service_needs_was_trimmed_from_the_image(first_run: Run, call: Call) -> None:
    program = ROOT / "tests" / "service" / "inside_image.py"
    said = call(
        *("build", first_run.model, "with-file", "--path=/tmp/inside_image.py", f"--source={program}"),
        *("with-exec", "--args=python,/tmp/inside_image.py", "stdout"),
    ).stdout
    assert said.startswith("inside: ")


def test_the_doctor_looks_from_the_containers(repository: Repository, call: Call, tmp_path: Path) -> None:
    without = ["--torch-index=", database(tmp_path), *repository.options]
    lines = call(*without, "doctor").stdout
    for name in ("engine", "base image", "package index", "push: a blob was pushed", "latest: nothing yet"):
        assert f"ok       {name}" in lines
    assert repository.all_tags() == []
    # The container's own loopback, where nothing listens: each check is made all the same.
    failed = call(*without, "--package-index=http://127.0.0.1:1/simple", "doctor", fails=True).stderr
    assert "FAILED   package index" in failed
    assert "ok       push:" in failed


def test_test_predict_of_what_is_published(first_run: Run, call: Call, tmp_path: Path) -> None:
    options = [each for each in first_run.shared if each.startswith(("--dataset", "--address", "--registry"))]
    call(*options, "test-predict", "--reference=v1", "export", f"--path={tmp_path}")
    assert json.loads((tmp_path / "inference_metrics.json").read_text())["http_status"] == 200
    failed = call(*options, "test-predict", "--reference=v1", "--bounds=max_p95_ms=0.001", "sync", fails=True)
    assert "/predict p95" in failed.stderr


def test_serve_answers_on_this_machine(first_run: Run, tools: list[str]) -> None:
    port = free_port()
    command = ["dagger", "call", *tools, "serve", first_run.model, "up", f"--ports={port}:8000"]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as up:
        try:
            wait_for(f"http://127.0.0.1:{port}/readyz", 200, up)
        finally:
            os.killpg(up.pid, signal.SIGINT)
            up.wait(timeout=120)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--synthetic", "--address=ghcr.io/Upper/Case", "pipeline"], "--address"),
        (["--synthetic", "--address=127.0.0.1:5000/me/name", "pipeline"], "--registry=tcp://127.0.0.1:5000"),
        (["--synthetic", "pipeline", "--bounds=accuracy=0.9"], "accuracy"),
        (["shell", "--stage=KITCHEN"], "KITCHEN"),
        (["notes", "--tag=v99.0.0"], "99.0.0"),
    ],
)
def test_an_argument_that_cannot_work_is_named_at_once(call: Call, arguments: list[str], named: str) -> None:
    failed = call(*arguments, fails=True)
    assert named in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.long
def test_a_sweep_compares_and_a_failing_run_sinks_no_other(call: Call, dataset: Path, tmp_path: Path) -> None:
    settings = ["--seeds=1,2", "--settings=width=1,width=nonsense", "results", "export", f"--path={tmp_path}"]
    call(f"--dataset={dataset}", "--profile=quick", "--training=epochs=1", "sweep", *settings)
    runs = json.loads((tmp_path / "sweep.json").read_text())["runs"]
    assert [run["name"] for run in runs if "error" in run] == ["width=nonsense_seed=1", "width=nonsense_seed=2"]
    metrics = json.loads((tmp_path / "best" / "train_metrics.json").read_text())
    assert metrics["model_version"] == runs[0]["model_version"]


# `make test` runs them natively, but for actionlint's own image.
LONG = [pytest.param(check, marks=pytest.mark.long) for check in ("types", "predict", "workflows", "unit-tests")]


@pytest.mark.parametrize("check", ["lint", *LONG])
def test_checks_are_green(check: str, call: Call) -> None:
    call(check)
