"""The servers of a bench: started, waited for, ended."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

PEERS = {
    "flask": ["flask==3.1.3", "gunicorn==27.0.1"],
    "fastapi": ["fastapi==0.165.0", "uvicorn[standard]==0.54.0", "python-multipart"],
    "litserve": ["litserve==0.2.19", "python-multipart"],
    "bentoml": ["bentoml==1.4.40"],
}
SHARED = ["numpy<2.5", "onnxruntime", "soundfile", "soxr"]


@contextmanager
def server(name: str, model: Path, clip: bytes) -> Iterator[tuple[int, str] | None]:
    """Process id and address of the server ``name``, ours or one of PEERS, of two processes; None: it does not answer.

    It has five minutes for its first answer, in which uv may fetch it.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    command, url = [sys.executable, "-m", "service"], f"http://127.0.0.1:{port}"
    if name != "service":
        brought = [word for package in (*SHARED, *PEERS[name]) for word in ("--with", package)]
        uv = [shutil.which("uv") or str(Path(".uv/bin/uv")), "run", "--no-project", "--quiet", "--python"]
        command = [*uv, sys.executable, *brought, "python", "-m", "tools.bench.peers", name, port]
    settings = {"KWS_MODEL": str(model.resolve()), "KWS_PORT": port, "KWS_WORKERS": "2", "KWS_ACCESS_LOG": "false"}
    told, null = {**os.environ, **settings, "PYTHONPATH": str(Path.cwd()), "KWS_BENCH_PEER": name}, subprocess.DEVNULL
    with subprocess.Popen(command, env=told, stdout=null, stderr=null, start_new_session=True) as process:
        try:
            deadline, found = time.monotonic() + 300, None
            while found is None and time.monotonic() < deadline and process.poll() is None:
                try:
                    answer = httpx.post(f"{url}/predict", files={"file": ("a.wav", clip, "audio/wav")}, timeout=10)
                    found = (process.pid, url) if "prediction" in answer.text else None
                except httpx.TransportError:
                    time.sleep(0.3)
            yield found
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    try:
        tasks = Path(f"/proc/{pid}/task").glob("*/children")  # a child belongs to the thread that made it
        return [pid, *(one for task in tasks for child in task.read_text().split() for one in family(int(child)))]
    except OSError:  # ended meanwhile
        return []
