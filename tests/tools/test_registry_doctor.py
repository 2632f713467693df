"""What the doctor says of a registry, against one in memory and, where it is installed, Debian's own."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tools.doctor import EXIT_FAILED, State
from tools.free_port import free_port
from tools.registry import doctor
from tools.registry.client import Registry

NAME, USER, PASSWORD = "me/words", "me", "hunter2"
LOGIN = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
CONFIG = b"{}"
IMAGE = json.dumps({"config": {"digest": "sha256:c"}}).encode()
INDEX = json.dumps({"manifests": [{"digest": "sha256:i"}]}).encode()


class Fake(ThreadingHTTPServer):
    """A registry with tokens; who may do what are ``may[login]``, and what it holds is ``held``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server_port}"
        self.may: dict[str | None, str] = {LOGIN: "pull,push", None: "pull"}
        self.held = {"manifests/latest": INDEX, "manifests/sha256:i": IMAGE, "blobs/sha256:c": CONFIG}
        self.blobs_at = ""  # another server that gives the blobs out
        self.cancels = True
        self.asked: list[tuple[str, str]] = []
        self.logins: list[tuple[str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    server: Fake

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        parts, login = urlsplit(self.path), self.headers["Authorization"]
        self.server.asked.append((self.command, parts.path))
        self.server.logins.append((parts.path, login))
        if parts.path == "/token":
            actions = parse_qs(parts.query)["scope"][0].removeprefix(f"repository:{NAME}:")
            if login not in self.server.may:
                self.answer(401)
            elif set(actions.split(",")) <= set(self.server.may[login].split(",")):
                self.answer(200, json.dumps({"token": actions}).encode())
            else:
                self.answer(403)
        elif login is None or not login.startswith("Bearer "):
            realm = f'Bearer realm="http://{self.server.host}/token",service="test"'
            self.answer(401, WWW_Authenticate=realm)
        else:
            self.granted(parts.path.removeprefix(f"/v2/{NAME}/"))

    do_POST = do_DELETE = do_GET  # noqa: N815

    def granted(self, path: str) -> None:
        if self.command == "POST":
            self.answer(202, Location=f"/v2/{NAME}/blobs/uploads/1")
        elif self.command == "DELETE":
            self.answer(204 if self.server.cancels else 405)
        elif path not in self.server.held:
            self.answer(404)
        elif path.startswith("blobs/") and self.server.blobs_at:
            self.answer(307, Location=f"{self.server.blobs_at}/there?signature=x")
        else:
            self.answer(200, self.server.held[path], Docker_Content_Digest="sha256:d")


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def states(host: str, username: str = "", password: str = "") -> dict[str, tuple[State, str]]:
    registry = Registry(f"{host}/{NAME}", plain_http=True, username=username, password=password)
    findings = list(doctor.examine(registry))
    for finding in findings:
        assert not password or password not in str(finding)
        assert "\n" not in str(finding)
    return {finding.name: (finding.state, finding.text) for finding in findings}


def test_all_is_well(fake: Fake) -> None:
    found = states(fake.host, USER, PASSWORD)
    assert {state for state, _ in found.values()} == {State.OK}
    assert list(found) == ["registry", "push", "pull", "anonymous pull"]
    # The upload is cancelled, and nothing else is written.
    assert [asked for asked in fake.asked if asked[0] != "GET"] == [
        ("POST", f"/v2/{NAME}/blobs/uploads/"),
        ("POST", f"/v2/{NAME}/blobs/uploads/"),
        ("DELETE", f"/v2/{NAME}/blobs/uploads/1"),
        ("DELETE", f"/v2/{NAME}/blobs/uploads/1"),
    ]
    assert {path for path, login in fake.logins if login == LOGIN} == {"/token"}


def test_an_upload_that_cannot_be_cancelled_is_left_to_expire(fake: Fake) -> None:
    fake.cancels = False
    assert states(fake.host, USER, PASSWORD)["push"][0] is State.OK


def test_a_token_that_may_not_push_is_told_from_one_that_is_wrong(fake: Fake) -> None:
    fake.may[LOGIN] = "pull"
    found = states(fake.host, USER, PASSWORD)
    assert found["push"][0] is State.FAILED
    assert "packages: write" in found["push"][1]
    assert found["pull"][0] is State.OK
    found = states(fake.host, USER, "another")
    assert found["push"][0] is State.FAILED
    assert "check --username and --password" in found["push"][1]
    assert found["pull"][0] is State.FAILED


def test_without_credentials_the_push_fails_and_the_pull_is_anyones(fake: Fake) -> None:
    found = states(fake.host)
    assert [found[name][0] for name in found] == [State.OK, State.FAILED, State.SKIPPED, State.OK]


def test_a_private_package_is_a_warning_alone(fake: Fake) -> None:
    del fake.may[None]
    found = states(fake.host, USER, PASSWORD)
    assert found["pull"][0] is State.OK
    assert found["anonymous pull"][0] is State.WARNING
    assert "Change visibility" in found["anonymous pull"][1]


@pytest.mark.parametrize("anyone", [True, False])
def test_where_nothing_is_published_yet_there_is_nothing_to_pull(fake: Fake, anyone: bool) -> None:
    fake.held = {}
    if not anyone:
        del fake.may[None]
    found = states(fake.host, USER, PASSWORD)
    assert found["push"][0] is State.OK
    assert found["pull"] == (State.SKIPPED, "nothing is published as latest yet")
    assert found["anonymous pull"][0] is (State.SKIPPED if anyone else State.WARNING)


def test_a_package_that_the_registry_hides_is_not_there_yet(fake: Fake) -> None:
    class Hiding(doctor.Session):
        def request(self, method: str, path: str, actions: str = "pull") -> doctor.Answer:
            answer = super().request(method, path, actions)
            return doctor.Answer(403, answer.headers, b"") if path.startswith("manifests/") else answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "Session", Hiding)
        assert states(fake.host, USER, PASSWORD)["pull"][0] is State.SKIPPED


def test_a_release_that_is_not_whole_fails(fake: Fake) -> None:
    del fake.held["blobs/sha256:c"]
    found = states(fake.host, USER, PASSWORD)
    assert found["pull"][0] is State.FAILED
    assert "is not whole" in found["pull"][1]


def test_the_host_that_gives_blobs_out_is_asked_without_the_login_and_named(fake: Fake) -> None:
    with Fake() as other:
        threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True).start()
        fake.blobs_at = f"http://{other.host}"
        found = states(fake.host, USER, PASSWORD)
        assert {login for _, login in other.logins} == {None}
        other.shutdown()
    assert found["pull"][0] is State.FAILED
    assert f"gives its blobs out at {other.host}" in found["pull"][1]
    fake.blobs_at = "http://nobody.invalid"
    assert "nobody.invalid, which must be reached too: no such host" in states(fake.host, USER, PASSWORD)["pull"][1]


