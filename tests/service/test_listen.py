"""`GET /listen` through the real server: what is heard live is what `/detect` finds in the same recording."""

import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .server import Server
from .tones import encode, tone

KEY = "a key"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


@pytest.fixture(scope="module")
def guarded(tone_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One worker with keys, three streams and a listed origin."""
    settings: dict[str, Any] = {
        "api_keys": DIGEST,
        "streams": 3,
        "cors_origins": "https://app.example",
        "request_timeout": 3,
    }
    with Server(tmp_path_factory.mktemp("guarded"), tone_model_path, workers=1, **settings) as server:
        yield server


def listen(server: Server, query: str = "", path: str = "/listen", **options: Any) -> ClientConnection:
    options.setdefault("additional_headers", {"X-API-Key": KEY})
    return connect(f"ws://127.0.0.1:{server.port}{path}{query}", proxy=None, **options)


def speech(rate: int) -> np.ndarray[Any, Any]:
    """int16[samples]: silence, "yes", silence, "down", silence."""
    gap = np.zeros((rate, 1), np.float32)
    parts = [gap, tone("yes", 0.6, rate), gap, tone("down", 0.5, rate), gap]
    return (np.concatenate(parts)[:, 0] * 32767).astype("<i2")


def ending(connection: ClientConnection) -> tuple[list[Any], int, str]:
    """What is still said, and the close code with its reason."""
    found = []
    try:
        while True:
            found.append(json.loads(connection.recv(timeout=60)))
    except ConnectionClosed as closed:
        end = closed.rcvd
    return found, end.code if end else 0, end.reason if end else ""


@pytest.mark.parametrize(("rate", "frame"), [(16_000, 1_600), (16_000, 33), (16_000, 30_000), (48_000, 4_800)])
def test_the_same_rule_live(server: Server, http: httpx.Client, rate: int, frame: int) -> None:
    samples = speech(rate)
    with listen(server, f"?rate={rate}") as stream:
        for start in range(0, len(samples), frame):
            stream.send(samples[start : start + frame].tobytes())
        stream.send("end")
        found, code, _ = ending(stream)
    assert code == 1000
    expected = http.post("/detect", content=encode(samples, rate)).json()["detections"]
    assert [one["label"] for one in found] == ["yes", "down"]
    for live, one in zip(found, expected, strict=True):
        assert (live["start"], live["end"]) == pytest.approx((one["start"], one["end"]), abs=0.011)
        assert live["confidence"] == pytest.approx(one["confidence"], abs=0.002)


def test_a_detection_comes_while_the_audio_goes_on(server: Server) -> None:
    before = server.metrics().get('kws_detections_total{endpoint="listen",label="yes"}', 0)
    samples = speech(16_000)
    with listen(server, "?threshold=0.6") as stream:
        stream.send(samples[:28_000].tobytes())
        assert json.loads(stream.recv(timeout=60))["label"] == "yes"
        assert server.metrics()["kws_streams"] == 1
        for start in range(28_000, len(samples), 1_600):
            stream.send(samples[start : start + 1_600].tobytes())
        assert json.loads(stream.recv(timeout=60))["label"] == "down"
    server.until(lambda: server.metrics()["kws_streams"] == 0)
    assert server.metrics()['kws_detections_total{endpoint="listen",label="yes"}'] == before + 1


@pytest.mark.parametrize(
    ("path", "options", "code", "says"),
    [
        ("/listen", {"additional_headers": {}}, 1008, "unauthorized"),
        ("/listen", {"origin": "https://evil.example"}, 1008, "another origin"),
        ("/other", {}, 1008, "not-found"),
        ("/listen?rate=0", {}, 1008, "rate"),
        ("/listen?rate=1e4", {}, 1008, "rate"),
        ("/listen?threshold=2", {}, 1008, "threshold"),
    ],
)
def test_refusals_say_why(guarded: Server, path: str, options: dict[str, Any], code: int, says: str) -> None:
    with listen(guarded, path=path, **options) as stream:
        _, closed, reason = ending(stream)
    assert closed == code
    assert says in reason


@pytest.mark.parametrize("origin", [None, "https://app.example", "own"])
def test_who_may_listen(guarded: Server, origin: Any) -> None:
    with listen(guarded, origin=f"http://127.0.0.1:{guarded.port}" if origin == "own" else origin) as stream:
        stream.send("end")
        assert ending(stream)[1] == 1000


def test_streams_are_bounded_in_number_and_idle_time(guarded: Server) -> None:
    with ExitStack() as stack:
        open_ones = [stack.enter_context(listen(guarded)) for _ in range(3)]
        for stream in open_ones:
            stream.send(bytes(64))
        _, code, reason = ending(stack.enter_context(listen(guarded)))
        assert (code, reason) == (1013, "overloaded: 3 streams are open.")
        for stream in open_ones:
            _, code, reason = ending(stream)
            assert (code, reason) == (1008, "No audio came for too long.")
    with listen(guarded) as again:
        again.send("end")
        assert ending(again)[1] == 1000


@pytest.mark.parametrize(
    ("message", "code"), [("hello", 1007), (b"odd", 1007), (bytes(70_000), 1009), ("", 1007), ("end ", 1007)]
)
def test_other_messages_end_the_stream(server: Server, message: Any, code: int) -> None:
    with listen(server) as stream:
        stream.send(message)
        assert ending(stream)[1] == code


HANDSHAKE = (
    b"GET /listen HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def test_hostile_frames_cost_no_worker(server: Server) -> None:
    """Every first byte, with lengths and masks that promise too much or too little."""
    workers = server.workers()
    tails = [b"", b"\x80", b"\x00", b"\xfe\x00\x01\0\0\0\0a", b"\xff" + b"\xff" * 8 + b"\0\0\0\0", b"\x82\0\0\0\0ab"]
    for first in range(0, 256, 3):
        for tail in tails:
            with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
                connection.sendall(HANDSHAKE + bytes([first]) + tail)
    with listen(server) as stream:
        stream.send("end")
        assert ending(stream)[1] == 1000
    assert server.workers() == workers
    assert not any("exception" in line for line in server.log())


def test_at_the_end_of_the_service_streams_are_told(tone_model_path: Path, tmp_path: Path) -> None:
    with Server(tmp_path, tone_model_path, workers=1) as server, listen(server) as stream:
        stream.send(bytes(64))
        server.process.terminate()
        _, code, reason = ending(stream)
        assert (code, reason) == (1001, "The service stops.")
        assert server.process.wait(30) == 0
