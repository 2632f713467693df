"""Downloading from a real HTTP server that behaves in all the ways servers do."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model.data import archive
from model.errors import UserError

BODY = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(BODY).hexdigest()
PART, WHOLE = f"{SHA256[:32]}.part", SHA256[:32]


class Server(BaseHTTPRequestHandler):
    """Serves ``BODY``. ``drop_after``: bytes a response before the line goes dead; None for never."""

    drop_after: int | None = None
    ranges = True
    status = 200
    url = ""
    requests: list[str]  # the Range header of each, or ""

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.requests.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        if self.status != 200 or start >= len(BODY):
            self.send_error(self.status if self.status != 200 else 416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        self.wfile.write(BODY[start:][: self.drop_after])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[type[Server]]:
    """A handler of its own, changed as the test's parameter says."""
    handler = type("Changed", (Server,), {"requests": [], **request.param})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        handler.url = handler.url or f"http://127.0.0.1:{running.server_port}/archive.tar.gz"  # type: ignore[attr-defined]
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield handler
        running.shutdown()


@pytest.fixture(autouse=True)
def downloads(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(archive, "_PAUSE", 0)
    (own_cache / "downloads").mkdir(parents=True)
    return own_cache / "downloads"


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock" and path.stat().st_size)


@pytest.mark.parametrize(
    ("server", "part", "requests"),  # what the server does, what of the archive is there, the Range of each request
    [
        ({}, b"", [""]),
        ({"drop_after": 400_000}, b"", ["", "bytes=400000-", "bytes=800000-"]),
        ({}, BODY[:1000], ["bytes=1000-"]),
        ({}, BODY, [f"bytes={len(BODY)}-"]),
        ({}, b"x" * 1000, ["bytes=1000-", ""]),  # of another file
        ({"ranges": False}, BODY[:1000], ["bytes=1000-"]),
    ],
    indirect=["server"],
)
def test_a_file_arrives_whole_once_and_what_has_arrived_is_gone_on_with(
    server: type[Server], downloads: Path, part: bytes, requests: list[str]
) -> None:
    (downloads / PART).write_bytes(part)
    arrived = [archive.official(server.url, sha256).read_bytes() for sha256 in (SHA256, SHA256.upper())]
    assert arrived == [BODY, BODY]
    assert (server.requests, left(downloads)) == (requests, [WHOLE])


@pytest.mark.parametrize(
    ("server", "sha256", "message", "requests", "kept"),
    [
        ({}, "0" * 64, f"wrong checksum: SHA-256 {SHA256}; give the right --dataset-sha256", 1, []),
        ({"drop_after": 5000}, SHA256, r"the connection ended early; .*run again to go on", 8, [PART]),
        ({"status": 404}, SHA256, "HTTP 404 Not Found; check --dataset-url", 1, []),
        ({"status": 503}, SHA256, "HTTP 503", 8, []),
        ({"url": "http://127.0.0.1:1/a"}, SHA256, r"cannot download .*/a: .*refused; check the network", 0, []),
        ({"url": "file:///etc/passwd"}, SHA256, r"is not an http\(s\) address", 0, []),
    ],
    indirect=["server"],
)
def test_what_does_not_arrive_is_named(
    server: type[Server], downloads: Path, sha256: str, message: str, requests: int, kept: list[str]
) -> None:
    with pytest.raises(UserError, match=message):
        archive.official(server.url, sha256)
    assert (len(server.requests), left(downloads)) == (requests, kept)
