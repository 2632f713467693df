"""Each function of the module alone, on a real engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from .conftest import ROOT, Call, Repository, Run, dagger

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def test_train(dataset: Path, call: Call, tmp_path: Path) -> None:
    call("train", f"--dataset={dataset}", "--profile=quick", "--epochs=1", "--output", str(tmp_path / "model"))
    metrics = json.loads((tmp_path / "model" / "train_metrics.json").read_text())
    assert metrics["epochs"] == 1
    assert (tmp_path / "model" / "best_model.pth").is_file()


def test_image_tar_is_an_oci_archive(first_run: Run, call: Call, tmp_path: Path) -> None:
    model = first_run.artifacts / "model" / "model.onnx"
    call("image-tar", f"--model={model}", "--output", str(tmp_path / "image.tar"))
    command = ["python", "-m", "tools.oci", str(tmp_path / "image.tar"), "--output", str(tmp_path / "image.json")]
    subprocess.run(command, cwd=ROOT, check=True)
    layers = [layer["digest"] for layer in json.loads((tmp_path / "image.json").read_text())["layers"]]
    assert layers == [layer["digest"] for layer in first_run.json("image/image.json")["layers"]]


def test_build_gives_a_container(first_run: Run, call: Call) -> None:
    model = first_run.artifacts / "model" / "model.onnx"
    assert call("build", f"--model={model}", "user").stdout.strip() == "10001:10001"


def test_nothing_that_the_service_needs_was_trimmed_from_the_image(first_run: Run, call: Call) -> None:
    model, program = first_run.artifacts / "model" / "model.onnx", ROOT / "tests" / "service" / "inside_image.py"
    said = call(
        *("build", f"--model={model}", "with-file", "--path=/tmp/inside_image.py", f"--source={program}"),
        *("with-exec", "--args=python,/tmp/inside_image.py", "stdout"),
    ).stdout
    assert said.startswith("inside: 12 formats, ")


def test_the_doctor_looks_from_the_containers_and_leaves_nothing_behind(repository: Repository, call: Call) -> None:
    without = ["--torch-index=", "--dataset-url=", "--vulnerability-source="]
    done = call(*without, "doctor", *repository.options)
    lines = done.stdout.splitlines()
    assert f"ok       push: an upload to {repository.address} was begun, and cancelled" in lines
    assert "skipped  anonymous pull: nothing is published as latest yet" in lines
    assert {line.split(":")[0].split(maxsplit=1)[1] for line in lines if line.startswith("ok ")} >= {
        *("engine", "base image", "package index", "Debian's mirror", "registry", "push")
    }
    assert repository.all_tags() == []
    # The container's own loopback, where nothing listens: each check is made all the same.
    nowhere = ["--torch-index=", "--dataset-url=http://127.0.0.1:1/set", "--package-index=http://127.0.0.1:1/simple"]
    failed = call(*nowhere, "doctor", *repository.options, fails=True).stderr
    assert "failed: package index, data set" in failed
    assert "--dataset-url names a mirror" in failed
    assert "ok       push:" in failed


def test_publish_then_test_what_was_published(
    first_run: Run, repository: Repository, call: Call, tmp_path: Path
) -> None:
    model = first_run.artifacts / "model" / "model.onnx"
    reference = call("publish", f"--model={model}", *repository.options, "--tags=a").stdout.strip()
    assert reference.startswith(f"{repository.address}@sha256:")
    assert repository.tags() == ["a"]
    clips = noise_clips(tmp_path / "clips")
    output = tmp_path / "inference"
    call(
        "test-predict",
        f"--reference={reference}",
        repository.options[1],
        f"--clips={clips}",
        "--bounds=min_clip_accuracy=false",
        "--output",
        str(output),
    )
    assert json.loads((output / "inference_metrics.json").read_text())["http_status"] == 200


def test_test_predict_fails_where_a_limit_is_missed(first_run: Run, call: Call, tmp_path: Path) -> None:
    model = first_run.artifacts / "model" / "model.onnx"
    clips = noise_clips(tmp_path / "clips")
    done = call("test-predict", f"--model={model}", f"--clips={clips}", "--bounds=max_p95_ms=0.001", "sync", fails=True)
    assert "0.001" in done.stderr


def test_serve_answers_on_this_machine(first_run: Run) -> None:
    model = first_run.artifacts / "model" / "model.onnx"
    port = int(subprocess.check_output(["python", "-m", "tools.free_port"], cwd=ROOT))
    command = ["dagger", "call", "serve", f"--model={model}", "up", f"--ports={port}:8000"]
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
        (["pipeline", "--synthetic", "--address=ghcr.io/Upper/Case"], "--address"),
        (["pipeline", "--synthetic", "--address=ghcr.io/me/name", "--username=me"], "--password"),
        (["pipeline", "--synthetic", "--tags=a b", "--address=ghcr.io/me/name"], "--tags"),
        (["pipeline", "--synthetic", "--bounds=accuracy=0.9"], "no gate has a bound 'accuracy'"),
        (["sweep", "--synthetic", "--seeds=1", "results"], "--seeds"),
        (["shell", "--stage=KITCHEN"], "KITCHEN"),
    ],
)
def test_an_argument_that_cannot_work_is_named_at_once(call: Call, arguments: list[str], named: str) -> None:
    assert named in call(*arguments, fails=True, timeout=120).stderr


@pytest.mark.long
def test_a_sweep_compares_and_a_failing_run_sinks_no_other(call: Call, tmp_path: Path) -> None:
    arguments = ["--synthetic", "--profile=quick", "--epochs=1", "--seeds=1,2", "--settings=width=1,width=nonsense"]
    call("sweep", *arguments, "results", "--output", str(tmp_path / "sweep"))
    result = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert {run["name"] for run in result["runs"] if "error" in run} == {
        "width=nonsense_seed=1",
        "width=nonsense_seed=2",
    }
    best = max(result["runs"][:2], key=lambda run: (run["validation_accuracy"], -run["validation_loss"]))
    assert result["best"] == best["name"]
    metrics = json.loads((tmp_path / "sweep" / "best" / "train_metrics.json").read_text())
    assert metrics["model_version"] == best["model_version"]


@pytest.mark.long
def test_a_shell_has_the_data_in_place(dataset: Path, call: Call) -> None:
    listed = call("shell", "--stage=TRAIN", f"--dataset={dataset}", "with-exec", "--args=ls,/data/set", "stdout").stdout
    assert {"up", "down", "yes", "no"} <= set(listed.split())


def test_functions_read_well() -> None:
    listed = dagger("functions").stdout
    for name in (
        "pipeline",
        "train",
        "build",
        "image-tar",
        "publish",
        "test-predict",
        "serve",
        "gates",
        "sweep",
        "shell",
    ):
        assert name in listed
    assert "registry" in dagger("call", "pipeline", "--help").stdout


@pytest.mark.parametrize(
    "check",
    [
        "lint",
        "types",
        "predict",
        pytest.param("workflows", marks=pytest.mark.long),  # pulls actionlint's own image
        pytest.param("unit-tests", marks=pytest.mark.long),  # `make test` runs them natively
    ],
)
def test_checks_are_green(check: str) -> None:
    done = dagger("check", check, timeout=1700)
    assert done.returncode == 0, done.stderr[-6000:]


def noise_clips(folder: Path) -> Path:
    """One second of noise as a clip of each label: enough to be answered, whatever the answer."""
    import numpy as np
    import soundfile

    for number, label in enumerate(("up", "down", "yes", "no")):
        (folder / label).mkdir(parents=True)
        noise = np.random.default_rng(number).normal(0, 0.1, 16000).astype("float32")
        soundfile.write(folder / label / "noise.wav", noise, 16000)
    return folder
