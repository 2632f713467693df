"""Downloading from a real HTTP server that behaves in all the ways servers do."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model.data.download import download
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


def _get(server: Server, target: Path, sha256: str = SHA256) -> None:
    download(server.url, sha256, target, pause=0)


def test_a_file_arrives_whole_with_its_progress_told(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    download(server.url, SHA256, tmp_path / "a", lambda *now: told.append(now), pause=0)
    assert (tmp_path / "a").read_bytes() == BODY
    assert told[-1] == (len(BODY), len(BODY))
    assert not (tmp_path / "a.part").exists()


def test_a_dropped_connection_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.drop_after = 400_000
    _get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY
    assert server.requests == ["", "bytes=400000-", "bytes=800000-"]


def test_a_part_left_by_a_killed_run_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(BODY[:1000])
    _get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY
    assert server.requests == ["bytes=1000-"]


def test_a_complete_part_is_only_verified(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(BODY)
    _get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY


def test_a_part_of_another_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"x" * 1000)
    _get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY
    assert server.requests == ["bytes=1000-", ""]


def test_a_server_without_ranges_sends_it_all_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "a.part").write_bytes(BODY[:1000])
    _get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == BODY


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"wrong checksum: SHA-256 {SHA256}, expected {'0' * 64}"):
        _get(server, tmp_path / "a", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_never_finishes_is_given_up_with_the_part_kept(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.drop_after = 5000
    with pytest.raises(UserError, match=r"the connection ended early \(5,000 bytes kept\)"):
        _get(server, tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a.part"]


def test_not_found_is_not_tried_again(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(UserError, match=r"HTTP 404 Not Found; check --dataset-url"):
        _get(server, tmp_path / "a")
    assert len(server.requests) == 1


def test_a_failing_server_is_tried_a_few_times(server: Server, tmp_path: Path) -> None:
    server.status = 503
    with pytest.raises(UserError, match="HTTP 503"):
        _get(server, tmp_path / "a")
    assert len(server.requests) == 4


def test_an_unreachable_server_is_named(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(UserError, match=rf"cannot download http://127.0.0.1:{port}/a: .*check the network"):
        download(f"http://127.0.0.1:{port}/a", SHA256, tmp_path / "a", pause=0)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/a", "no address"])
def test_only_http_is_fetched(url: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not an http\(s\) address"):
        download(url, SHA256, tmp_path / "a")
