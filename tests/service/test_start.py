"""Starting: wrong settings, wrong models, what is imported, readiness, the health check."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from service.classifier import Classifier
from service.modelfile import ModelError

from .server import COMMAND, ROOT, Server, environment, free_port
from .tones import METADATA, save_model, save_samples

Run = subprocess.CompletedProcess[str]


def start(*arguments: str, command: list[str] = COMMAND, **settings: object) -> Run:
    """Start the service, which must end by itself."""
    settings = {"port": free_port(), **settings}
    return subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_wrong_setting_is_one_line(tone_model_path: Path) -> None:
    run = start(model=tone_model_path, workers="many")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "service: KWS_WORKERS='many': must be a whole number from 1 to 64\n"


def test_a_missing_model_is_one_line(tmp_path: Path) -> None:
    run = start(model=tmp_path / "none.onnx")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == f"service: KWS_MODEL: {tmp_path}/none.onnx does not exist\n"
    (tmp_path / "empty.onnx").touch()
    assert start(model=tmp_path / "empty.onnx").stderr == f"service: KWS_MODEL: {tmp_path}/empty.onnx is empty\n"
    assert "Is a directory" in start(model=tmp_path).stderr


def test_the_models_digest_is_verified(tone_model_path: Path) -> None:
    run = start(model=tone_model_path, model_sha256="0" * 64)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert hashlib.sha256(tone_model_path.read_bytes()).hexdigest() in run.stderr


RULE = {"hop_seconds": 0.1, "smoothing": 3, "threshold": 0.8, "refractory_seconds": 1.0}


def broken(path: Path, kind: str) -> tuple[Path, str]:
    """A model file with that defect, and what the message must say."""
    if kind == "no ONNX":
        path.write_bytes(b"this is not a model" * 100)
        return path, "cannot be loaded"
    if kind == "truncated":
        save_model(path)
        path.write_bytes(path.read_bytes()[:-1_000])
        return path, "cannot be loaded"
    if kind == "other interface":
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
        graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [output])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, METADATA)
        onnx.save(model, str(path))
        return path, "inputs ['x'], not ['waveform']"
    if kind == "no probabilities":
        return save_model(path, softmax=False), "do not sum to 1"
    changes: dict[str, tuple[dict[str, str], str]] = {
        "no metadata": ({}, "lacks metadata: labels, sample_rate, clip_samples, model_version"),
        "labels no JSON": (METADATA | {"labels": "up,down"}, "labels is not a JSON list"),
        "labels twice": (METADATA | {"labels": json.dumps(["a", "a", "b", "c"])}, "labels is not a JSON list"),
        "a label too few": (METADATA | {"labels": json.dumps(["a", "b", "c"])}, "[batch, 3]"),
        "wrong rate": (METADATA | {"sample_rate": "16 kHz"}, "sample_rate is '16 kHz'"),
        "wrong length": (METADATA | {"clip_samples": "8000"}, "[batch, 8000]"),
        "detection no JSON": (METADATA | {"detection": "[1"}, "detection is no JSON object"),
        "detection incomplete": (METADATA | {"detection": '{"hop_seconds": 0.1}'}, "detection lacks smoothing"),
        "detection senseless": (METADATA | {"detection": json.dumps(RULE | {"threshold": 2})}, "has threshold 2"),
        "detection fractional": (METADATA | {"detection": json.dumps(RULE | {"smoothing": 2.5})}, "has smoothing 2.5"),
    }
    metadata, message = changes[kind]
    return save_model(path, metadata), message


@pytest.mark.parametrize(
    "kind",
    [
        "no ONNX",
        "truncated",
        "other interface",
        "no probabilities",
        "no metadata",
        "labels no JSON",
        "labels twice",
        "a label too few",
        "wrong rate",
        "wrong length",
        "detection no JSON",
        "detection incomplete",
        "detection senseless",
        "detection fractional",
    ],
)
def test_wrong_models_are_told_apart(tmp_path: Path, kind: str) -> None:
    path, message = broken(tmp_path / "model.onnx", kind)
    with pytest.raises(ModelError) as caught:
        Classifier(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["truncated", "wrong length"])
def test_a_wrong_model_ends_the_start(tmp_path: Path, kind: str) -> None:
    path, message = broken(tmp_path / "model.onnx", kind)
    run = start(model=path)
    assert run.returncode == 3, run.stderr
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    critical = [line["message"] for line in lines if line["level"] == "critical"]
    assert len(critical) == 1
    assert critical[0].startswith(f"KWS_MODEL: {path}")
    assert message in critical[0]
    # No crash loop: the first failure of the first set of workers ends the service.
    assert sum(line["message"].startswith("Booting worker") for line in lines) == 2
    assert not any("exception" in line or "SIGABRT" in line["message"] for line in lines)


def test_preloading_is_refused(tone_model_path: Path) -> None:
    run = start("--preload", model=tone_model_path)
    assert run.returncode == 2
    assert "--preload is not supported" in run.stderr


def test_python_m_service_starts_the_same(tone_model_path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service"]
    assert start(command=command, model=tmp_path / "none").returncode == 2
    # It replaces itself by gunicorn, whose options it takes.
    run = start("--print-config", "--check-config", command=command, model=tone_model_path, threads=3)
    assert run.returncode == 0, run.stderr
    assert "worker_class" in run.stdout
    assert [line.split()[-1] for line in run.stdout.splitlines() if line.startswith("threads ")] == ["3"]


def test_it_starts_from_a_copy_of_the_folder_alone(tone_model_path: Path, tmp_path: Path) -> None:
    """As in the image: only `service/` beside the model."""
    shutil.copytree(ROOT / "service", tmp_path / "service", ignore=shutil.ignore_patterns("__pycache__"))
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    run = subprocess.run(
        [gunicorn, "--check-config", *COMMAND[3:]],
        cwd=tmp_path,
        env=environment(model=tone_model_path),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def imported(code: str) -> set[str]:
    """The top-level modules in memory after `code`, run in a fresh interpreter."""
    script = f"{code}\nimport sys\nprint(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_the_service_never_imports_the_trainer(tone_model_path: Path, tmp_path: Path) -> None:
    modules = imported(
        "from pathlib import Path\n"
        "from service.app import create_app, load_model\n"
        "from service.settings import Settings\n"
        f"paths = Path({str(tone_model_path)!r}), Path({str(save_samples(tmp_path))!r})\n"
        "app = create_app(Settings(model=paths[0], samples=paths[1]))\n"
        "load_model(app)\n"
        "assert app.test_client().get('/readyz').status_code == 200"
    )
    assert {"flask", "onnxruntime", "soundfile", "soxr"} <= modules
    assert not {"torch", "torchaudio", "model", "onnx", "scipy", "httpx", "typer"} & modules


def test_gunicorns_main_process_does_not_import_onnx_runtime() -> None:
    """Workers that inherit it abort or hang at their end."""
    modules = imported("import service.app, service.classifier, service.logs")
    assert {"flask", "numpy", "soundfile"} <= modules
    assert "onnxruntime" not in modules


def test_the_probe_needs_none_of_the_services_packages() -> None:
    modules = imported("import service.probe.__main__")
    assert {"httpx", "typer"} <= modules
    assert not {"flask", "gunicorn", "numpy", "onnxruntime", "soundfile", "soxr", "torch"} & modules


def health_check(port: int) -> Run:
    return subprocess.run(
        [sys.executable, "-m", "service.healthcheck"],
        cwd=ROOT,
        env=environment(port=port),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_health_check(server: Server) -> None:
    assert health_check(server.port).returncode == 0
    refused = health_check(free_port())
    assert refused.returncode == 1
    assert refused.stderr.startswith("healthcheck: ")
    assert "Traceback" not in refused.stderr
    modules = imported("import service.healthcheck")
    assert not {"flask", "http", "urllib", "ssl", "email"} & modules


def test_the_start_is_logged_with_the_models_identity(server: Server, tone_model_path: Path) -> None:
    deadline = time.monotonic() + 20  # one worker is enough to be ready; the other may follow
    while len(loaded := [line for line in server.log() if line["message"] == "model loaded"]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for line in loaded:
        assert line["model_version"] == METADATA["model_version"]
        assert line["model_sha256"] == hashlib.sha256(tone_model_path.read_bytes()).hexdigest()
