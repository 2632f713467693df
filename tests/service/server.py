"""The real server, as a process of its own."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from .tones import save_samples

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "service"]
# For httpx: no proxy from the environment, and no certificates, which would be read anew for each client.
LOCAL: Any = {"trust_env": False, "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(**settings: object) -> dict[str, str]:
    """This process's environment, without settings of its own but with `settings` as `KWS_…`; two workers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KWS_") and name != "PORT"}
    settings = {"workers": 2} | settings
    return kept | {f"KWS_{name.upper()}": str(value) for name, value in settings.items()}


class Server:
    """A running service on a free port, its logs in `folder`."""

    def __init__(
        self,
        folder: Path,
        model: Path,
        *,
        wait: bool = True,
        command: list[str] = COMMAND,
        address: str = "127.0.0.1",
        **settings: object,
    ) -> None:
        self.port = free_port()
        self.url = f"http://{address}:{self.port}"
        self.folder = folder
        settings.setdefault("samples", save_samples(folder / "samples"))
        self.begin = time.monotonic()
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(model=model, port=self.port, **settings),
                stdout=out,
                stderr=err,
            )
        try:
            if wait:
                self.wait_for("/readyz")
                # The first worker answers for all: a test that compares process ids needs every one of them.
                self.until(lambda: len(self.workers()) >= int(str(settings.get("workers", 2))))
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def wait_for(self, path: str, seconds: float = 30) -> None:
        """Until `path` answers 200."""
        while time.monotonic() - self.begin < seconds + 30:
            if self.process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}{path}", timeout=5, **LOCAL).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.05)
        raise AssertionError(f"the server does not get ready:\n{self.stderr()}")

    def raw(self, data: bytes) -> bytes:
        """What the server says to these bytes, sent before anything is read, until it closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), 20) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := connection.recv(65_536):
                answer += piece
            return answer

    def ask(self, *requests: tuple[str, str, bytes]) -> list[Any]:
        """The JSON answers to requests over one connection, as long as the server keeps it."""
        with httpx.Client(base_url=self.url, timeout=20, **LOCAL) as client:
            return [client.request(method, path, content=body or None).json() for method, path, body in requests]

    def metrics(self) -> dict[str, float]:
        """What /metrics has, by name and labels."""
        text = httpx.get(f"{self.url}/metrics", **LOCAL).text
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def until(self, done: Callable[[], object]) -> None:
        """Wait until `done`, which must happen sooner or later."""
        deadline = time.monotonic() + 60
        while not done():
            assert time.monotonic() < deadline, self.stderr()
            time.sleep(0.05)

    def messages(self, beginning: str) -> list[str]:
        """What was logged on stderr and begins so."""
        return [line["message"] for line in self.log() if line["message"].startswith(beginning)]

    def kill_one(self) -> int:
        """SIGKILL to one of the workers; returns which."""
        victim = min(self.workers())
        os.kill(victim, signal.SIGKILL)
        return victim

    def sockets(self) -> int:
        """How many sockets the workers have open."""
        files = (path for pid in self.workers() for path in Path(f"/proc/{pid}/fd").iterdir())
        return sum(str(path.readlink()).startswith("socket:") for path in files if path.is_symlink())

    def metric_files(self) -> list[str]:
        """The files in which the workers count."""
        paths = {path.readlink() for pid in self.workers() for path in Path(f"/proc/{pid}/map_files").iterdir()}
        folder = next(path.parent for path in paths if path.suffix == ".db")
        return sorted(path.name for path in folder.iterdir())

    def workers(self) -> set[int]:
        """The process ids of its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return {int(pid) for pid in children.read_text().split()}

    def stderr(self) -> str:
        """Everything logged on stderr."""
        return (self.folder / "stderr").read_text()

    def log(self) -> list[dict[str, Any]]:
        """The lines of stderr; every one must be JSON."""
        return [json.loads(line) for line in self.stderr().splitlines()]

    def access_log(self) -> list[dict[str, Any]]:
        """The lines of stdout."""
        return [json.loads(line) for line in (self.folder / "stdout").read_text().splitlines()]

    def stop(self, seconds: float = 30) -> int:
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
