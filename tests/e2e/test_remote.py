"""The pipeline through an engine that is reached over TCP, as one in a cluster is."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from . import record
from .conftest import Run, dagger

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1800)]
HOST = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"


@pytest.fixture
def remote() -> Iterator[str]:
    """``tcp://…`` of this machine's engine: what comes in there goes on to its socket."""
    local = os.environ.get(HOST, "")
    if not local.startswith("unix://"):
        pytest.skip(f"{HOST} is no unix:// address: no engine here to put on a port")
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(local.removeprefix("unix://"))
                for source, target in ((client, engine), (engine, client)):
                    threading.Thread(target=forward, args=(source, target), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


def forward(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def test_a_remote_engine_gives_the_same_artefacts(
    first_run: Run, remote: str, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOST, remote)
    output = tmp_path / "artifacts"
    done = dagger("call", "pipeline", f"--dataset={dataset}", "--profile=quick", "--output", str(output))
    assert done.returncode == 0, done.stderr[-6000:]
    # Nothing trains again: the engine is the same, only the way to it is another.
    assert "model train" in record.read(done.stderr).cached
    for path in ("model/model.onnx", "model/evaluation.json"):
        assert (output / path).read_bytes() == (first_run.artifacts / path).read_bytes()
