"""The service as tests use it: a process of its own (`Server`), or the application in this process (`Client`)."""

import hashlib
import json
import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin

import anyio
import httpx

from service.asgi import Service
from service.problems import PROBLEMS

from .tones import save_samples

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "service"]
# For httpx: no proxy from the environment, and no certificates, which would be read anew for each client.
LOCAL: Any = {"trust_env": False, "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "timeout": 20}
KEY = "correct horse battery staple"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


def check(answer: httpx.Response, expected: int | str, says: str = "") -> None:
    """The answer must have that status, or be the whole problem document of that name, and say that."""
    if isinstance(expected, int):
        assert answer.status_code == expected, answer.text
        assert says in answer.text
        return
    kind, path, document = PROBLEMS[expected], answer.request.url.raw_path.decode(), answer.json()
    assert answer.status_code == kind.status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    # Relative, as RFC 9457 has it, and right under whatever prefix.
    assert urljoin(f"/a/b{path}", document.pop("type")) == f"/a/b/problems/{expected}", answer.text
    detail, request_id = document["detail"], answer.headers["X-Request-ID"]
    whole = {"title": kind.title, "status": kind.status, "detail": detail, "request_id": request_id}
    assert document == whole | ({"error": detail} if path.startswith("/v2/") else {})
    assert says in detail
    assert kind.remedy in detail
    assert "Traceback" not in answer.text


class Client(httpx.Client):
    """Asks `service` in this process, from the address that the extension `peer` of a request gives."""

    def __init__(self, service: Service) -> None:
        super().__init__(base_url="http://service", transport=httpx.MockTransport(self._answer))
        self.service = service

    def _answer(self, request: httpx.Request) -> httpx.Response:
        transport = httpx.ASGITransport(self.service, client=(request.extensions.get("peer", "192.0.2.1"), 1))
        answer = anyio.run(transport.handle_async_request, request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=anyio.run(answer.aread))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def environment(**settings: object) -> dict[str, str]:
    """This process's environment, without settings of its own but with `settings` as `KWS_…`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KWS_") and name != "PORT"}
    return kept | {f"KWS_{name.upper()}": str(value) for name, value in settings.items()}


class Server:
    """A running service on a free port, its logs in `folder`."""

    def __init__(self, folder: Path, *, ready: str = "/readyz", command: list[str] = COMMAND, **settings: Any) -> None:
        settings = {"port": free_port(), "workers": 2, "samples": save_samples(folder / "samples"), **settings}
        self.port, self.folder = settings["port"], folder
        self.url = f"http://{'[::1]' if ':' in settings.get('host', '') else '127.0.0.1'}:{self.port}"
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment(**settings), stdout=out, stderr=err)
        try:
            # The first worker answers for all: a test that compares process ids needs every one of them.
            self.until(lambda: not ready or (self.status(ready) == 200 and len(self.workers()) >= settings["workers"]))
        except BaseException:
            self.process.kill()
            raise

    def until(self, done: Callable[[], object]) -> None:
        """Wait until `done`, which must happen sooner or later."""
        deadline = time.monotonic() + 60
        while not done():
            assert time.monotonic() < deadline, self.stderr()
            time.sleep(0.05)

    def status(self, path: str) -> int:
        """What `path` answers; 0 while nobody does."""
        assert self.process.poll() is None, self.stderr()
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}{path}", **LOCAL).status_code
        return 0

    def predict(self, body: bytes, **options: Any) -> httpx.Response:
        """The answer of `/predict`, over a connection of its own."""
        return httpx.post(f"{self.url}/predict", content=body, **options, **LOCAL)

    def connect(self, data: bytes = b"") -> socket.socket:
        """A connection on which `data` was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), 60)
        connection.sendall(data)
        return connection

    def raw(self, data: bytes) -> bytes:
        """What the server says to these bytes, sent before anything is read."""
        with self.connect(data) as connection:
            connection.shutdown(socket.SHUT_WR)
            return read(connection)

    def metrics(self) -> dict[str, float]:
        """What /metrics has, by name and labels."""
        time.sleep(0.2)  # a worker counts its answers that long after them
        text = httpx.get(f"{self.url}/metrics", **LOCAL).text
        return {name: float(value) for name, value in re.findall(r"^([^#].*) (\S+)$", text, re.MULTILINE)}

    def workers(self) -> set[int]:
        pid = self.process.pid
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def resident(self) -> int:
        """Bytes of memory that its workers take."""
        pages = (Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in self.workers())
        return sum(map(int, pages)) * resource.getpagesize()

    def reload(self) -> None:
        """SIGHUP, until all workers are new ones."""
        before = self.workers()
        self.process.send_signal(signal.SIGHUP)
        self.until(lambda: not self.workers() & before and len(self.workers()) == len(before))

    def kill_one(self) -> None:
        """SIGKILL to one of the workers, until another is in its place."""
        before = self.workers()
        os.kill(min(before), signal.SIGKILL)
        self.until(lambda: len(self.workers() - {min(before)}) == len(before))

    def stderr(self) -> str:
        return (self.folder / "stderr").read_text()

    def log(self, stream: str = "stderr") -> list[dict[str, Any]]:
        """The lines there; every one must be JSON."""
        return [json.loads(line) for line in (self.folder / stream).read_text().splitlines()]

    def messages(self, beginning: str) -> list[str]:
        """What was logged on stderr and begins so."""
        return [line["message"] for line in self.log() if line["message"].startswith(beginning)]

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """No worker is lost meanwhile, and nothing is logged as an exception."""
        workers = self.workers()
        yield
        assert self.workers() == workers
        assert not any("exception" in line for line in self.log())

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        return self.process.wait(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self.process.kill()


def read(connection: socket.socket) -> bytes:
    """What is said until the server closes."""
    answer = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            answer += piece
    return answer


# Fixtures that make one with the settings given.
Make = Callable[..., Client]
Serve = Callable[..., Server]
