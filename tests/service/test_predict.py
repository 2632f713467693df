"""`POST /predict` through the real server, and every error: an RFC 9457 problem document, whichever layer answers."""

import base64
import gzip
import json
import re
import zlib
from typing import Any
from unittest.mock import patch

import httpx
import numpy as np
import pytest

from service.problems import FORMATS, PROBLEMS

from .inside_image import KINDS
from .server import Make, Server, check
from .tones import LABELS, VERSION, encode, tone, wav


def predict(http: httpx.Client, data: bytes) -> dict[str, Any]:
    response = http.post("/predict", content=data)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/json"
    answer: dict[str, Any] = response.json()
    for scores in (answer, *answer.get("windows", [])):
        assert list(scores["probabilities"]) == LABELS
        assert sum(scores["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert scores["probabilities"][scores["prediction"]] == scores["confidence"]
    return answer


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2)])
@pytest.mark.parametrize(("container", "subtype"), KINDS)
def test_the_right_word(http: httpx.Client, rate: int, channels: int, container: str, subtype: str) -> None:
    for label in LABELS:
        answer = predict(http, encode(tone(label, 1.0, rate, channels), rate, container, subtype))
        assert (answer["prediction"], answer["model_version"]) == (label, VERSION)
        audio = {"sample_rate": rate, "channels": channels, "format": container}
        assert answer["audio"] == audio | {"seconds": pytest.approx(1, abs=0.11)}
        if subtype == "PCM_16" and rate == 16_000:  # the model's rule by hand: softmax over (8, 0, 0, 0)
            assert answer["confidence"] == pytest.approx(np.exp(8) / (np.exp(8) + 3), abs=2e-6)
            assert "windows" not in answer


@pytest.mark.parametrize(("threshold", "accepted"), [("0.5", True), ("0.9", True), ("0.9999", False)])
def test_accepted_says_whether_the_threshold_is_reached(client: Make, threshold: str, accepted: bool) -> None:
    answer = client({} if threshold == "0.5" else {"threshold": threshold}).post("/predict", content=wav("up")).json()
    assert (answer["accepted"], answer["threshold"]) == (accepted, float(threshold))


def test_a_minute_in_one_request(http: httpx.Client) -> None:
    answer = predict(http, encode(tone("yes", 60.0), container="FLAC"))
    assert (answer["audio"]["seconds"], answer["windows"][-1]["end"], len(answer["windows"])) == (60.0, 60.0, 237)


