"""Downloading from a real HTTP server that behaves in all the ways servers do."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from model.data import download
from model.data.download import official
from model.errors import UserError

BODY = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(BODY).hexdigest()
PART, WHOLE = f"{SHA256[:32]}.part", SHA256[:32]


class Server(ThreadingHTTPServer):
    """Serves ``BODY``. ``drop_after``: bytes a response before the line goes dead; None for never."""

    drop_after: int | None = None
    ranges = True
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[str] = []  # the Range header of each, or ""
        self.url = f"http://127.0.0.1:{self.server_port}/archive.tar.gz"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range", "")
        server.requests.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        if server.status != 200 or start >= len(BODY):
            self.send_error(server.status if server.status != 200 else 416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        self.wfile.write(BODY[start:][: server.drop_after])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture(autouse=True)
def downloads(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(download, "_PAUSE", 0)
    (own_cache / "downloads").mkdir(parents=True)
    return own_cache / "downloads"


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock" and path.stat().st_size)


# What the server does and what of the archive is there already -> the Range of each request.
WORKS: dict[str, tuple[dict[str, Any], bytes, list[str]]] = {
    "at once": ({}, b"", [""]),
    "the connection ends early": ({"drop_after": 400_000}, b"", ["", "bytes=400000-", "bytes=800000-"]),
    "after a killed run": ({}, BODY[:1000], ["bytes=1000-"]),
    "all is there": ({}, BODY, [f"bytes={len(BODY)}-"]),
    "the part is of another file": ({}, b"x" * 1000, ["bytes=1000-", ""]),
    "a server that sends all again": ({"ranges": False}, BODY[:1000], ["bytes=1000-"]),
}


@pytest.mark.parametrize("case", WORKS)
def test_a_file_arrives_whole_once_and_what_has_arrived_is_gone_on_with(
    server: Server, downloads: Path, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    served, part, requests = WORKS[case]
    vars(server).update(served)
    (downloads / PART).write_bytes(part)
    with caplog.at_level("INFO", "model"):
        assert [official(server.url, sha256).read_bytes() for sha256 in (SHA256, SHA256.upper())] == [BODY, BODY]
    assert (server.requests, left(downloads)) == (requests, [WHOLE])
    assert caplog.messages[0] == f"downloading {server.url}"
    assert (caplog.messages[-1] == "downloading (MB): 1 of 1") is (part != BODY)


@pytest.mark.parametrize(
    ("served", "url", "sha256", "message", "requests", "kept"),
    [
        ({}, "", "0" * 64, f"wrong checksum: SHA-256 {SHA256}; give the right --dataset-sha256", 1, []),
        ({"drop_after": 5000}, "", SHA256, r"the connection ended early; .*run again to go on", 8, [PART]),
        ({"status": 404}, "", SHA256, "HTTP 404 Not Found; check --dataset-url", 1, []),
        ({"status": 503}, "", SHA256, "HTTP 503", 8, []),
        ({}, "http://127.0.0.1:{}/a", SHA256, r"cannot download .*/a: .*refused; check the network", 0, []),
        ({}, "file:///etc/passwd", SHA256, r"is not an http\(s\) address", 0, []),
    ],
)
def test_what_does_not_arrive_is_named(
    server: Server,
    downloads: Path,
    served: dict[str, Any],
    url: str,
    sha256: str,
    message: str,
    requests: int,
    kept: list[str],
) -> None:
    vars(server).update(served, ranges=False)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(UserError, match=message):
        official(url.format(port) or server.url, sha256)
    assert (len(server.requests), left(downloads)) == (requests, kept)