def test_a_registry_that_does_not_answer_is_one_failure(free: str) -> None:
    found = states(free, USER, PASSWORD)
    assert [state for state, _ in found.values()] == [State.FAILED] + [State.SKIPPED] * 3
    assert "nobody.invalid is no host that can be found: check --address" in states("nobody.invalid")["registry"][1]


@pytest.fixture
def free() -> str:
    return f"127.0.0.1:{free_port()}"


def test_from_the_command_line(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    command = [sys.executable, "-m", "tools.registry", f"--address=ghcr.io/{NAME}", f"--endpoint={fake.host}/{NAME}"]
    command += ["--plain-http", f"--username={USER}", f"--password-file={tmp_path / 'password'}", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"ok       pull: ghcr.io/{NAME}:latest sha256:d" in done.stdout.splitlines()
    fake.may[LOGIN] = "pull"
    assert subprocess.run(command, capture_output=True).returncode == EXIT_FAILED


@pytest.fixture
def debians(tmp_path: Path) -> Iterator[str]:
    """Debian's registry, which lets USER in with PASSWORD alone."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    address = f"127.0.0.1:{free_port()}"
    (tmp_path / "htpasswd").write_text(f"{USER}:$2b$10$H3rCM1oS5lUiiNxUvQ3JEOEQx6zoijuQMEtfmYO.PzVuQtaYHPXnm\n")
    (tmp_path / "registry.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/data}}}}\n"
        f"http: {{addr: '{address}'}}\nauth: {{htpasswd: {{realm: test, path: {tmp_path}/htpasswd}}}}\n"
    )
    with subprocess.Popen(["docker-registry", "serve", str(tmp_path / "registry.yml")]) as server:
        try:
            for _ in range(100):
                try:
                    urllib.request.urlopen(f"http://{address}/v2/", timeout=5).close()
                except urllib.error.HTTPError:
                    break
                except OSError:
                    time.sleep(0.1)
            yield address
        finally:
            server.terminate()


def test_on_debians_registry_it_leaves_nothing_behind(debians: str, tmp_path: Path) -> None:
    found = states(debians, USER, "the-right-password")
    assert found["push"] == (State.OK, f"an upload to {debians}/{NAME} was begun, and cancelled")
    assert found["pull"][0] is State.SKIPPED
    assert found["anonymous pull"][0] is State.WARNING
    assert states(debians, USER, "another")["push"][0] is State.FAILED
    login = {"Authorization": f"Basic {base64.b64encode(f'{USER}:the-right-password'.encode()).decode()}"}
    request = urllib.request.Request(f"http://{debians}/v2/_catalog", headers=login)
    assert json.load(urllib.request.urlopen(request, timeout=5)) == {"repositories": []}
    kept = {path.name for path in (tmp_path / "data").rglob("*")}
    assert "blobs" not in kept
    assert "_manifests" not in kept
