"""Every error is an RFC 9457 problem document, and what every response carries."""

from __future__ import annotations

from http.client import HTTPConnection
from pathlib import Path

import httpx
import numpy as np
import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.problems import PROBLEMS
from service.settings import Settings

from .server import Server
from .tones import encode, tone, wav


def check_problem(response: httpx.Response, status: int, name: str) -> str:
    """The response must be that problem; returns its detail."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    document = response.json()
    assert set(document) == {"type", "title", "status", "detail", "request_id"}
    assert document["type"] == f"/problems/{name}"
    assert document["status"] == status == PROBLEMS[name].status
    assert document["title"] == PROBLEMS[name].title
    assert document["request_id"] == response.headers["X-Request-ID"]
    assert PROBLEMS[name].remedy in document["detail"]
    assert "Traceback" not in response.text
    detail: str = document["detail"]
    return detail


def test_nothing_uploaded(http: httpx.Client) -> None:
    check_problem(http.post("/predict"), 400, "nothing-uploaded")
    check_problem(http.post("/predict", files={"file": ("a.wav", b"")}), 400, "nothing-uploaded")
    check_problem(http.post("/predict", files={"audio": ("a.wav", wav("up"))}), 400, "nothing-uploaded")
    # A form field that is no file:
    body = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    check_problem(http.post("/predict", content=body, headers=headers), 400, "nothing-uploaded")
    # A multipart body without its boundary:
    headers = {"Content-Type": "multipart/form-data"}
    check_problem(http.post("/predict", content=body, headers=headers), 400, "nothing-uploaded")


def test_several_files(http: httpx.Client) -> None:
    files = [("file", ("a.wav", wav("up"))), ("file", ("b.wav", wav("no")))]
    check_problem(http.post("/predict", files=files), 400, "several-files")


def test_too_many_form_parts(http: httpx.Client) -> None:
    files = [(f"part{i}", ("a.wav", b"x")) for i in range(50)]
    check_problem(http.post("/predict", files=files), 413, "too-large")


def test_not_audio(http: httpx.Client) -> None:
    check_problem(http.post("/predict", content=b"hello"), 415, "not-audio")
    check_problem(http.post("/predict", files={"file": ("a.wav", b"<html>")}), 415, "not-audio")


@pytest.mark.parametrize("kind", ["raw", "multipart", "chunked", "chunked multipart"])
def test_too_large(http: httpx.Client, kind: str) -> None:
    """The fixture's limit is 4 MB."""
    data = wav("up", 130.0)
    if kind == "raw":
        response = http.post("/predict", content=data)
    elif kind == "multipart":
        response = http.post("/predict", files={"file": data})
    else:
        headers = {}
        if kind == "chunked multipart":
            head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
            data = head + data + b"\r\n--b--\r\n"
            headers = {"Content-Type": "multipart/form-data; boundary=b"}
        chunks = (data[i : i + 65_536] for i in range(0, len(data), 65_536))
        response = http.post("/predict", content=chunks, headers=headers)
    assert "at most 4000000 bytes" in check_problem(response, 413, "too-large")


def test_unusable_audio(http: httpx.Client) -> None:
    detail = check_problem(http.post("/predict", content=wav("up", 60.5)), 422, "audio-too-long")
    assert "60.5 s" in detail
    assert "at most 60 s" in detail
    empty = encode(np.zeros((0, 1), np.int16))
    check_problem(http.post("/predict", content=empty), 422, "audio-empty")
    samples = tone("up")
    samples[5, 0] = np.nan
    check_problem(http.post("/predict", content=encode(samples, subtype="FLOAT")), 422, "audio-samples")


def test_paths_and_methods(http: httpx.Client) -> None:
    check_problem(http.get("/predict/"), 404, "not-found")
    check_problem(http.get("/static/../app.py"), 404, "not-found")
    check_problem(http.get("/problems/none"), 404, "not-found")
    response = http.get("/predict")
    check_problem(response, 405, "method-not-allowed")
    assert set(response.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}
    check_problem(http.delete("/readyz"), 405, "method-not-allowed")


def test_every_problem_type_describes_itself(http: httpx.Client) -> None:
    for name, kind in PROBLEMS.items():
        document = http.get(f"/problems/{name}").json()
        assert document == {
            "type": f"/problems/{name}",
            "status": kind.status,
            "title": kind.title,
            "remedy": kind.remedy,
        }


def test_not_ready_until_the_model_is_loaded(tone_model_path: Path) -> None:
    client = create_app(Settings(model=tone_model_path)).test_client()
    assert client.get("/healthz").status_code == 200
    for response in (client.get("/readyz"), client.post("/predict", data=wav("up"))):
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        assert response.get_json()["type"] == "/problems/not-ready"


def test_an_unexpected_error_tells_nothing(
    app_client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr("service.routes.predict.classify", broken)
    app_client.application.config["PROPAGATE_EXCEPTIONS"] = False
    response = app_client.post("/predict", data=wav("up"))
    assert response.status_code == 500
    assert response.get_json()["type"] == "/problems/internal-error"
    assert b"secret" not in response.data
    assert "the secret of the house" in caplog.text  # the operator's log has it


@pytest.mark.parametrize("path", ["/", "/healthz", "/nowhere", "/static/page.js"])
def test_security_headers(http: httpx.Client, path: str) -> None:
    headers = http.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_health(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == http.get("/livez").json() == {"status": "alive"}
    assert http.get("/readyz").json() == {
        "status": "ready",
        "model_version": "0123456789ab",
        "labels": ["up", "down", "yes", "no"],
        "samples": "4 of 4 samples classified correctly.",
    }


def test_the_page_needs_nothing_from_elsewhere(http: httpx.Client) -> None:
    page = http.get("/")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    for resource in ("/static/microphone.js", "/static/rule.js", "/static/page.js", "/static/style.css"):
        assert f'"{resource}"' in page.text
        answer = http.get(resource)
        assert answer.status_code == 200
        assert "url(" not in answer.text
        assert "://" not in answer.text
    # The policy forbids inline script and style, so none may be needed.
    assert "<style" not in page.text
    assert "style=" not in page.text
    assert " onclick" not in page.text
    assert page.text.count("<script") == page.text.count('<script src="/static/') == 3


def test_a_refused_upload_ends_its_connection(server: Server) -> None:
    """The body is left unread, so the answer must say that no other request can follow."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", "/predict", headers={"Content-Length": "50000000"})
    response = connection.getresponse()
    assert response.status == 413
    assert response.headers["Connection"] == "close"
    connection.close()
    connection.request("POST", "/predict", b"x")
    assert connection.getresponse().headers["Connection"] == "keep-alive"
    connection.close()
