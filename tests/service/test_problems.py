"""Every error is an RFC 9457 problem document, and what every response carries."""

import json
from urllib.parse import urljoin

import httpx
import numpy as np
import pytest

from service.problems import PROBLEMS

from .server import Make, Server
from .tones import encode, tone, wav

INFER = "/v2/models/kws/infer"
POST, CHUNKED = b"POST /predict HTTP/1.1\r\nHost: a\r\n", b"Transfer-Encoding: chunked\r\n\r\n"
NAN = encode(np.where(np.arange(16_000)[:, None] == 5, np.nan, tone("up")), subtype="FLOAT")


def check(response: httpx.Response, name: str) -> str:
    """The response must be that problem; returns its detail."""
    kind, document = PROBLEMS[name], response.json()
    assert response.status_code == kind.status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    assert set(document) - {"error"} == {"type", "title", "status", "detail", "request_id"}
    # Relative to the request, as RFC 9457 has it.
    assert urljoin(response.request.url.raw_path.decode(), document["type"]) == f"/problems/{name}"
    assert (document["status"], document["title"]) == (kind.status, kind.title)
    assert document["request_id"] == response.headers["X-Request-ID"]
    assert kind.remedy in document["detail"]
    assert "Traceback" not in response.text
    return str(document["detail"])


@pytest.mark.parametrize(
    ("method", "path", "body", "problem", "says"),
    [
        ("POST", "/predict", b"", "nothing-uploaded", "no audio"),
        ("POST", "/predict", b"hello", "not-audio", "no audio"),
        ("POST", "/predict/", b"hello", "not-audio", "no audio"),
        ("POST", "/detect", b"hello", "not-audio", "no audio"),
        ("POST", "/predict", wav("up", 60.5), "audio-too-long", "at most 60 s"),
        ("POST", "/predict", encode(np.zeros((0, 1), np.int16)), "audio-empty", "no samples"),
        ("POST", "/predict", NAN, "audio-samples", "no number"),
        ("POST", INFER, b"hello", "bad-request", "request of the protocol"),
        ("POST", "/v2/models/x/infer", b"", "not-found", "The one model"),
        ("GET", "/nothing/here", b"", "not-found", "nothing at this path"),
        ("GET", "/static/../app.py", b"", "not-found", ""),
        ("GET", "/samples/..%2f..%2fapp", b"", "not-found", ""),
        ("GET", "/problems/none", b"", "not-found", "no such problem"),
        ("GET", "/predict", b"", "method-not-allowed", "method"),
        ("DELETE", "/readyz", b"", "method-not-allowed", "method"),
        ("GET", "/listen", b"", "upgrade-required", "WebSocket"),
    ],
)
def test_problems(http: httpx.Client, method: str, path: str, body: bytes, problem: str, says: str) -> None:
    answer = http.request(method, path, content=body or None)
    assert says in check(answer, problem)
    if problem == "method-not-allowed":
        assert {"POST", "GET"} & set(answer.headers["Allow"].split(", "))


def test_too_large(server: Server, http: httpx.Client) -> None:
    """The fixture's limit is 4 MB; `test_slow_clients` has the raw ways. Who waits for 100 is spared sending."""
    answer = http.post("/predict", files={"file": wav("up", 130.0)})
    assert "at most 4000000 bytes" in check(answer, "too-large")
    with server.connect(POST + b"Content-Length: 50000000\r\nExpect: 100-continue\r\n\r\n") as connection:
        head = connection.recv(10_000).partition(b"\r\n\r\n")[0]
        assert head.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in head.lower()


def test_every_problem_type_describes_itself(http: httpx.Client) -> None:
    for name, kind in PROBLEMS.items():
        document = http.get(f"/problems/{name}").json()
        assert document == {"type": name, "status": kind.status, "title": kind.title, "remedy": kind.remedy}


def test_an_unexpected_error_tells_nothing(
    client: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr("service.predict.classify", broken)
    monkeypatch.setattr("service.detect.detect", broken)
    for count, path in enumerate(("/predict", "/detect"), 1):
        response = client().post(path, wav("up"))
        check(response, "internal-error")
        assert b"secret" not in response.content
        assert caplog.text.count("RuntimeError: the secret of the house") == count  # the operator's log has it


@pytest.mark.parametrize("path", ["/", "/healthz", "/nowhere", "/static/page.js", "/docs/", "/predict"])
def test_what_every_answer_carries(http: httpx.Client, path: str) -> None:
    headers = http.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    is_page = "json" not in headers["Content-Type"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers.get("Referrer-Policy") == ("no-referrer" if is_page else None)
    assert headers["Cache-Control"] == ("no-cache" if "static" in path else "no-store")


@pytest.mark.parametrize(
    ("head", "status", "says"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9_000, 431, "KWS_MAX_HEADER_BYTES"),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: 1\r\n" % i for i in range(200)) + b"Host: a", 431, "KWS_MAX_HEADERS"),
        (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: a", 414, "in the body"),
        (b"GET /listen HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket", 426, "WebSocket"),
        (POST + b"Transfer-Encoding: other", 501, "not HTTP"),
        *((POST + b"Content-Length: " + value, 400, "not HTTP") for value in (b"-1", b"+5", b"5\r\nContent-Length: 6")),
        (POST + b"Content-Length: 99999999999999999999", 413, "at most"),
        (POST + b"Content-Length: 5\r\n" + CHUNKED, 400, "not HTTP"),
        *((POST + CHUNKED + chunk, 400, "") for chunk in (b"zz\r\n", b"5\r\nabc")),
        *(
            (POST + cut, 0, "") for cut in (CHUNKED + b"F" * 17 + b"\r\nabc", b"Content-Length: 2000000")
        ),  # nobody is there
        (b"GET /%ff%fe%00 HTTP/1.1\r\nHost: a", 404, "nothing at this path"),
        *((start, 400, "not HTTP") for start in (b"GARBAGE", b"\x16\x03\x01\x02\x00\x01", b"\0" * 1000)),
        (b"GET / HTTP/9.9\r\nHost: a", 400, "not HTTP"),
    ],
)
def test_what_is_no_http_is_answered_whole(server: Server, head: bytes, status: int, says: str) -> None:
    """Also to a client that goes on sending before it reads, which a reset would rob of its answer."""
    with server.unharmed():
        answer = server.raw(head + b"\r\n\r\n" + b"x" * 1_000_000)
    if not status:
        assert answer == b""
        return
    top, _, body = answer.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"application/problem+json" in top
    document = json.loads(body[: body.index(b"\n")])
    assert document["status"] == status
    assert says in document["detail"]
    assert "Traceback" not in document["detail"]


def test_head_is_get_without_its_body(server: Server, http: httpx.Client) -> None:
    for path, status in {"/": 200, "/livez": 200, "/nothing": 404, "/predict": 405}.items():
        answer = http.head(path)
        assert (answer.status_code, answer.content) == (status, b"")
        assert int(answer.headers["Content-Length"]) > 0
    assert not server.messages("ASGI app sent body bytes")


def test_what_single_sign_on_brings_is_taken(http: httpx.Client) -> None:
    headers = {"Cookie": "a" * 8_000} | {f"X-{i}": "1" for i in range(80)}
    assert http.get("/livez?" + "a" * 3_000, headers=headers).status_code == 200