def test_the_headers_of_requests_and_answers(server: Server, http: httpx.Client) -> None:
    many = {"Cookie": "a" * 8_000} | {f"X-{i}": "1" for i in range(80)}  # as single sign-on brings
    assert http.get("/livez?" + "a" * 3_000, headers=many).status_code == 200
    response = http.post("/predict", content=wav("up"), headers={"X-Request-ID": "trace:1.a_B-2"})
    assert response.headers["X-Request-ID"] == response.json()["request_id"] == "trace:1.a_B-2"
    timing = dict(re.findall(r"(\w+);dur=([\d.]+)", response.headers["Server-Timing"]))
    assert set(timing) == {"receive", "decode", "inference", "total"}
    assert float(timing["inference"]) == response.json()["latency_ms"]
    for harmful in ("", "a b", 'x"y', "<script>", "a" * 129, "a;b"):
        made = [http.get("/healthz", headers={"X-Request-ID": harmful}).headers["X-Request-ID"] for _ in range(2)]
        assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in made)
        assert made[0] != made[1]
    for path in ("/", "/healthz", "/nowhere", "/static/page.js", "/docs/", "/predict"):
        headers, without = http.get(path).headers, http.head(path)
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; ")
        assert ("unsafe" in policy, "frame-ancestors 'none'" in policy) == (False, True)
        is_page = "json" not in headers["Content-Type"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers.get("Referrer-Policy") == ("no-referrer" if is_page else None)
        assert headers["Cache-Control"] == ("no-cache" if "static" in path else "no-store")
        assert (without.content, int(without.headers["Content-Length"]) > 0) == (b"", True)
    assert not server.messages("ASGI app sent body bytes")


WAV = wav("yes")
BASE64 = base64.b64encode(WAV).decode()
PCM, STEREO = ((tone("yes", channels=count) * 32767).astype("<i2") for count in (1, 2))
TYPE, L16 = "Content-Type", {"Content-Type": "audio/L16;rate=16000"}
FORM, GZIP, END = {TYPE: "multipart/form-data; boundary=b"}, {"Content-Encoding": "gzip"}, b"--b--\r\n"
RAW = zlib.compressobj(wbits=-15)
Headers = dict[str, str]


def part(name: str, data: bytes, rest: str = "") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{rest}\r\n\r\n'.encode() + data + b"\r\n"


JSON = json.dumps({"audio": BASE64}).encode()
READ: dict[str, tuple[bytes, Headers]] = {
    "x-gzip": (gzip.compress(WAV), {"Content-Encoding": "X-GZIP"}),
    "members": (gzip.compress(WAV[:99]) + gzip.compress(WAV[99:]) + b"\0" * 9, GZIP),
    "deflate": (zlib.compress(WAV), {"Content-Encoding": "deflate"}),
    "raw deflate": (RAW.compress(WAV) + RAW.flush(), {"Content-Encoding": "deflate"}),
    "identity": (WAV, {"Content-Encoding": "identity"}),
    "form in gzip": (gzip.compress(part("file", WAV, '; filename="a"') + END), GZIP | FORM),
    "part without a file name": (part("file", WAV) + END, FORM),
    "other fields": (part("x", b"1") + part("file", WAV, '; filename="ü.wav"') + b"--b--", FORM),
    "preamble, epilogue": (b"hello\r\n" + part("file", WAV, "; filename=a") + END + b"bye", FORM),
    "a name like another part's": (part("x", b"1", '; filename="; name=file ;"') + part("file", WAV) + END, FORM),
    "its name last": (part("a", WAV).replace(b'name="a"', b'filename="\\"a;.wav"; name=file') + END, FORM),
    "data like delimiters": (part("file", WAV + b"--b\r\n--\r\n\r\n" + part("file", b"")[5:]) + END, FORM),
    "JSON": (JSON, {TYPE: "application/json"}),
    "JSON without its media type": (JSON, {}),
    "data in JSON": (JSON.replace(b': "', b': "data:audio/wav;base64,'), {}),
    "URL-safe": (JSON.translate(bytes.maketrans(b"+/", b"-_")).replace(b"=", b""), {}),
    "data address": (f"data:audio/wav;base64,{BASE64}".encode(), {}),
    "L16": (PCM.byteswap().tobytes(), L16),
    "L16 stereo": (STEREO.byteswap().tobytes(), {TYPE: "audio/l16; channels=2; rate=16000"}),
    "PCM": (PCM.tobytes(), {TYPE: "audio/pcm;rate=16000"}),
    "a WAV called L16": (WAV, {TYPE: "audio/L16;rate=8000"}),
    "channels that cancel each other": (encode(tone("yes", channels=2) * [1, -1]), {}),
}


@pytest.mark.parametrize(("body", "headers"), READ.values(), ids=READ)
def test_what_is_read(http: httpx.Client, body: bytes, headers: Headers) -> None:
    answer = http.post("/predict", content=body, headers=headers)
    assert (answer.status_code, answer.json().get("prediction")) == (200, "yes"), answer.text
    heard = http.post("/detect", content=body, headers=headers).json()["detections"]
    assert [found["label"] for found in heard] == ["yes"]


MP4 = b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0"
REFUSED: list[tuple[bytes, Headers, str, str]] = [
    (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01" + bytes(400), {TYPE: "audio/wav"}, "not-audio", "WebM"),
    (MP4, {}, "not-audio", "M4A"),
    (part("file", MP4, '; filename="a.wav"') + END, FORM, "not-audio", "ffmpeg"),
    (b"hello", {}, "not-audio", FORMATS),
    (PCM.tobytes(), {}, "not-audio", "audio/L16;rate=16000"),
    *((PCM.tobytes(), {TYPE: f"audio/L16{rate}"}, "bad-request", "rate") for rate in ("", ";rate=0")),
    (PCM.tobytes()[1:], L16, "bad-request", "all channels"),
    *((WAV, {"Content-Encoding": name}, "content-encoding", repr(name)) for name in ("br", "gzip, gzip")),
    (WAV, GZIP, "bad-request", "not gzip"),
    (gzip.compress(WAV)[:-9], GZIP, "bad-request", "ended before"),
    # 100 MB of zeros in 100 kB, once and with its like behind it.
    *((gzip.compress(bytes(10**8)) * times, GZIP, "too-large", "4000000 bytes, inflated") for times in (1, 2)),
    *((text, {}, "not-audio", "JSON") for text in (b"{", b'{"a":' * 100_000)),
    *((text, {}, "nothing-uploaded", "'audio'") for text in (b"{}", b'{"audio": 1}')),
    *((text, {}, "nothing-uploaded", "no audio") for text in (b"", b'{"audio": ""}')),
    (b'{"audio": "%%%"}', {}, "bad-request", "base64"),
    (part("file", WAV) + part("file", WAV) + END, FORM, "several-files", "2 fields"),
    (part("other", WAV) + END, FORM, "nothing-uploaded", "no file field"),
    (part("file", WAV), FORM, "nothing-uploaded", "cut off"),
    (part("file", WAV) + END, {TYPE: "multipart/form-data"}, "nothing-uploaded", ""),
    (b"".join(part(f"x{i}", b"1") for i in range(50)) + END, FORM, "too-large", "parts"),
    (wav("up", 60.5), {}, "audio-too-long", "may last 60 s"),
    (wav("up", 130.0), {}, "too-large", "at most 4000000 bytes"),
    (encode(np.zeros((0, 1), np.int16)), {}, "audio-empty", "no samples"),
    (encode(np.where(np.arange(99) == 5, np.nan, 0.1), subtype="FLOAT"), {}, "audio-samples", "no number"),
]


@pytest.mark.parametrize(("body", "headers", "problem", "says"), REFUSED, ids=[" ".join(row[2:]) for row in REFUSED])
def test_refusals_and_what_to_send(http: httpx.Client, body: bytes, headers: Headers, problem: str, says: str) -> None:
    """The problem's type has an address, which describes it."""
    answer, kind = http.post("/predict", content=body, headers=headers), PROBLEMS[problem]
    check(answer, problem, says)
    assert problem != "content-encoding" or answer.headers["Accept-Encoding"] == "gzip, deflate"
    described = {"type": problem, "status": kind.status, "title": kind.title, "remedy": kind.remedy}
    assert http.get(answer.json()["type"]).json() == described


PREDICT, DETECT, INFER, MODELS = "POST /predict", "POST /detect", "POST /v2/models/kws/infer", "GET /v2/models/"
PATHS = [
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


@pytest.mark.parametrize(("asked", "body", "problem", "says"), PATHS, ids=[row[0] for row in PATHS])
def test_what_is_refused_by_its_path(http: httpx.Client, asked: str, body: bytes, problem: str, says: str) -> None:
    answer = http.request(*asked.split(), content=body or None)
    check(answer, problem, says)
    assert problem != "method-not-allowed" or {"POST", "GET"} & set(answer.headers["Allow"].split(", "))


@pytest.mark.parametrize(("path", "broken"), [("/predict", "predict.classify"), ("/detect", "detect.detect")])
def test_unexpected_errors_tell_nothing(client: Make, caplog: pytest.LogCaptureFixture, path: str, broken: str) -> None:
    with patch(f"service.{broken}", side_effect=RuntimeError("the secret of the house")):
        answer = client().post(path, content=wav("up"))
    check(answer, "internal-error")
    assert "secret" not in answer.text
    assert "RuntimeError: the secret of the house" in caplog.text  # the operator's log has it


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
