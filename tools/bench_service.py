"""`python -m tools.bench_service MODEL CLIP`: the service's /predict beside a bare Flask view, in one run, with wrk.

Both run under the same gunicorn settings on this machine, the client too; rounds alternate, medians are told. The bare
view reads the same upload and answers a constant.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from flask import Flask, request

ROUNDS, SECONDS = 5, 3
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_CONFIG = """import runpy
globals().update(runpy.run_path("service/gunicorn.conf.py"))
wsgi_app = "tools.bench_service:bare()"
def post_worker_init(worker):
    pass
"""


def bare() -> Flask:
    """The yardstick: read the upload, answer a constant."""
    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> dict[str, str]:
        request.get_data(cache=False)
        return {"prediction": "up"}

    @app.get("/readyz")
    def ready() -> dict[str, str]:
        return {}

    return app


def start(config: Path, model: str, port: int) -> subprocess.Popen[bytes]:
    """The server of `config`, once it answers.

    Raises:
        RuntimeError: it does not get ready within 20 s.
    """
    environment = os.environ | {"KWS_MODEL": model, "KWS_PORT": str(port)}
    command = [sys.executable, "-m", "gunicorn", "--config", str(config)]
    if config.parent.name == "service":
        command.append("service.app:create_app()")
    with Path(os.devnull).open("wb") as nowhere:
        process = subprocess.Popen(command, env=environment, stdout=nowhere, stderr=nowhere)
    begin = time.monotonic()
    while time.monotonic() - begin < 20:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                return process
        except OSError:
            time.sleep(0.02)
    process.terminate()
    raise RuntimeError(f"{config} does not get ready")


def wrk(port: int, script: Path, clients: int) -> tuple[float, float, float]:
    """p50 and p99 in ms, and requests a second.

    Raises:
        RuntimeError: an answer was not 200.
    """
    command = ["wrk", "-t1", f"-c{clients}", f"-d{SECONDS}s", "--latency", "-s", str(script)]
    text = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/predict"], check=True, capture_output=True, text=True
    ).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(text)
    figures = dict(re.findall(r"(50|99)%\s+([\d.]+(?:us|ms|s))", text))
    p50, p99 = (
        float(re.sub(r"[a-z]", "", figures[key])) * _UNITS[re.sub(r"[\d.]", "", figures[key])] for key in ("50", "99")
    )
    match = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if match is None:
        raise RuntimeError(text)
    return p50, p99, float(match[1])


def main(model: str, clip: str) -> int:
    """Measure and print the table."""
    if shutil.which("wrk") is None:
        print("bench-service: wrk is not installed (Debian: apt install wrk); nothing was measured", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bare.py").write_text(_CONFIG)
        script = folder / "post.lua"
        script.write_text(
            f'local f = io.open("{Path(clip).resolve()}", "rb")\nwrk.method = "POST"\nwrk.body = f:read("*a")\n'
            'wrk.headers["Content-Type"] = "audio/wav"\n'
        )
        servers, found = {}, {}
        try:
            for kind, config in (("bare", folder / "bare.py"), ("service", Path("service/gunicorn.conf.py"))):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", 0))
                    port = probe.getsockname()[1]
                servers[kind] = (start(config, model, port), port)
            for clients in (1, 16):
                rounds: dict[str, list[tuple[float, float, float]]] = {"bare": [], "service": []}
                for _ in range(ROUNDS):
                    for kind, (_, port) in servers.items():
                        rounds[kind].append(wrk(port, script, clients))
                for kind, figures in rounds.items():
                    found[clients, kind] = [statistics.median(column) for column in zip(*figures, strict=True)]
        finally:
            for process, _ in servers.values():
                process.terminate()
                process.wait(30)
    print(
        f"wrk, {Path(clip).stat().st_size} bytes, {os.cpu_count()} cores with the client, medians of {ROUNDS} rounds\n"
    )
    print("| | bare Flask view | service | ratio |\n| --- | --- | --- | --- |")
    for clients in (1, 16):
        for index, label in enumerate(("p50, ms", "p99, ms", "requests/s")):
            base, own = found[clients, "bare"][index], found[clients, "service"][index]
            print(f"| {clients} client{'s' * (clients > 1)}: {label} | {base:.2f} | {own:.2f} | {own / base:.2f} |")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m tools.bench_service MODEL CLIP")
    sys.exit(main(*sys.argv[1:]))
