"""Each function of the module alone, on a real engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from .conftest import ROOT, Call, Run, dagger, database, free_port
from .registry import Repository

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def own_layers(image: Path) -> list[str]:
    """The digests of the layers above the base image, which an engine packs anew when it has dropped the packed one."""
    return [layer["digest"] for layer in json.loads((image / "image.json").read_text())["layers"]][-3:]


def test_build_and_the_archive_are_one_image(first_run: Run, call: Call, tmp_path: Path) -> None:
    assert call("build", first_run.model, "user").stdout.strip() == "10001:10001"
    origin = [each for each in first_run.shared if each.startswith(("--repository", "--revision", "--created"))]
    call(*origin, "sbom", first_run.model, "export", f"--path={tmp_path}")
    assert own_layers(tmp_path) == own_layers(first_run.artifacts / "image")


def test_an_edit_of_the_service_leaves_the_dependencies(first_run: Run, call: Call, tmp_path: Path) -> None:
    """Nothing but the code's layer is another one."""
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
    without = ["--torch-index=", database(tmp_path)]
    lines = call(*without, *repository.options, "doctor").stdout.splitlines()
    assert f"ok       push: a blob was pushed to {repository.address}, which nothing names" in lines
    assert {line.split(":")[0].split(maxsplit=1)[1] for line in lines if line.startswith("ok ")} >= {
        *("engine", "base image", "package index", "push")
    }
    assert repository.all_tags() == []
    # The container's own loopback, where nothing listens: each check is made all the same.
    nowhere = [*without, "--dataset-url=http://127.0.0.1:1/set", "--package-index=http://127.0.0.1:1/simple"]
    failed = call(*nowhere, *repository.options, "doctor", fails=True).stderr
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
    with subprocess.Popen(
        command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as up:
        try:
            deadline = time.monotonic() + 240
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as response:
                        assert response.status == 200
                    break
                except (urllib.error.URLError, OSError):
                    assert up.poll() is None, "dagger call serve ended"
                    assert time.monotonic() < deadline, "the service did not answer within 240 s"
                    time.sleep(0.5)
        finally:
            os.killpg(up.pid, signal.SIGINT)
            up.wait(timeout=120)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--synthetic", "--address=ghcr.io/Upper/Case", "pipeline"], "--address"),
        (["--synthetic", "--address=ghcr.io/me/name", "--username=me", "pipeline"], "--password"),
        (["--synthetic", "--address=127.0.0.1:5000/me/name", "pipeline"], "--registry=tcp://127.0.0.1:5000"),
        (["--synthetic", "pipeline", "--bounds=accuracy=0.9"], "accuracy"),
        (["--training=epochs", "train"], "--training: 'epochs'"),
        (["--synthetic", "sweep", "--seeds=1", "results"], "--seeds"),
        (["shell", "--stage=KITCHEN"], "KITCHEN"),
        (["notes", "--tag=v99.0.0"], "99.0.0"),
    ],
)
def test_an_argument_that_cannot_work_is_named_at_once(call: Call, arguments: list[str], named: str) -> None:
    failed = call(*arguments, fails=True, timeout=300)
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


@pytest.mark.long
def test_a_shell_has_the_data_in_place(dataset: Path, call: Call) -> None:
    arguments = [f"--dataset={dataset}", "shell", "--stage=TRAIN", "with-exec", "--args=ls,/data,/app", "stdout"]
    assert {"archive", "kws", "model"} <= set(call(*arguments).stdout.split())


def test_functions_read_well() -> None:
    listed = dagger("functions").stdout
    verbs = ("pipeline", "train", "build", "image-tar", "publish", "test-predict", "serve", "gates", "sweep", "shell")
    for name in (*verbs, "releases", "doctor", "clips", "audit"):
        assert name in listed
    assert "--dataset-folder" in dagger("call", "--help").stdout


@pytest.mark.parametrize(
    "check",
    [
        "lint",
        pytest.param("types", marks=pytest.mark.long),
        pytest.param("predict", marks=pytest.mark.long),
        pytest.param("workflows", marks=pytest.mark.long),  # pulls actionlint's own image
        pytest.param("unit-tests", marks=pytest.mark.long),  # `make test` runs them natively
    ],
)
def test_checks_are_green(check: str, call: Call) -> None:
    call(check, timeout=1700)
