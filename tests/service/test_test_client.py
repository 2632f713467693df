"""`python -m service.test_client`: success, and every way to fail."""

import itertools
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.app import create_app
from service.settings import Settings
from service.test_client.__main__ import cli

from .client import Client
from .server import ROOT, Server, environment, free_port
from .tones import LABELS, VERSION, wav


@dataclass(frozen=True)
class Run:
    """How a run ended."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips a label; one of the twelve in the wrong folder."""
    folder = tmp_path_factory.mktemp("clips")
    for label in LABELS:
        (folder / label).mkdir()
        for index in range(3):
            heard = "down" if (label, index) == ("yes", 2) else label
            (folder / label / f"{index}.wav").write_bytes(wav(heard, 0.8))
    (folder / ".hidden").mkdir()
    return folder


def run_here(url: str, output: Path, *options: str, **settings: object) -> Run:
    """Run the test client in this process; `settings` as `KWS_PROBE_…`."""
    env = {f"KWS_PROBE_{name.upper()}": str(value) for name, value in settings.items()}
    result = CliRunner().invoke(cli, [url, "--output", str(output), *options], env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Run(result.exit_code, result.stdout, result.stderr)


def run_apart(url: str, output: Path, *options: str) -> Run:
    """Run the test client as the pipeline does."""
    command = [sys.executable, "-m", "service.test_client", url, "--output", str(output), *options]
    run = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    return Run(run.returncode, run.stdout, run.stderr)


def metrics_of(output: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((output / "inference_metrics.json").read_text())
    return document


def complaints(run: Run, code: int = 3) -> list[str]:
    """The complaints; the run must have ended with that code and no traceback."""
    assert run.code == code, run.stderr
    assert "Traceback" not in run.stderr
    return [line.removeprefix("test client: ") for line in run.stderr.splitlines()]


def test_success(server: Server, clips: Path, tmp_path: Path) -> None:
    limits = ["--min-accuracy", "0.9", "--max-latency-ms", "1000", "--model-version", VERSION]
    run = run_apart(server.url, tmp_path, "--clips", str(clips), "--requests", "31", *limits)
    assert complaints(run, 0) == []
    metrics = metrics_of(tmp_path)
    assert metrics["passed"] is True
    assert metrics["failures"] == []
    assert metrics["http_status"] == 200
    assert metrics["model_version"] == VERSION
    assert (metrics["clips"], metrics["correct"], metrics["accuracy"]) == (12, 11, 11 / 12)
    assert metrics["labels"]["yes"] == {
        "clips": 3,
        "correct": 2,
        "accuracy": 2 / 3,
        "predicted": {"yes": 2, "down": 1},
    }
    assert metrics["labels"]["no"]["accuracy"] == 1
    assert metrics["requests"] == 31
    assert 0 < metrics["server_latency_ms"] < metrics["latency_ms"]
    assert metrics["p50_ms"] <= metrics["p95_ms"] <= metrics["p99_ms"]
    assert set(metrics["uploads"]) == {"multipart", "raw"}
    assert metrics["limits"]["min_accuracy"] == {
        "metric": "accuracy",
        "limit": 0.9,
        "value": 11 / 12,
        "passed": True,
    }
    assert metrics["limits"]["max_latency_ms"]["passed"] is True
    response = json.loads((tmp_path / "response.json").read_text())
    assert list(response["probabilities"]) == LABELS
    # The answer shown was really given: the service's own log knows its request.
    logged = [line for line in server.access_log() if line["request_id"] == response["request_id"]]
    assert [(line["path"], line["status"]) for line in logged] == [("/predict", 200)]


def test_options_from_the_environment(server: Server, clips: Path, tmp_path: Path) -> None:
    run = run_here(server.url, tmp_path, clips=clips, requests=2, min_accuracy=1)
    assert complaints(run) == ["accuracy 0.9167 misses the limit 1"]
    assert metrics_of(tmp_path)["requests"] == 2


def test_missed_limits_still_leave_the_files(server: Server, clips: Path, tmp_path: Path) -> None:
    limits = ["--min-accuracy", "0.95", "--max-latency-ms", "0.001"]
    run = run_here(server.url, tmp_path, "--clips", str(clips), "--requests", "4", *limits)
    accuracy, latency = complaints(run)
    assert accuracy == "accuracy 0.9167 misses the limit 0.95"
    assert re.fullmatch(r"p95_ms [\d.]+ misses the limit 0.001", latency)
    metrics = metrics_of(tmp_path)
    assert metrics["passed"] is False
    assert metrics["failures"] == [accuracy, latency]
    assert [limit["passed"] for limit in metrics["limits"].values()] == [False, False]
    assert (tmp_path / "response.json").is_file()


def test_another_model_version(server: Server, clips: Path, tmp_path: Path) -> None:
    run = run_here(server.url, tmp_path, "--clips", str(clips), "--model-version", "ba9876543210")
    assert all(f"model_version is '{VERSION}', not 'ba9876543210'" in line for line in complaints(run))
    assert not (tmp_path / "response.json").exists()


def test_a_label_that_the_model_does_not_know(server: Server, tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "a.wav").write_bytes(wav("up"))
    run = run_here(server.url, tmp_path / "out", "--clips", str(tmp_path), "--requests", "1")
    (line,) = complaints(run)
    assert line.endswith("the model does not know the label 'left', it knows up, down, yes, no")


def test_connection_refused(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "response.json").write_text("{}")  # of an earlier run
    url = f"http://127.0.0.1:{free_port()}"
    options = ["--clips", str(clips), "--ready-timeout", "0.5", "--min-accuracy", "0.5"]
    run = run_apart(url, tmp_path, *options)
    (line,) = complaints(run)
    assert line.startswith(f"{url} is not ready within 0.5 s: ")
    assert "refused" in line
    metrics = metrics_of(tmp_path)
    assert metrics["http_status"] is None
    assert metrics["failures"] == [line]
    assert metrics["limits"]["min_accuracy"] == {
        "metric": "accuracy",
        "limit": 0.5,
        "value": None,
        "passed": False,
    }
    assert not (tmp_path / "response.json").exists()


def test_it_waits_until_the_service_is_there(tone_model_path: Path, clips: Path, tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "service.test_client", f"http://127.0.0.1:{port}", "--output", str(tmp_path)]
    waiting = subprocess.Popen(
        [*command, "--clips", str(clips), "--requests", "1"],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    service = subprocess.Popen(
        [sys.executable, "-m", "service"],
        cwd=ROOT,
        env=environment(model=tone_model_path, port=port, workers=1),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert waiting.wait(40) == 0
    finally:
        waiting.kill()
        service.terminate()
        service.wait(20)
    assert metrics_of(tmp_path)["ready_seconds"] > 0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("127.0.0.1:8000", "is not an address"),
        ("ftp://127.0.0.1", "is not an address"),
        ("http://", "is not an address"),
        ("http://a:port", "is not an address"),
    ],
)
def test_wrong_addresses(clips: Path, tmp_path: Path, url: str, message: str) -> None:
    run = run_here(url, tmp_path, "--clips", str(clips))
    assert run.code == 2
    assert message in run.stderr
    assert not list(tmp_path.iterdir())


def test_wrong_options(clips: Path, tmp_path: Path) -> None:
    url = "http://127.0.0.1:1"
    (tmp_path / "empty").mkdir()
    (tmp_path / "half" / "up").mkdir(parents=True)
    (tmp_path / "file").touch()
    for options, message in (
        ([], "--clips"),
        (["--clips", str(tmp_path / "none")], "holds no clips"),
        (["--clips", str(tmp_path / "empty")], "holds no clips"),
        (["--clips", str(tmp_path / "half")], "holds no .wav"),
        (["--clips", str(clips), "--min-accuracy", "2"], "--min-accuracy"),
        (["--clips", str(clips), "--requests", "0"], "--requests"),
        (["--clips", str(clips), "--output", str(tmp_path / "file")], "--output"),
    ):
        run = run_here(url, tmp_path / "out", *options)
        assert run.code == 2, run.stderr
        assert "Traceback" not in run.stderr
        assert message in re.sub(r"\s*\n[│\s]*", " ", run.stderr), run.stderr


@pytest.fixture
def fake() -> Iterator[Callable[[Callable[[str], tuple[int, str, bytes]]], str]]:
    """A service that answers `/predict` with status, media type and body as the given function says."""
    servers: list[ThreadingHTTPServer] = []
    described = Client(create_app(Settings(access_log=False))).get("/openapi.json").content

    def start(answer: Callable[[str], tuple[int, str, bytes]]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                self._send(200, "application/json", described if self.path == "/openapi.json" else b"{}")

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._send(*answer(self.headers["X-Request-ID"]))

            def _send(self, status: int, media_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(httpd)
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{httpd.server_port}"

    yield start
    for httpd in servers:
        httpd.shutdown()
        httpd.server_close()


GOOD: dict[str, Any] = {
    "prediction": "up",
    "accepted": True,
    "threshold": 0.5,
    "confidence": 0.7,
    "probabilities": {"up": 0.7, "down": 0.1, "yes": 0.1, "no": 0.1},
    "latency_ms": 0.5,
    "model_version": VERSION,
    "model_sha256": "0" * 64,
    "request_id": "x",
    "audio": {"seconds": 1.0, "sample_rate": 16_000, "channels": 1, "format": "WAV"},
}


@pytest.mark.parametrize(
    ("status", "media_type", "fields", "message"),
    [
        (200, "application/json", {"prediction": "down"}, "the prediction 'down' is not the most probable label"),
        (200, "application/json", {"request_id": "other"}, "request_id is not the X-Request-ID that was sent"),
        (200, "text/html", {}, "no JSON object but 'text/html'"),
        (200, "application/json", {"latency_ms": "fast"}, "$.latency_ms 'fast' is not of type 'number'"),
        (200, "application/json", {"accepted": None}, "$.accepted None is not of type 'boolean'"),
        (200, "application/json", {"confidence": 0.6}, "is not the most probable label"),
        (200, "application/json", {"probabilities": {"up": 0.7, "down": 0.1}}, "the probabilities sum to 0.8"),
        (200, "application/json", {"windows": [{"start": 0}]}, "$.windows[0] 'end' is a required property"),
        (500, "application/json", {}, "/predict answers 500"),
        (202, "application/json", {}, "/predict answers 202"),
    ],
)
def test_a_service_that_answers_wrongly(
    fake: Callable[..., str],
    clips: Path,
    tmp_path: Path,
    status: int,
    media_type: str,
    fields: dict[str, Any],
    message: str,
) -> None:
    def answer(request_id: str) -> tuple[int, str, bytes]:
        return status, media_type, json.dumps(GOOD | {"request_id": request_id} | fields).encode()

    run = run_here(fake(answer), tmp_path, "--clips", str(clips), "--min-accuracy", "0.9")
    lines = complaints(run)
    assert any(message in line for line in lines)
    metrics = metrics_of(tmp_path)
    assert metrics["http_status"] == status
    assert metrics["correct"] == 0
    assert "accuracy 0 misses the limit 0.9" in lines
    assert not (tmp_path / "response.json").exists()


def test_a_service_that_changes_its_mind(fake: Callable[..., str], clips: Path, tmp_path: Path) -> None:
    """Another model version, and other probabilities for the same clip, in the middle of a run."""
    count = itertools.count()

    def other_version(request_id: str) -> tuple[int, str, bytes]:
        version = VERSION if next(count) < 5 else "other"
        document = GOOD | {"request_id": request_id, "model_version": version}
        return 200, "application/json", json.dumps(document).encode()

    run = run_here(fake(other_version), tmp_path, "--clips", str(clips))
    assert any("model_version is 'other'" in line for line in complaints(run))

    def drifting(request_id: str) -> tuple[int, str, bytes]:
        p = 0.7 - 0.001 * next(count)
        probabilities = {"up": p, "down": 1 - p, "yes": 0, "no": 0}
        prediction = max(probabilities, key=lambda label: probabilities[label])
        document = GOOD | {
            "probabilities": probabilities,
            "confidence": probabilities[prediction],
            "prediction": prediction,
        }
        return 200, "application/json", json.dumps(document | {"request_id": request_id}).encode()

    run = run_here(fake(drifting), tmp_path, "--clips", str(clips))
    assert any("multipart gives" in line for line in complaints(run))
