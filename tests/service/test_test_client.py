"""`python -m service.test_client`: success, and every way to fail."""

import json
import socket
import subprocess
import sys
from itertools import chain, count, product, repeat
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from service.test_client import cli

from .server import ROOT, Make, Serve, Server, environment, free_port
from .tones import LABELS, VERSION, wav


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips a label; one of the twelve in the wrong folder."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / ".hidden").mkdir()
    for label, index in product(LABELS, range(3)):
        (folder / label).mkdir(exist_ok=True)
        heard = "down" if (label, index) == ("yes", 2) else label
        (folder / label / f"{index}.wav").write_bytes(wav(heard, 0.8))
    return folder


def run(code: int, url: str, output: Path, clips: Path, *options: str) -> tuple[list[str], Any]:
    """Run it in this process, the clips by the environment; it must end with `code`. Returns complaints and metrics."""
    result = CliRunner().invoke(cli, [url, "--output", str(output), *options], env={"KWS_PROBE_CLIPS": str(clips)})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    metrics = json.loads((output / "inference_metrics.json").read_text()) if code != 2 else {}
    return [line.removeprefix("test client: ") for line in result.stderr.splitlines()], metrics


def test_success(serve: Serve, clips: Path, tmp_path: Path) -> None:
    """As the pipeline runs it: a process of its own, which may be there before the service."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port, found = nobody.getsockname()[1], tmp_path / "found"
        command = [sys.executable, "-m", "service.test_client", f"http://127.0.0.1:{port}", "--output", str(found)]
        command += ["--clips", str(clips), "--requests", "31", "--ready-timeout", "120", "--model-version", VERSION]
        waiting = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL)
        nobody.accept()[0].close()
    server = serve(port=port)
    assert waiting.wait(120) == 0
    metrics, response = (json.loads((found / f"{it}.json").read_text()) for it in ("inference_metrics", "response"))
    assert (metrics["passed"], metrics["failures"], metrics["http_status"]) == (True, [], 200)
    assert (metrics["clips"], metrics["correct"], metrics["accuracy"]) == (12, 11, 11 / 12)
    assert metrics["predicted"]["yes"] == {"yes": 2, "down": 1}
    assert (metrics["requests"], metrics["model_version"]) == (31, VERSION)
    assert 0 < metrics["server_latency_ms"] < metrics["latency_ms"] == metrics["p50_ms"] <= metrics["p95_ms"]
    # The answer shown was really given: the service's own log knows its request.
    logged = [line for line in server.log("stdout") if line["request_id"] == response["request_id"]]
    assert [(line["path"], line["status"]) for line in logged] == [("/predict", 200)]


def test_failures_are_a_line_each_and_leave_no_old_answer(server: Server, clips: Path, tmp_path: Path) -> None:
    lines, _ = run(3, server.url, tmp_path, clips, "--model-version", "ba9876543210")
    assert all(f"model_version is '{VERSION}', not 'ba9876543210'" in line for line in lines)
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "a.wav").write_bytes(wav("up"))
    (line,), _ = run(3, server.url, tmp_path / "out", tmp_path, "--requests", "1")
    assert line.endswith("the model does not know the label 'left', it knows up, down, yes, no")
    nobody = f"http://127.0.0.1:{free_port()}"
    (line,), metrics = run(3, nobody, tmp_path / "out", clips, "--ready-timeout", "0.5")
    assert line.startswith(f"{nobody} is not ready within 0.5 s: ")
    assert (metrics["http_status"], metrics["failures"]) == (None, [line])
    assert not list(tmp_path.glob("**/response.json"))


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("", [], "give the service's address, such as http://127.0.0.1:8000"),
        *((url, [], "is no address: give") for url in ("127.0.0.1:8000", "ftp://127.0.0.1", "http://", "http://a:b")),
        *(("http://a", ["--clips", f"{{tmp}}/{folder}"], "holds no clips") for folder in ("none", "empty")),
        ("http://a", ["--clips", "{tmp}/half"], "up holds no .wav file; `python -m model clips` writes some"),
        ("http://a", ["--requests", "0"], "--requests"),
        ("http://a", ["--output", "{tmp}/file"], "file cannot be"),
        ("http://a", ["--colour", "red"], "--colour"),
    ],
)
def test_wrong_options(clips: Path, tmp_path: Path, url: str, options: list[str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "half" / "up").mkdir(parents=True)
    (tmp_path / "file").touch()
    (line,), _ = run(2, url, tmp_path / "out", clips, *(option.format(tmp=tmp_path) for option in options))
    assert message in line


DRIFT = ({"probabilities": {"up": p / 1e4, "down": 1 - p / 1e4}, "confidence": p / 1e4} for p in count(6_000))


@pytest.mark.parametrize(
    ("members", "status", "message"),
    [
        # What each answer to "up" has in place of what is right.
        (repeat({"prediction": "down"}), 200, "the prediction 'down' is not the most probable label"),
        (repeat({"confidence": 0.6}), 200, "is not the most probable label"),
        (repeat({"probabilities": {"up": 0.7, "down": 0.1}}), 200, "the probabilities sum to 0.8"),
        (repeat({"request_id": "other"}), 200, "request_id is not the X-Request-ID that was sent"),
        (repeat({"accepted": None}), 200, "$.accepted None is not of type 'boolean'"),
        (repeat({"windows": [{"start": 0}]}), 200, "$.windows[0] 'end' is a required property"),
        (repeat("text"), 200, "no JSON object but 'text/html"),
        *((repeat({}), status, f"/predict answers {status}") for status in (500, 202)),
        (chain(repeat({}, 5), repeat({"model_version": "other"})), 200, "is 'other'"),  # in the middle of a run
        (DRIFT, 200, "multipart gives"),
        (iter(()), 0, "no answer from /openapi.json: ReadError('')"),  # it goes once it was ready
    ],
)
def test_wrong_answers(
    client: Make, monkeypatch: pytest.MonkeyPatch, clips: Path, tmp_path: Path, members: Any, status: int, message: str
) -> None:
    ours, connect = client(), httpx.Client
    described, good = ours.get("/openapi.json").json(), ours.post("/predict", content=wav("up")).json()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            if status == 0 and request.url.path == "/openapi.json":
                raise httpx.ReadError("")
            return httpx.Response(200, json=described)
        if (changed := next(members)) == "text":
            return httpx.Response(200, html="")
        return httpx.Response(status, json=good | {"request_id": request.headers["X-Request-ID"]} | changed)

    monkeypatch.setattr(httpx, "Client", lambda **given: connect(transport=httpx.MockTransport(answer), **given))
    lines, metrics = run(3, "http://service", tmp_path, clips)
    assert any(message in line for line in lines)
    assert metrics["http_status"] == (status or None)
    assert (tmp_path / "response.json").exists() == any(metrics.get("predicted", {}).values())
