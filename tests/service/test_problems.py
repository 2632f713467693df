"""Every error is an RFC 9457 problem document, whichever layer answers, and what every response carries."""

import json
from unittest.mock import Mock

import httpx
import pytest

from service.problems import PROBLEMS

from .server import Make, Server, check
from .tones import wav

PREDICT, DETECT, INFER, MODELS = "POST /predict", "POST /detect", "POST /v2/models/kws/infer", "GET /v2/models/"
REFUSED = [
    *((path, b"hello", "not-audio", "no audio") for path in (PREDICT, "POST /predict/", DETECT)),
    *((f"{DETECT}?threshold={text}", wav("up"), "bad-request", "threshold") for text in ("0", "nan", "x", "-1", "")),
    (f"{DETECT}?sensitivity=low", wav("up"), "bad-request", "the model has none"),
    (INFER, b"hello", "bad-request", "request of the protocol"),
    *((f"{MODELS}{path}", b"", "not-found", "The one model") for path in ("other", "kws/versions/0", "x/ready")),
    ("POST /v2/models/x/infer", b"", "not-found", "The one model"),
    ("GET /nothing/here", b"", "not-found", "nothing at this path"),
    *((f"GET /{path}", b"", "not-found", "") for path in ("static/../app.py", "samples/..%2f..%2fapp")),
    ("GET /problems/none", b"", "not-found", "no such problem"),
    *((asked, b"", "method-not-allowed", "method") for asked in ("GET /predict", "DELETE /readyz")),
    ("GET /listen", b"", "upgrade-required", "WebSocket"),
]


@pytest.mark.parametrize(("asked", "body", "problem", "says"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_is_refused(http: httpx.Client, asked: str, body: bytes, problem: str, says: str) -> None:
    """By its path; `test_predict` has the bodies."""
    answer = http.request(*asked.split(), content=body or None)
    check(answer, problem, says)
    assert problem != "method-not-allowed" or {"POST", "GET"} & set(answer.headers["Allow"].split(", "))


def test_a_problem_type_describes_itself(http: httpx.Client) -> None:
    kind = PROBLEMS["not-audio"]
    document = {"type": "not-audio", "status": kind.status, "title": kind.title, "remedy": kind.remedy}
    assert http.get("/problems/not-audio").json() == document


@pytest.mark.parametrize(("path", "broken"), [("/predict", "predict.classify"), ("/detect", "detect.detect")])
def test_an_unexpected_error_tells_nothing(
    client: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str, broken: str
) -> None:
    monkeypatch.setattr(f"service.{broken}", Mock(side_effect=RuntimeError("the secret of the house")))
    answer = client().post(path, wav("up"))
    check(answer, "internal-error")
    assert "secret" not in answer.text
    assert "RuntimeError: the secret of the house" in caplog.text  # the operator's log has it


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


POST, CHUNKED = b"POST /predict HTTP/1.1\r\nHost: a\r\n", b"Transfer-Encoding: chunked\r\n\r\n"


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
        (POST + b"Content-Length: 50000000\r\nExpect: 100-continue", 413, "at most 4000000 bytes"),  # no 100 before it
        (POST + b"Content-Length: 5\r\n" + CHUNKED, 400, "not HTTP"),
        *((POST + CHUNKED + chunk, 400, "") for chunk in (b"zz\r\n", b"5\r\nabc")),
        # Who does not send the rest, nor waits for an answer, gets none.
        *((POST + cut, 0, "") for cut in (CHUNKED + b"F" * 17 + b"\r\nabc", b"Content-Length: 2000000")),
        (b"GET /%ff%fe%00 HTTP/1.1\r\nConnection: close\r\nHost: a", 404, "nothing at this path"),
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
    assert b"connection: close" in top.lower()
    document = json.loads(body)
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
