"""`python -m service.test_client`: success, and every way to fail."""

import itertools
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
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


def run(code: int, url: str, output: Path, *options: object, **settings: object) -> list[str]:
    """Run it in this process, `settings` as `KWS_PROBE_…`; it must end with that code. Returns its complaints."""
    env = {f"KWS_PROBE_{name.upper()}": str(value) for name, value in settings.items()}
    result = CliRunner().invoke(cli, [url, "--output", str(output), *map(str, options)], env=env)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return [line.removeprefix("test client: ") for line in result.stderr.splitlines()]


def metrics_of(output: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((output / "inference_metrics.json").read_text())
    return document


def test_success(server: Server, clips: Path, tmp_path: Path) -> None:
    assert run(0, server.url, tmp_path, "--clips", clips, requests=31, model_version=VERSION) == []
    metrics = metrics_of(tmp_path)
    assert (metrics["passed"], metrics["failures"], metrics["http_status"]) == (True, [], 200)
    assert (metrics["clips"], metrics["correct"], metrics["accuracy"]) == (12, 11, 11 / 12)
    assert metrics["predicted"]["yes"] == {"yes": 2, "down": 1}
    assert (metrics["requests"], metrics["model_version"]) == (31, VERSION)
    assert 0 < metrics["server_latency_ms"] < metrics["latency_ms"] == metrics["p50_ms"] <= metrics["p95_ms"]
    response = json.loads((tmp_path / "response.json").read_text())
    # The answer shown was really given: the service's own log knows its request.
    logged = [line for line in server.access_log() if line["request_id"] == response["request_id"]]
    assert [(line["path"], line["status"]) for line in logged] == [("/predict", 200)]


def test_another_model_version_and_an_unknown_label(server: Server, clips: Path, tmp_path: Path) -> None:
    lines = run(3, server.url, tmp_path, "--clips", clips, "--model-version", "ba9876543210")
    assert all(f"model_version is '{VERSION}', not 'ba9876543210'" in line for line in lines)
    assert not (tmp_path / "response.json").exists()
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "a.wav").write_bytes(wav("up"))
    (line,) = run(3, server.url, tmp_path / "out", "--clips", tmp_path, "--requests", 1)
    assert line.endswith("the model does not know the label 'left', it knows up, down, yes, no")


def test_nobody_there(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "response.json").write_text("{}")  # of an earlier run
    url = f"http://127.0.0.1:{free_port()}"
    (line,) = run(3, url, tmp_path, "--clips", clips, "--ready-timeout", 0.5)
    assert line.startswith(f"{url} is not ready within 0.5 s: ")
    metrics = metrics_of(tmp_path)
    assert (metrics["http_status"], metrics["failures"]) == (None, [line])
    assert not (tmp_path / "response.json").exists()


def test_it_waits_until_the_service_is_there(tone_model_path: Path, clips: Path, tmp_path: Path) -> None:
    """As the pipeline runs it: a process of its own, which may be there first."""
    port = free_port()
    command = [sys.executable, "-m", "service.test_client", f"http://127.0.0.1:{port}", "--output", str(tmp_path)]
    command += ["--clips", str(clips), "--requests", "1", "--ready-timeout", "120"]
    waiting = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL)
    env = environment(model=tone_model_path, port=port, workers=1, access_log=False, log_level="error")
    service = subprocess.Popen([sys.executable, "-m", "service"], cwd=ROOT, env=env)
    try:
        assert waiting.wait(120) == 0
    finally:
        waiting.kill()
        service.terminate()
        service.wait(60)


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("127.0.0.1:8000", [], "is not an address"),
        ("ftp://127.0.0.1", [], "is not an address"),
        ("http://", [], "is not an address"),
        ("http://a:port", [], "is not an address"),
        ("http://a", ["--clips", "{tmp}/none"], "holds no clips"),
        ("http://a", ["--clips", "{tmp}/empty"], "holds no clips"),
        ("http://a", ["--clips", "{tmp}/half"], "holds no .wav"),
        ("http://a", ["--requests", "0"], "--requests"),
        ("http://a", ["--output", "{tmp}/file"], "--output"),
    ],
)
def test_wrong_options(clips: Path, tmp_path: Path, url: str, options: list[str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "half" / "up").mkdir(parents=True)
    (tmp_path / "file").touch()
    lines = run(2, url, tmp_path / "out", "--clips", clips, *(option.format(tmp=tmp_path) for option in options))
    assert message in re.sub(r"[│\s]+", " ", " ".join(lines))


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

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

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
    fake: Callable[..., str], clips: Path, tmp_path: Path, status: int, media_type: str, fields: Any, message: str
) -> None:
    def answer(request_id: str) -> tuple[int, str, bytes]:
        return status, media_type, json.dumps(GOOD | {"request_id": request_id} | fields).encode()

    lines = run(3, fake(answer), tmp_path, "--clips", clips)
    assert any(message in line for line in lines)
    metrics = metrics_of(tmp_path)
    assert (metrics["http_status"], metrics["correct"]) == (status, 0)
    assert not (tmp_path / "response.json").exists()


def test_a_service_that_changes_its_mind(fake: Callable[..., str], clips: Path, tmp_path: Path) -> None:
    """Another model version, and other probabilities for the same clip, in the middle of a run."""
    count = itertools.count()

    def other_version(request_id: str) -> tuple[int, str, bytes]:
        fields = {"request_id": request_id, "model_version": VERSION if next(count) < 5 else "other"}
        return 200, "application/json", json.dumps(GOOD | fields).encode()

    assert any("model_version is 'other'" in line for line in run(3, fake(other_version), tmp_path, clips=clips))

    def drifting(request_id: str) -> tuple[int, str, bytes]:
        p = 0.6 - 0.001 * (next(count) % 50)
        fields = {
            "probabilities": {"up": p, "down": 1 - p, "yes": 0, "no": 0},
            "confidence": p,
            "request_id": request_id,
        }
        return 200, "application/json", json.dumps(GOOD | fields).encode()

    assert any("multipart gives" in line for line in run(3, fake(drifting), tmp_path, clips=clips))
