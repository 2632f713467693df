"""Downloading from a real HTTP server that behaves in all the ways servers do."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model.data.download import official
from model.errors import UserError

BODY = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves ``body``. ``drop_after``: bytes a response before the line goes dead; None for never."""

    body = BODY
    drop_after: int | None = None
    ranges = True
    status = 200
    requests: list[str]  # the Range header of each request, or ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/archive.tar.gz"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range", "")
        server.requests.append(asked)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        if start >= len(server.body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
        rest = server.body[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest if server.drop_after is None else rest[: server.drop_after])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


PART, WHOLE = f"{SHA256[:32]}.part", SHA256[:32]


def get(server: Server, cache: Path, sha256: str = SHA256) -> bytes:
    return official(server.url, sha256, cache, pause=0).read_bytes()


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_a_file_arrives_whole_once_with_its_progress_told(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    path = official(server.url, SHA256.upper(), tmp_path, lambda *now: told.append(now), pause=0)
    assert path.read_bytes() == BODY
    assert told[-1] == (len(BODY), len(BODY))
    assert get(server, tmp_path) == BODY
    assert server.requests == [""]
    assert left(tmp_path) == [WHOLE]


@pytest.mark.parametrize(
    ("part", "dropped", "ranges", "requests"),
    [
        (b"", 400_000, True, ["", "bytes=400000-", "bytes=800000-"]),  # the connection ends early
        (BODY[:1000], None, True, ["bytes=1000-"]),  # a killed run
        (BODY, None, True, [f"bytes={len(BODY)}-"]),
        (b"x" * 1000, None, True, ["bytes=1000-", ""]),  # of another file
        (BODY[:1000], None, False, ["bytes=1000-"]),  # a server that sends all again
    ],
)
def test_what_has_arrived_is_gone_on_with(
    server: Server, tmp_path: Path, part: bytes, dropped: int | None, ranges: bool, requests: list[str]
) -> None:
    server.drop_after, server.ranges = dropped, ranges
    if part:
        (tmp_path / PART).write_bytes(part)
    assert get(server, tmp_path) == BODY
    assert server.requests == requests
    assert left(tmp_path) == [WHOLE]


@pytest.mark.parametrize(
    ("status", "dropped", "sha256", "message", "requests", "kept"),
    [
        (200, None, "0" * 64, f"wrong checksum: SHA-256 {SHA256}, expected {'0' * 64}", 1, []),
        (200, 5000, SHA256, r"the connection ended early \(5,000 bytes kept\)", 5, [PART]),
        (404, None, SHA256, "HTTP 404 Not Found; check --dataset-url", 1, []),
        (503, None, SHA256, "HTTP 503", 4, []),
    ],
)
def test_a_failing_server_is_named(
    server: Server, tmp_path: Path, status: int, dropped: int | None, sha256: str, message: str, requests: int,
    kept: list[str],
) -> None:  # fmt: skip
    server.status, server.drop_after, server.ranges = status, dropped, False
    with pytest.raises(UserError, match=message):
        get(server, tmp_path, sha256)
    assert (len(server.requests), left(tmp_path)) == (requests, kept)


def test_an_unreachable_server_is_named(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(UserError, match=rf"cannot download http://127.0.0.1:{port}/a: .*check the network"):
        official(f"http://127.0.0.1:{port}/a", SHA256, tmp_path, pause=0)


@pytest.mark.parametrize(
    ("url", "sha256", "message"),
    [
        ("file:///etc/passwd", SHA256, r"is not an http\(s\) address"),
        ("no address", SHA256, r"is not an http\(s\) address"),
        ("http://127.0.0.1/a", "abc", "--dataset-sha256 'abc' is no SHA-256"),
    ],
)
def test_bad_options_are_refused(url: str, sha256: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        official(url, sha256, tmp_path)
