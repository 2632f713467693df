"""The servers of a bench, of two processes each: started, waited for, ended."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_server

import httpx

PEERS = {  # what they are started with, and what they need beside SHARED
    "flask": ("gunicorn -b 127.0.0.1:{} -w 2 -k gthread --threads 4 {}:flask", ["flask==3.1.3", "gunicorn==27.0.1"]),
    "fastapi": (
        "uvicorn --port {} --workers 2 --log-level error {}:fastapi",
        ["fastapi==0.165.0", "uvicorn[standard]==0.54.0", "python-multipart"],
    ),
    "bentoml": ("bentoml serve --host 127.0.0.1 --port {} {}:Keywords", ["bentoml==1.4.40"]),
    "litserve": ("python -m {1}", ["litserve==0.2.19", "python-multipart"]),
}
SHARED = ["numpy<2.5", "onnxruntime", "soundfile", "soxr"]


@contextmanager
def server(name: str, model: Path, clip: bytes) -> Iterator[tuple[int, str] | None]:
    """Process id and address of the server ``name``, `service` or one of PEERS; None: it does not answer.

    It has five minutes for its first answer, in which uv may fetch it.
    """
    with create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    command, url = [sys.executable, "-m", "service"], f"http://127.0.0.1:{port}"
    if name != "service":
        start, needed = PEERS[name]
        uv = [shutil.which("uv") or str(Path(".uv/bin/uv")), "run", "--no-project", "--quiet", "--python"]
        brought = [word for package in (*SHARED, *needed) for word in ("--with", package)]
        command = [*uv, sys.executable, *brought, *start.format(port, "tools.bench.peers").split()]
    env = {"KWS_MODEL": str(model.resolve()), "KWS_PORT": port, "KWS_WORKERS": "2", "KWS_ACCESS_LOG": "false"}
    env = {**os.environ, **env, "PYTHONPATH": str(Path.cwd()), "KWS_BENCH_PEER": name}
    null = subprocess.DEVNULL
    with subprocess.Popen(command, env=env, stdout=null, stderr=null, start_new_session=True) as process:
        try:
            deadline, found = time.monotonic() + 300, None
            while found is None and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.3)
                with suppress(httpx.TransportError):
                    answer = httpx.post(f"{url}/predict", files={"file": ("a.wav", clip, "audio/wav")}, timeout=10)
                    found = (process.pid, url) if "prediction" in answer.text else None
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
