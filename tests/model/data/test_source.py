"""Downloading from a real HTTP server that behaves in all the ways servers do."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from model.data.source import _fetch
from model.errors import UserError

BODY = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(BODY).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:5000] if self.path == "/short" else BODY)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_file_arrives_whole_once_with_its_progress_told(url: str, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    (tmp_path / f"{SHA256[:32]}.part").write_bytes(b"of a killed run")
    path = _fetch(url, SHA256, tmp_path, lambda *now: told.append(now))
    assert (path.read_bytes() == BODY, told[-1]) == (True, (len(BODY), len(BODY)))
    assert _fetch("http://127.0.0.1:1/not-asked", SHA256, tmp_path) == path
    assert {each.suffix for each in tmp_path.iterdir()} == {"", ".lock"}


@pytest.mark.parametrize(
    ("place", "sha256", "message"),
    [
        ("{}/a", "0" * 64, f"wrong checksum: SHA-256 {SHA256}; give the right --dataset-sha256"),
        ("{}/short", SHA256, r"cannot download .*: the connection ended early; .* `curl -LOC - .*/short` fetches"),
        ("{}/missing", SHA256, "cannot download .*: Not Found; check it and the network"),
        ("http://127.0.0.1:1/a", SHA256, "cannot download .*refused"),
        ("file:///etc/passwd", SHA256, r"is not an http\(s\) address"),
        ("{}/a", "abc", "--dataset-sha256 'abc' is no SHA-256"),
    ],
)
def test_what_goes_wrong_is_named_and_nothing_is_taken_for_the_archive(
    url: str, tmp_path: Path, place: str, sha256: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        _fetch(place.format(url), sha256, tmp_path)
    assert not (tmp_path / sha256[:32]).exists()
