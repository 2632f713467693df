"""`python -m service.test_client`: success, and every way to fail."""

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
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
    for label in LABELS:
        (folder / label).mkdir()
        for index in range(3):
            heard = "down" if (label, index) == ("yes", 2) else label
            (folder / label / f"{index}.wav").write_bytes(wav(heard, 0.8))
    return folder


def run(code: int, url: str, output: Path, clips: Path, *options: object, **settings: object) -> tuple[list[str], Any]:
    """Run it in this process, `settings` as `KWS_PROBE_…`; it must end with `code`. Returns complaints and metrics."""
    env = {f"KWS_PROBE_{name.upper()}": str(value) for name, value in (settings | {"clips": clips}).items()}
    result = CliRunner().invoke(cli, [url, "--output", str(output), *map(str, options)], env=env)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    file = output / "inference_metrics.json"
    metrics = json.loads(file.read_text()) if code != 2 else {}
    return [line.removeprefix("test client: ") for line in result.stderr.splitlines()], metrics


def test_success(server: Server, clips: Path, tmp_path: Path) -> None:
    lines, metrics = run(0, server.url, tmp_path, clips, requests=31, model_version=VERSION)
    assert (lines, metrics["passed"], metrics["failures"], metrics["http_status"]) == ([], True, [], 200)
    assert (metrics["clips"], metrics["correct"], metrics["accuracy"]) == (12, 11, 11 / 12)
    assert metrics["predicted"]["yes"] == {"yes": 2, "down": 1}
    assert (metrics["requests"], metrics["model_version"]) == (31, VERSION)
    assert 0 < metrics["server_latency_ms"] < metrics["latency_ms"] == metrics["p50_ms"] <= metrics["p95_ms"]
    response = json.loads((tmp_path / "response.json").read_text())
    # The answer shown was really given: the service's own log knows its request.
    logged = [line for line in server.log("stdout") if line["request_id"] == response["request_id"]]
    assert [(line["path"], line["status"]) for line in logged] == [("/predict", 200)]


def test_failures_are_a_line_each_and_leave_no_answer_of_another_run(
    server: Server, clips: Path, tmp_path: Path
) -> None:
    lines, _ = run(3, server.url, tmp_path, clips, "--model-version", "ba9876543210")
    assert all(f"model_version is '{VERSION}', not 'ba9876543210'" in line for line in lines)
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "a.wav").write_bytes(wav("up"))
    (line,), _ = run(3, server.url, tmp_path / "out", tmp_path, "--requests", 1)
    assert line.endswith("the model does not know the label 'left', it knows up, down, yes, no")
    nobody = f"http://127.0.0.1:{free_port()}"
    (line,), metrics = run(3, nobody, tmp_path / "out", clips, "--ready-timeout", 0.5)
    assert line.startswith(f"{nobody} is not ready within 0.5 s: ")
    assert (metrics["http_status"], metrics["failures"]) == (None, [line])
    assert not list(tmp_path.glob("**/response.json"))


