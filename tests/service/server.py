"""The real server, as a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from .tones import save_samples

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "gunicorn", "--config", "service/gunicorn.conf.py", "service.app:create_app()"]


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(**settings: object) -> dict[str, str]:
    """This process's environment, without settings of its own but with `settings` as `KWS_…`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KWS_")}
    return kept | {f"KWS_{name.upper()}": str(value) for name, value in settings.items()}


class Server:
    """A running service on a free port, its logs in `folder`."""

    def __init__(
        self, folder: Path, model: Path, *, wait: bool = True, command: list[str] = COMMAND, **settings: object
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
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
                while len(self.workers()) < int(str(settings.get("workers", 2))):
                    assert time.monotonic() - self.begin < 30, f"workers are missing:\n{self.stderr()}"
                    time.sleep(0.05)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def wait_for(self, path: str, seconds: float = 30) -> None:
        """Until `path` answers 200."""
        while time.monotonic() - self.begin < seconds:
            if self.process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}{path}", timeout=5, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.05)
        raise AssertionError(f"the server does not get ready:\n{self.stderr()}")

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

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
