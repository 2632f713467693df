"""Past capacity: refused at once, answered rightly; slow clients are cut off and starve nobody."""

from __future__ import annotations

import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from .server import Server
from .tones import encode, tone, wav


def send(server: Server, data: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), 20)
    connection.sendall(data)
    return connection


def test_past_capacity_503_at_once(tone_model_path: Path, tmp_path: Path) -> None:
    body = encode(tone("yes", 60.0), container="FLAC")

    def post(_: int) -> tuple[int, float]:
        begin = time.monotonic()
        answer = client.post("/predict", content=body)
        if answer.status_code == 503:
            assert answer.headers["Retry-After"] == "1"
            assert answer.json()["type"] == "/problems/overloaded"
        else:
            assert answer.json()["prediction"] == "yes"
        return answer.status_code, time.monotonic() - begin

    with Server(tmp_path, tone_model_path, workers=1, threads=1, queue=2) as server:
        # One client for all: each of its own would load certificates for as long as an answer takes.
        with ThreadPoolExecutor(24) as pool, httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
            answers = list(pool.map(post, range(48)))
        statuses = Counter(status for status, _ in answers)
        assert set(statuses) == {200, 503}
        assert statuses[200] >= 3
        refused = [seconds for status, seconds in answers if status == 503]
        assert sorted(refused)[len(refused) // 2] < 1
        text = httpx.get(f"{server.url}/metrics", trust_env=False).text
        assert f'kws_rejected_total{{reason="overloaded"}} {statuses[503]}.0' in text
        assert server.stop() == 0


def test_idle_and_slow_connections_starve_nobody(tone_model_path: Path, tmp_path: Path) -> None:
    """More idle connections than threads, and a body that drips into one of the two threads."""
    with Server(tmp_path, tone_model_path, workers=1, threads=2, request_timeout=2) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
        slow = send(server, b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        begin = time.monotonic()
        while time.monotonic() - begin < 1.5:
            slow.sendall(b"x")
            asked = time.monotonic()
            assert httpx.post(f"{server.url}/predict", content=wav("up"), trust_env=False).status_code == 200
            assert time.monotonic() - asked < 1
        answer = b""
        while piece := slow.recv(65_536):  # head and body come in pieces
            answer += piece
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"/problems/request-timeout" in answer
        assert time.monotonic() - begin < 6
        for connection in (slow, *idle):
            connection.close()


def test_a_dripping_header_is_cut_off(tone_model_path: Path, tmp_path: Path) -> None:
    with Server(tmp_path, tone_model_path, workers=1, request_timeout=1) as server:
        connection = send(server, b"GET /livez HTTP/1.1\r\nX: ")
        begin = time.monotonic()
        try:
            while time.monotonic() - begin < 10:
                connection.sendall(b"a")
                time.sleep(0.1)
        except OSError:
            pass
        assert time.monotonic() - begin < 6
        assert not any("exception" in line for line in server.log())