def test_it_waits_until_the_service_is_there(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, clips: Path, tmp_path: Path
) -> None:
    """As the pipeline runs it: a process of its own, which may be there first."""
    port = free_port()
    command = [sys.executable, "-m", "service.test_client", f"http://127.0.0.1:{port}", "--output", str(tmp_path)]
    command += ["--clips", str(clips), "--requests", "1", "--ready-timeout", "120"]
    waiting = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL)
    monkeypatch.setattr("tests.service.server.free_port", lambda: port)
    serve()
    assert waiting.wait(120) == 0


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("", [], "give the service's address, such as http://127.0.0.1:8000"),
        *(
            (url, [], "is no address: give the service's")
            for url in ("127.0.0.1:8000", "ftp://127.0.0.1", "http://", "http://a:port")
        ),
        *(("http://a", ["--clips", f"{{tmp}}/{folder}"], "holds no clips") for folder in ("none", "empty")),
        ("http://a", ["--clips", "{tmp}/half"], "up holds no .wav file; `python -m model clips` writes some"),
        ("http://a", ["--requests", "0"], "--requests"),
        ("http://a", ["--output", "{tmp}/file"], "--output: "),
        ("http://a", ["--colour", "red"], "--colour"),
    ],
)
def test_wrong_options(clips: Path, tmp_path: Path, url: str, options: list[str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "half" / "up").mkdir(parents=True)
    (tmp_path / "file").touch()
    (line,), _ = run(2, url, tmp_path / "out", clips, *(option.format(tmp=tmp_path) for option in options))
    assert message in line


@pytest.fixture
def fake(client: Make, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A service that answers as ours to “up”, but for the members that a function gives, for each request anew."""
    ours, connect = client(), httpx.Client
    described, good = ours.get("/openapi.json").json(), ours.post("/predict", wav("up")).json()

    def start(members: Callable[[], dict[str, Any]], status: int = 200, media_type: str = "application/json") -> str:
        def answer(request: httpx.Request) -> httpx.Response:
            if request.method == "GET":
                return httpx.Response(200, json=described)
            document = good | {"request_id": request.headers["X-Request-ID"]} | members()
            return httpx.Response(status, content=json.dumps(document), headers={"Content-Type": media_type})

        monkeypatch.setattr(httpx, "Client", lambda **given: connect(transport=httpx.MockTransport(answer), **given))
        return "http://service"

    return start


@pytest.mark.parametrize(
    ("fields", "head", "message"),
    [
        ({"prediction": "down"}, (), "the prediction 'down' is not the most probable label"),
        ({"request_id": "other"}, (), "request_id is not the X-Request-ID that was sent"),
        ({"latency_ms": "fast"}, (), "$.latency_ms 'fast' is not of type 'number'"),
        ({"accepted": None}, (), "$.accepted None is not of type 'boolean'"),
        ({"confidence": 0.6}, (), "is not the most probable label"),
        ({"probabilities": {"up": 0.7, "down": 0.1}}, (), "the probabilities sum to 0.8"),
        ({"windows": [{"start": 0}]}, (), "$.windows[0] 'end' is a required property"),
        ({}, (200, "text/html"), "no JSON object but 'text/html'"),
        ({}, (500,), "/predict answers 500"),
        ({}, (202,), "/predict answers 202"),
    ],
)
def test_a_service_that_answers_wrongly(
    fake: Callable[..., str], clips: Path, tmp_path: Path, fields: Any, head: tuple[Any, ...], message: str
) -> None:
    lines, metrics = run(3, fake(lambda: fields, *head), tmp_path, clips)
    assert any(message in line for line in lines)
    assert (metrics["http_status"], metrics["correct"]) == ((*head, 200)[0], 0)
    assert not (tmp_path / "response.json").exists()


def test_a_service_that_changes_its_mind(fake: Callable[..., str], clips: Path, tmp_path: Path) -> None:
    """Another model version, and other probabilities for the same clip, in the middle of a run."""
    versions, shares = itertools.chain([VERSION] * 5, itertools.repeat("other")), itertools.count(6_000)

    def drifting() -> dict[str, Any]:
        p = next(shares) / 10_000
        return {"probabilities": {"up": p, "down": 1 - p, "yes": 0, "no": 0}, "confidence": p}

    for members, says in ((lambda: {"model_version": next(versions)}, "is 'other'"), (drifting, "multipart gives")):
        lines, _ = run(3, fake(members), tmp_path, clips)
        assert any(says in line for line in lines)


def test_a_service_that_goes_once_it_was_ready(monkeypatch: pytest.MonkeyPatch, clips: Path, tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/readyz":
            return httpx.Response(200, json={})
        raise httpx.ReadError("")

    connect = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **given: connect(transport=httpx.MockTransport(answer), **given))
    lines, _ = run(3, "http://service", tmp_path, clips)
    assert lines == ["no answer from /openapi.json: ReadError('')"]
