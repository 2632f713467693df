"""`python -m tools.bench_service MODEL CLIP [--output FILE]`: /predict beside a bare Flask view, in one run.

All servers run under the same gunicorn settings on this machine, the clients too; rounds alternate, medians are told.
The bare view reads the same upload and answers a constant. "Bare + model" runs the model as well: what is left between
it and the service is the service's own. wrk measures one and sixteen clients, oha (where it is installed) p50 and
p99 at 70 % of the throughput that wrk found.
"""

from __future__ import annotations

import argparse
import json
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
from collections.abc import Callable
from pathlib import Path

from flask import Flask, request

LOAD = 0.7
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_CONFIG = """import runpy
globals().update(runpy.run_path("service/gunicorn.conf.py"))
wsgi_app = "tools.bench_service:{factory}()"
def post_worker_init(worker):
    pass
"""
_BOUNDARY = "----kws-bench"
Figures = dict[str, float]


def bare(work: Callable[[], object] = lambda: None) -> Flask:
    """The yardstick: read the upload, answer a constant."""
    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> dict[str, str]:
        if request.mimetype == "multipart/form-data":
            request.files["file"].read()
        else:
            request.get_data(cache=False)
        work()
        return {"prediction": "up"}

    @app.get("/readyz")
    def ready() -> dict[str, str]:
        return {}

    return app


def with_model() -> Flask:
    """The bare view that also runs the model, always on the same silence."""
    import numpy as np

    from service.classifier import Classifier
    from service.settings import Settings

    classifier = Classifier(Settings.from_env().model)
    silence = np.zeros((1, classifier.info.clip_samples), np.float32)
    return bare(lambda: classifier(silence))


def start(config: Path, model: Path, port: int) -> subprocess.Popen[bytes]:
    """The server of `config`, once it answers.

    Raises:
        RuntimeError: it does not get ready within 20 s.
    """
    environment = os.environ | {"KWS_MODEL": str(model), "KWS_PORT": str(port)}
    command = [sys.executable, "-m", "gunicorn", "--config", str(config)]
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


def wrk(url: str, body: Path, kind: str, clients: int, seconds: int) -> Figures:
    """p50 and p99 in ms, and requests a second, of clients that ask again as soon as they are answered.

    Raises:
        RuntimeError: an answer was not 200.
    """
    script = body.with_suffix(".lua")
    script.write_text(
        f'local f = io.open("{body}", "rb")\nwrk.method = "POST"\nwrk.body = f:read("*a")\n'
        f'wrk.headers["Content-Type"] = "{kind}"\n'
    )
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if "Non-2xx" in text or "Socket errors" in text or rate is None:
        raise RuntimeError(text)
    times = re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", text)
    return {f"p{share}, ms": float(value) * _UNITS[unit] for share, value, unit in times} | {
        "requests/s": float(rate[1])
    }


def oha(url: str, body: Path, kind: str, rate: float, seconds: int) -> Figures:
    """p50 and p99 in ms, and the refused in %, of requests that come at `rate` a second over sixteen connections.

    A request's time counts from when it was due, not from when a connection was free for it.

    Raises:
        RuntimeError: an answer was neither 200 nor 503.
    """
    command = ["oha", "-z", f"{seconds}s", "-q", str(max(1, round(rate))), "-c", "16", "--latency-correction"]
    command += ["--no-tui", "--output-format", "json", "-m", "POST", "-D", str(body), "-T", kind, url]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    answers = report["statusCodeDistribution"]
    # What is under way when the time is over is cut off.
    if set(answers) - {"200", "503"} or set(report["errorDistribution"]) - {"aborted due to deadline"}:
        raise RuntimeError(f"oha: {answers} {report['errorDistribution']}")
    times = {f"p{share}, ms": report["latencyPercentiles"][f"p{share}"] * 1e3 for share in (50, 99)}
    return times | {"refused, %": 100 * answers.get("503", 0) / sum(answers.values())}


def measure(urls: dict[str, str], body: Path, kind: str, rounds: int, seconds: int) -> dict[str, dict[str, Figures]]:
    """Medians by load and server."""

    def medians(ask: Callable[[str], Figures]) -> dict[str, Figures]:
        found = [{name: ask(name) for name in urls} for _ in range(rounds)]
        return {
            name: {key: statistics.median(one[name][key] for one in found) for key in found[0][name]} for name in urls
        }

    loads = {
        "1 client": medians(lambda name: wrk(urls[name], body, kind, 1, seconds)),
        "16 clients": medians(lambda name: wrk(urls[name], body, kind, 16, seconds)),
    }
    if shutil.which("oha"):
        rates = {name: LOAD * figures["requests/s"] for name, figures in loads["16 clients"].items()}
        loads[f"at {LOAD:.0%} load"] = medians(lambda name: oha(urls[name], body, kind, rates[name], seconds))
    return loads


def _row(name: str, *figures: float) -> str:
    cells = [f"{figure:.2f}" for figure in figures]
    return f"| {' | '.join([name, *cells, *[''] * (5 - len(cells))])} |"


def table(title: str, loads: dict[str, dict[str, Figures]]) -> str:
    """A Markdown table; the ratios are to the bare view."""
    lines = [f"\n{title}\n", "| | bare view | bare + model | service | service / bare | service / (bare + model) |"]
    lines.append("| --- |" + " --- |" * 5)
    for load, servers in loads.items():
        for key in servers["service"]:
            base, floor, own = figures = [servers[name][key] for name in ("bare", "with_model", "service")]
            ratios = (own / base, own / floor) if base and floor else ()
            lines.append(_row(f"{load}: {key}", *figures, *ratios))
        if load.startswith("at"):
            lines.append(_row(f"{load}: p99 / p50", *(one["p99, ms"] / one["p50, ms"] for one in servers.values())))
    return "\n".join(lines)


def main() -> int:
    """Measure, print the tables and write them to the file."""
    parser = argparse.ArgumentParser(prog="bench-service", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--output", type=Path, help="Markdown file for the tables")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of one measurement")
    options = parser.parse_args()
    for path in (options.model, options.clip):
        if not path.is_file():
            parser.error(f"{path} does not exist")
    if shutil.which("wrk") is None:
        parser.error("wrk is not installed (Debian: apt install wrk); nothing was measured")
    clip = options.clip.read_bytes()
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="clip.wav"\r\n'
    form = f"{head}Content-Type: audio/wav\r\n\r\n".encode() + clip + f"\r\n--{_BOUNDARY}--\r\n".encode()
    uploads = {"raw": ("audio/wav", clip), "form": (f"multipart/form-data; boundary={_BOUNDARY}", form)}
    parts = [
        f"{len(clip)} bytes, {os.cpu_count()} cores with the client, {options.rounds} rounds of {options.seconds} s"
    ]
    processes, urls = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            for kind in ("bare", "with_model", "service"):
                config = Path("service/gunicorn.conf.py")
                if kind != "service":
                    config = folder / f"{kind}.py"
                    config.write_text(_CONFIG.format(factory=kind))
                with socket.create_server(("127.0.0.1", 0)) as free:
                    port = free.getsockname()[1]
                processes.append(start(config, options.model, port))
                urls[kind] = f"http://127.0.0.1:{port}/predict"
            for title, (kind, content) in uploads.items():
                body = folder / title
                body.write_bytes(content)
                parts.append(table(f"Upload: {title}", measure(urls, body, kind, options.rounds, options.seconds)))
        finally:
            for process in processes:
                process.terminate()
                process.wait(30)
    text = "\n".join(parts) + "\n"
    print(text)
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text)
        print(f"bench-service: {options.output}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
