"""What the doctor says of addresses that answer and of those that do not, on loopback."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tools import doctor
from tools.doctor import Finding, State

NOWHERE = "http://127.0.0.1:1"
DEBIAN = 'ID=debian\nVERSION_CODENAME="trixie"\n'


class Server(ThreadingHTTPServer):
    """Answers ``pages``; keeps path, range and login of every request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.pages: dict[str, str] = {}
        self.asked: list[tuple[str, str | None, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.path, self.headers["Range"], self.headers["Authorization"]))
        content = self.server.pages.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content.encode())

    do_POST = do_GET  # noqa: N815


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def link(to: str) -> str:
    return f'<!DOCTYPE html><html><body><a data-x="1" href="{to}">x</a></body></html>'


def test_an_index_answers_where_its_page_and_its_files_do(server: Server) -> None:
    server.pages = {"/simple/pip/": link("../../files/a&amp;b.whl#sha256=0"), "/files/a&b.whl": "wheel"}
    finding = doctor.package_index(f"{server.url}/simple/")
    assert finding == Finding(State.OK, "package index", f"{server.url}/simple/ and its files answer")
    assert [path for path, _, _ in server.asked] == ["/simple/pip/", "/files/a&b.whl"]
    assert server.asked[1][1] == "bytes=0-0"  # one byte of it is enough


def test_the_host_of_the_files_is_named_where_that_one_does_not_answer(server: Server) -> None:
    server.pages = {"/simple/pip/": link(f"{NOWHERE}/a.whl"), "/whl/torch/": link(f"{NOWHERE}/t.whl")}
    failed = doctor.package_index(f"{server.url}/simple")
    assert failed.state is State.FAILED
    assert f"{NOWHERE}/a.whl" in failed.text
    assert "--package-index" in failed.text
    # Without torch's own index it goes on, with another build.
    warned = doctor.torch_index(f"{server.url}/whl")
    assert warned.state is State.WARNING
    assert "--torch-index" in warned.text
    assert doctor.torch_index("").state is State.SKIPPED


def test_a_login_in_an_address_goes_to_its_host_alone_and_into_no_message(server: Server) -> None:
    secret = server.url.replace("://", "://me:hunter%402@")
    token = f"Basic {base64.b64encode(b'me:hunter@2').decode()}"
    server.pages = {"/simple/pip/": link("/a.whl"), "/a.whl": "wheel"}
    assert "hunter" not in str(doctor.package_index(f"{secret}/simple"))
    assert [login for _, _, login in server.asked] == [token, token]
    with Server() as other:
        threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True).start()
        server.pages = {"/simple/pip/": link(f"{other.url}/a.whl?signature=hunter3")}
        said = str(doctor.package_index(f"{secret}/simple"))
        assert "HTTP 404" in said
        assert "hunter" not in said
        assert other.asked == [("/a.whl?signature=hunter3", "bytes=0-0", None)]
        other.shutdown()


def test_a_page_that_is_no_index_is_told_from_one(server: Server) -> None:
    server.pages = {"/simple/pip/": "<html>please log in</html>"}
    failed = doctor.package_index(f"{server.url}/simple")
    assert failed.state is State.FAILED
    assert "lists no file" in failed.text


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (NOWHERE, "Connection refused"),
        ("http://nobody.invalid", "no such host"),
        ("ftp://x", ""),
        ("not an address", "unknown url type"),
    ],
)
def test_the_data_set_names_what_to_change(address: str, reason: str) -> None:
    failed = doctor.dataset(f"{address}/set.tar.gz")
    assert failed.state is State.FAILED
    assert reason in failed.text
    assert "--dataset-url" in failed.text
    assert "\n" not in failed.text


def test_of_the_data_set_only_a_byte_is_read(server: Server) -> None:
    server.pages = {"/set.tar.gz": "x" * 100}
    assert doctor.dataset(f"{server.url}/set.tar.gz").state is State.OK
    assert server.asked[0][1] == "bytes=0-0"
    assert doctor.dataset("").state is State.SKIPPED


def test_debians_mirror_is_needed_to_publish_alone(server: Server, tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text(DEBIAN)
    server.pages = {"/debian/dists/trixie/InRelease": "Origin: Debian"}
    assert doctor.debian(f"{server.url}/", True, release).state is State.OK
    assert doctor.debian(NOWHERE, True, release).state is State.FAILED
    warned = doctor.debian(NOWHERE, False, release)
    assert warned.state is State.WARNING
    assert "--debian-mirror" in warned.text
    release.write_text("ID=alpine\n")
    assert "--base-image" in doctor.debian(server.url, True, release).text


def test_the_vulnerability_source_is_asked_as_the_audit_asks(server: Server) -> None:
    server.pages = {"/v1/querybatch": json.dumps({"results": [{}]})}
    assert doctor.vulnerabilities(server.url).state is State.OK
    server.pages = {"/v1/querybatch": json.dumps({"greeting": "hello"})}
    failed = doctor.vulnerabilities(server.url)
    assert failed.state is State.FAILED
    assert "--bounds=max_vulnerabilities=false" in failed.text
    assert doctor.vulnerabilities(NOWHERE).state is State.FAILED
    assert doctor.vulnerabilities("").state is State.SKIPPED


def test_from_the_command_line_every_check_is_made_whatever_failed(server: Server) -> None:
    server.pages = {"/set": "x", "/simple/pip/": link("/a.whl"), "/a.whl": "wheel"}
    command = [sys.executable, "-m", "tools.doctor", f"--debian-mirror={NOWHERE}", f"--dataset-url={server.url}/set"]
    fine = subprocess.run([*command, f"--package-index={server.url}/simple"], capture_output=True, text=True)
    assert fine.returncode == 0, fine.stdout + fine.stderr
    failed = subprocess.run([*command, f"--package-index={NOWHERE}"], capture_output=True, text=True)
    assert failed.returncode == doctor.EXIT_FAILED
    assert [line.split()[0] for line in failed.stdout.splitlines()] == ["FAILED", "skipped", "ok", "warning", "skipped"]
