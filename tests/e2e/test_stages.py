"""Each function of the module alone, on a real engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from release.sbom import describe

from .conftest import ROOT, Call, Run, database, free_port, push_image, regctl, wait_for
from .registry import Repository
from .test_pipeline import files_in_layers

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def test_build_and_the_archive_are_one_image(first_run: Run, call: Call, tmp_path: Path) -> None:
    origin = [each for each in first_run.shared if each.startswith(("--repository", "--revision", "--created"))]
    call(*origin, "sbom", first_run.model, "export", f"--path={tmp_path}")
    found, wanted = json.loads((tmp_path / "image.json").read_text()), first_run.json("image/image.json")
    # Above the base image, which an engine packs anew when it has dropped the packed one.
    assert found["layers"][-3:] == wanted["layers"][-3:]


@pytest.mark.long
def test_two_platforms(first_run: Run, registry: str, tools: list[str], call: Call, tmp_path: Path) -> None:
    """Of the foreign one nothing is run: its wheels are unpacked alone, on a base of one empty file."""
    if not tools:
        pytest.skip("regctl is not installed: no base image of two platforms")
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "empty").touch()
    arm64 = push_image(registry, "python:arm64", tmp_path / "base", "linux/arm64")
    refs, both = (f"--ref={registry}/library/python:3.13-slim", f"--ref={arm64}"), f"{registry}/e2e/python:both"
    regctl(registry, "index", "create", both, *refs)
    asked, archive = [f"--base-image={both}", "--platforms=linux/amd64,linux/arm64"], tmp_path / "image.tar"
    call(*asked, "image-tar", first_run.model, "export", f"--path={archive}")
    foreign = describe(archive, "linux/arm64")
    assert foreign["platforms"] == ["linux/amd64", "linux/arm64"]
    names = {name for name, _ in files_in_layers(archive, [layer["digest"] for layer in foreign["layers"]])}
    assert {"app/model.onnx", "app/service/app.py"} <= names
    assert {name.rpartition("-linux")[0].rpartition("-")[2] for name in names if "-linux-gnu.so" in name} == {"aarch64"}


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
    by_tag = ["--tool-images=actionlint=rhysd/actionlint:1.7.12"]  # as a mirror has it that lacks the digest
    call(*(by_tag if check == "workflows" else []), check)
