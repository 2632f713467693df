"""Slow senders, slow readers, one-byte connections, floods: others are answered meanwhile, by order and count."""

import socket
import struct
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from .server import LOCAL, Server
from .tones import encode, tone, wav

HEAD = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


def answered(server: Server, times: int = 5) -> None:
    """Health and others' requests must be answered while the attack goes on; the client's own patience is 20 s."""
    for _ in range(times):
        assert httpx.get(f"{server.url}/livez", timeout=20, **LOCAL).status_code == 200
        answer = httpx.post(f"{server.url}/predict", content=wav("yes"), timeout=20, **LOCAL)
        assert answer.json()["prediction"] == "yes"


def connect(server: Server, data: bytes = b"", receive_buffer: int = 0) -> socket.socket:
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(data)
    return connection


def read(connection: socket.socket) -> bytes:
    """Until the server closes."""
    answer = b""
    try:
        while piece := connection.recv(65_536):
            answer += piece
    except ConnectionResetError:
        pass
    return answer


@pytest.mark.parametrize(
    "start",
    [b"", b"G", b"GET /livez HTTP/1.1\r\nX: ", HEAD % 32_044 + wav("up")[:3_000]],
    ids=["silent", "one byte", "within a header", "within a body"],
)
def test_those_who_do_not_send_on_stop_nobody(tone_model_path: Path, tmp_path: Path, start: bytes) -> None:
    with Server(tmp_path, tone_model_path, workers=1, request_timeout=4) as server:
        slow = [connect(server, start) for _ in range(64)]
        answered(server)
        for connection in slow:  # all are cut off, those who have asked with an answer
            answer = read(connection)
            assert not answer or (b" 408 " in answer and b"problems/request-timeout" in answer), answer
            assert bool(answer) == start.startswith(b"POST")
        assert not any("exception" in line for line in server.log())


def test_those_who_drip_get_one_total_time(tone_model_path: Path, tmp_path: Path) -> None:
    with Server(tmp_path, tone_model_path, workers=1, request_timeout=2) as server:
        body, header = connect(server, HEAD % 100_000), connect(server, b"GET / HTTP/1.1\r\nX: ")
        dripped = 0
        try:
            while dripped < 1_000:
                body.sendall(b"x")
                header.sendall(b"x")
                dripped += 1
                time.sleep(0.1)
        except OSError:  # one of them is cut off
            pass
        assert 1 < dripped < 1_000
        answered(server, 1)


@pytest.mark.parametrize("path", [b"/openapi.json", b"/metrics", b"/livez"])
def test_those_who_never_read_stop_nobody(tone_model_path: Path, tmp_path: Path, path: bytes) -> None:
    """They ask for megabytes of answers, read none, and are gone by the kernel's time."""
    with Server(tmp_path, tone_model_path, workers=1, request_timeout=3) as server:
        flood = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path * 2_000
        sockets = server.sockets()
        deaf = []
        for _ in range(16):
            deaf.append(connect(server, receive_buffer=4096))
            deaf[-1].setblocking(False)
            deaf[-1].send(flood)
        answered(server)
        server.until(lambda: server.sockets() <= sockets)
        assert not any("exception" in line for line in server.log())


def test_past_capacity_503_and_no_wrong_answer(tone_model_path: Path, tmp_path: Path) -> None:
    body = encode(tone("yes", 30.0), container="FLAC")
    with Server(tmp_path, tone_model_path, workers=1, queue=2) as server:
        with ThreadPoolExecutor(24) as pool, httpx.Client(base_url=server.url, timeout=60, **LOCAL) as client:
            answers = list(pool.map(lambda _: client.post("/predict", content=body), range(72)))
        statuses = Counter(answer.status_code for answer in answers)
        assert set(statuses) == {200, 503}
        assert statuses[200] >= 3
        for answer in answers:
            if answer.status_code == 503:
                assert (answer.headers["Retry-After"], answer.json()["type"]) == ("1", "problems/overloaded")
            else:
                assert answer.json()["prediction"] == "yes"
        assert server.metrics()['kws_rejected_total{reason="overloaded"}'] == statuses[503]
        assert server.stop() == 0


def test_the_bytes_of_all_bodies_are_bounded(tone_model_path: Path, tmp_path: Path) -> None:
    """Each is allowed; together they are too many: the last are refused, and the first can be finished."""
    body = encode(tone("yes", 20.0))
    with Server(tmp_path, tone_model_path, workers=1, max_upload_bytes=700_000, max_held_bytes=1_500_000) as server:
        held = [connect(server, HEAD % len(body) + body[:600_000]) for _ in range(2)]

        def refused() -> bytes:
            with connect(server, HEAD % len(body) + body[:600_000]) as one:
                return one.recv(1000)

        server.until(lambda: b" 503 " in refused())
        for connection in held:
            connection.sendall(body[600_000:])
            assert b'"prediction": "yes"' in connection.recv(100_000)
            connection.close()
        assert server.ask(("POST", "/predict", body))[0]["prediction"] == "yes"


def test_connections_are_bounded(tone_model_path: Path, tmp_path: Path) -> None:
    with Server(tmp_path, tone_model_path, workers=1, max_connections=16, request_timeout=5) as server:
        silent = [connect(server) for _ in range(60)]
        cut = [connection for connection in silent if closed(connection)]
        assert len(cut) >= 44
        server.until(lambda: answers(server))  # the silent ones are gone after the request timeout
        assert not any("exception" in line for line in server.log())


def closed(connection: socket.socket) -> bool:
    """Whether the server has closed it, or does so soon."""
    connection.settimeout(1)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def answers(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/livez", timeout=20, **LOCAL).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize(
    ("settings", "status"),
    [({"api_keys": "ab" * 32}, 401), ({"max_upload_bytes": 100_000}, 413), ({"rate_limit": "1/hour"}, 429)],
)
def test_a_refusal_reaches_who_sends_before_reading(
    tone_model_path: Path, tmp_path: Path, settings: dict[str, Any], status: int
) -> None:
    """10 MB; the kernel's reset would take the answer back if the connection was closed with data unread."""
    body = bytes(10_000_000)
    with Server(tmp_path, tone_model_path, workers=1, **settings) as server:
        if "rate_limit" in settings:
            assert httpx.get(f"{server.url}/v2", **LOCAL).status_code == 200
        for head in (
            HEAD % len(body),
            HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked") + b"989680\r\n",
        ):
            answer = server.raw(head + body + b"\r\n0\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
            assert b"application/problem+json" in answer
        aborted = connect(server, HEAD % len(body) + body[:1_000_000])
        aborted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        aborted.close()
        assert httpx.get(f"{server.url}/livez", **LOCAL).status_code == 200
        assert server.stop() == 0
        assert not any("exception" in line for line in server.log())
