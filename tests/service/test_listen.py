"""`GET /listen` through the real server: what is heard live is what `/detect` finds in the same recording."""

import json
from contextlib import ExitStack, suppress
from itertools import product
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .server import KEY, Serve, Server
from .tones import encode, spoken, tone


def listen(server: Server, path: str = "/listen", key: str = KEY, **options: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}{path}", proxy=None, additional_headers={"X-API-Key": key}, **options)


def ending(connection: ClientConnection, last: Any = None) -> tuple[list[Any], int | None, str]:
    """What is still said after the message `last`, and the close code with its reason."""
    found: list[Any] = []
    with suppress(ConnectionClosed):
        if last is not None:
            connection.send(last)
        while True:
            found.append(json.loads(connection.recv(timeout=60)))
    return found, connection.close_code, connection.close_reason or ""


@pytest.mark.parametrize(("rate", "frame"), [(16_000, 1_600), (16_000, 33), (16_000, 30_000), (48_000, 4_800)])
def test_the_same_rule_live(server: Server, http: httpx.Client, rate: int, frame: int) -> None:
    """A detection comes while the audio goes on."""
    counted = 'kws_detections_total{endpoint="listen",label="yes"}'
    before, found = server.metrics().get(counted, 0), []
    samples = np.pad(spoken("yes", "down", rate=rate) * 32_767, [(0, 2 * rate), (0, 0)]).astype("<i2")
    with listen(server, f"/listen?rate={rate}&threshold=0.6") as stream:
        for part in np.split(samples, [rate * 23 // 10]):
            for start in range(0, len(part), frame):
                stream.send(part[start : start + frame].tobytes())
            found.append(json.loads(stream.recv(timeout=60)))
            assert server.metrics()["kws_streams"] == 1
        assert ending(stream, "end") == ([], 1000, "")
    server.until(lambda: server.metrics()["kws_streams"] == 0)
    assert server.metrics()[counted] == before + 1
    expected = http.post("/detect?threshold=0.6", content=encode(samples, rate)).json()["detections"]
    assert [one["label"] for one in found] == ["yes", "down"]
    for live, one in zip(found, expected, strict=True):
        assert (live["start"], live["end"]) == pytest.approx((one["start"], one["end"]), abs=0.011)
        assert live["confidence"] == pytest.approx(one["confidence"], abs=0.002)


@pytest.mark.parametrize(
    ("path", "options", "message", "code", "says"),
    [
        *(("", {"origin": origin}, "end", 1000, "") for origin in (None, "https://app.example")),
        ("", {"origin": "https://evil.example"}, None, 1008, "another origin"),
        ("", {"key": ""}, None, 1008, "unauthorized"),
        ("/other", {}, None, 1008, "not-found"),
        *((f"?{query}", {}, None, 1008, query.partition("=")[0]) for query in ("rate=0", "rate=1e4", "threshold=2")),
        *(("", {}, message, 1007, "PCM16") for message in ("hello", "", "end ", b"odd")),
        ("", {}, bytes(70_000), 1009, ""),
    ],
)
def test_how_a_stream_ends(guarded: Server, path: str, options: Any, message: Any, code: int, says: str) -> None:
    with listen(guarded, f"/listen{path}", **options) as stream:
        _, closed, reason = ending(stream, message)
    assert closed == code
    assert says in reason


def test_how_many_may_listen_and_how_long_in_silence(guarded: Server) -> None:
    with ExitStack() as stack:
        open_ones = [stack.enter_context(listen(guarded)) for _ in range(3)]
        for stream in open_ones:
            stream.send(bytes(64))
        _, code, reason = ending(stack.enter_context(listen(guarded)))
        assert (code, reason) == (1013, "overloaded: 3 streams are open.")
        for stream in open_ones:
            assert ending(stream)[1:] == (1008, "No audio came for too long.")
    with listen(guarded, origin=f"http://127.0.0.1:{guarded.port}") as again:
        assert ending(again, "end")[1] == 1000


def test_what_comes_faster_than_it_is_heard_waits_at_the_client(server: Server) -> None:
    """40 MB are heard to their end; the service holds little of them at a time, and answers others."""
    before = server.resident()
    with listen(server) as stream:
        for _ in range(600):
            stream.send(bytes(64_000))
        grown = server.resident() - before
        assert server.predict(encode(tone("no"))).json()["prediction"] == "no"
        assert ending(stream, "end")[1] == 1000
    assert grown < 16_000_000


HANDSHAKE = (
    b"GET /listen HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def test_hostile_frames_cost_no_worker(server: Server) -> None:
    """First bytes of every kind, with lengths and masks that promise too much or too little."""
    tails = [b"", b"\x80", b"\x00", b"\xfe\x00\x01\0\0\0\0a", b"\xff" + b"\xff" * 8 + b"\0\0\0\0", b"\x82\0\0\0\0ab"]
    with server.unharmed():
        for first, tail in product(range(0, 256, 3), tails):
            server.connect(HANDSHAKE + bytes([first]) + tail).close()
        with listen(server) as stream:
            assert ending(stream, "end")[1] == 1000


def test_at_the_end_of_the_service_streams_are_told(serve: Serve) -> None:
    server = serve()
    with listen(server) as stream:
        stream.send(bytes(64))
        server.process.terminate()
        assert ending(stream)[1:] == (1001, "The service stops.")
        assert server.process.wait(30) == 0
