"""What the doctor says of addresses that answer and of those that do not, on loopback."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tools import doctor

NOWHERE = "http://127.0.0.1:1"


class Server(ThreadingHTTPServer):
    """Answers ``pages``; keeps path, range and login of every request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.pages: dict[str, str] = {}
        self.asked: list[tuple[str, str | None, str | None]] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.path, self.headers["Range"], self.headers["Authorization"]))
        content = self.server.pages.get(self.path)
        self.send_response(404 if content is None else 200)
        self.end_headers()
        self.wfile.write((content or "").encode())

    do_POST = do_GET  # noqa: N815


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.shutdown()
    running.server_close()


def link(to: str) -> str:
    return f'<!DOCTYPE html><html><body><a data-x="1" href="{to}">x</a></body></html>'


def test_an_index_answers_where_its_page_and_its_files_do(server: Server) -> None:
    server.pages = {"/simple/pip/": link("../../files/a&amp;b.whl#sha256=0"), "/files/a&b.whl": "wheel"}
    doctor.package_index(f"{server.url}/simple/", "pip")
    # A byte of the file is enough.
    assert [asked[:2] for asked in server.asked] == [("/simple/pip/", "bytes=0-65535"), ("/files/a&b.whl", "bytes=0-0")]


@pytest.mark.parametrize(
    ("page", "message"),
    [(link(f"{NOWHERE}/a.whl"), f"{NOWHERE}/a.whl: .*refused"), ("<html>please log in</html>", "lists no file")],
)
def test_what_does_not_answer_is_named(server: Server, page: str, message: str) -> None:
    server.pages = {"/simple/pip/": page}
    with pytest.raises(doctor.UnansweredError, match=message):
        doctor.package_index(f"{server.url}/simple", "pip")


def test_a_login_in_an_address_goes_to_its_host_alone_and_into_no_message(server: Server) -> None:
    secret = server.url.replace("://", "://me:hunter%402@") + "/simple"
    other = Server()
    token = f"Basic {base64.b64encode(b'me:hunter@2').decode()}"
    server.pages = {"/simple/pip/": link("/a.whl"), "/a.whl": "wheel"}
    doctor.package_index(secret, "pip")
    assert [login for _, _, login in server.asked] == [token, token]
    server.pages = {"/simple/pip/": link(f"{other.url}/a.whl?signature=hunter3")}
    with pytest.raises(doctor.UnansweredError, match="HTTP 404") as said:
        doctor.package_index(secret, "pip")
    assert "hunter" not in str(said.value)
    assert other.asked == [("/a.whl?signature=hunter3", "bytes=0-0", None)]
    other.shutdown()
    other.server_close()


@pytest.mark.parametrize(
    ("address", "reason"),
    [(NOWHERE, "refused"), ("http://nobody.invalid", "no such host"), ("not an address", "unknown url type")],
)
def test_an_address_that_cannot_be_read(address: str, reason: str) -> None:
    with pytest.raises(doctor.UnansweredError, match=reason) as said:
        doctor.read(address)
    assert "\n" not in str(said.value)


def test_osv_is_asked_as_the_scanner_asks(server: Server) -> None:
    server.pages = {"/v1/querybatch": '{"results": [{}]}'}
    doctor.vulnerability_source(server.url)
    server.pages = {"/v1/querybatch": '{"greeting": "hello"}'}
    with pytest.raises(doctor.UnansweredError, match="does not answer as OSV"):
        doctor.vulnerability_source(server.url)


def test_every_check_is_made_whatever_failed(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.pages = {"/set": "x", "/simple/pip/": link("/a.whl"), "/a.whl": "wheel"}
    common = [f"--dataset-url={server.url}/set", f"--torch-index={NOWHERE}", "--vulnerability-source="]
    for index, code, state in ((f"{server.url}/simple", 0, "ok"), (NOWHERE, doctor.FAILED, "FAILED")):
        monkeypatch.setattr("sys.argv", ["doctor", *common, f"--package-index={index}"])
        assert doctor.main() == code
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == [state, "warning", "ok", "skipped"]
        assert "--torch-index" in lines[1]
