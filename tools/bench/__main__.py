"""`python -m tools.bench MODEL`: /predict beside FastAPI, LitServe, BentoML and a plain Flask view, in one run.

All have the same model, decoder and recording and two processes; rounds alternate, medians are told, as figures of this
machine and as ratios to the service's. Processor time is user and system time of all processes of a server. `uv` brings
the peers, `wrk` (Debian's package) loads them; a peer that does not answer is left out and named.
"""

import argparse
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

_NEEDED = ["numpy<2.5", "onnxruntime", "soundfile", "soxr"]
PEERS = {
    "flask": ["flask==3.1.3", "gunicorn==27.0.1"],
    "fastapi": ["fastapi==0.165.0", "uvicorn[standard]==0.54.0", "python-multipart"],
    "litserve": ["litserve==0.2.19", "python-multipart"],
    "bentoml": ["bentoml==1.4.40"],
}
RAW = {"service", "flask", "fastapi"}  # those that take a raw body
_BOUNDARY = "----kws-bench"
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
Figures = dict[str, float]


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def start(name: str, model: Path, port: int) -> subprocess.Popen[bytes]:
    """The server `name`: ours, or one of PEERS."""
    environment = os.environ | {"KWS_MODEL": str(model), "KWS_PORT": str(port), "KWS_BENCH_PEER": name}
    environment |= {"KWS_WORKERS": "2", "KWS_ACCESS_LOG": "false", "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-m", "service"]
    if name != "service":
        brought = [word for package in (*_NEEDED, *PEERS[name]) for word in ("--with", package)]
        uv = shutil.which("uv") or str(Path(".uv/bin/uv"))
        python = ["python", "-m", "tools.bench.peers", name, str(port)]
        command = [uv, "run", "--no-project", "--quiet", "--python", sys.executable, *brought, *python]
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(command, env=environment, stdout=nowhere, stderr=nowhere, start_new_session=True)


def answers(process: subprocess.Popen[bytes], port: int, body: bytes, kind: str) -> bool:
    """Whether the server gives a right answer within five minutes, in which uv may fetch it."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body, {"Content-Type": kind})
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                return b"prediction" in answer.read()
        except OSError:
            time.sleep(0.3)
    return False


def processor_seconds(pid: int) -> float:
    """Of a process and all that descend from it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        tasks = Path(f"/proc/{pid}/task").glob("*/children")  # a child belongs to the thread that made it
        children = [child for task in tasks for child in task.read_text().split()]
    except OSError:  # ended meanwhile
        return 0.0
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(processor_seconds(int(child)) for child in children)


def measure(pid: int, port: int, script: Path, clients: int, seconds: int) -> Figures:
    """One load by wrk. Raises RuntimeError where an answer was not 2xx."""
    before = processor_seconds(pid)
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "-s", str(script)]
    command.append(f"http://127.0.0.1:{port}/predict")
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    spent = processor_seconds(pid) - before
    if "Non-2xx" in report or not (count := re.search(r"(\d+) requests in", report)):
        raise RuntimeError(f"wrk: {report}")
    times = {}
    for share in (50, 99):
        value, unit = re.findall(rf"{share}%\s+([\d.]+)(us|ms|s|m)", report)[0]
        times[f"p{share}, ms"] = float(value) * _UNITS[unit]
    requests = re.findall(r"Requests/sec:\s+([\d.]+)", report)[0]
    return {"processor, ms a request": spent / int(count[1]) * 1e3, "requests/s": float(requests)} | times


def table(title: str, figures: dict[str, Figures]) -> str:
    """A Markdown table: each server's figures, and in brackets the service's as a multiple of them."""
    own = figures["service"]
    lines = [f"\n{title}\n", f"| | {' | '.join(own)} |", "| --- |" + " --- |" * len(own)]
    for name, found in figures.items():
        cells = [
            f"{value:.2f}" + ("" if name == "service" else f" ({own[key] / value:.2f})") for key, value in found.items()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Measure, print the tables and write them to the file."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--clip", type=Path, default=Path("service/samples/yes.wav"))
    parser.add_argument("--output", type=Path, help="Markdown file for the tables")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of one measurement")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    options = parser.parse_args()
    if not options.model.is_file() or not options.clip.is_file() or shutil.which("wrk") is None:
        parser.error("needs the model, the clip and wrk (Debian: apt install wrk); nothing was measured")
    clip = options.clip.read_bytes()
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="clip.wav"\r\n'
    form = f"{head}Content-Type: audio/wav\r\n\r\n".encode() + clip + f"\r\n--{_BOUNDARY}--\r\n".encode()
    uploads = {"raw": ("audio/wav", clip), "form": (f"multipart/form-data; boundary={_BOUNDARY}", form)}
    parts = [
        f"{len(clip)} bytes, {os.cpu_count()} cores with the client, {options.rounds} rounds of {options.seconds} s"
    ]
    servers: dict[str, tuple[subprocess.Popen[bytes], int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name in ("service", *options.peers):
                port = free_port()
                process = start(name, options.model.resolve(), port)
                servers[name] = (process, port)
                if not answers(process, port, form, uploads["form"][0]):
                    print(f"bench: {name} does not answer and is left out", file=sys.stderr)
                    stop(servers.pop(name)[0])
            for upload, (kind, body) in uploads.items():
                content, script = Path(folder, upload), Path(folder, f"{upload}.lua")
                content.write_bytes(body)
                script.write_text(
                    f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "{kind}"\n'
                    f'wrk.body = io.open("{content}", "rb"):read("*all")\n'
                )
                asked = [name for name in servers if upload == "form" or name in RAW]
                for clients in (1, 16):
                    rounds = [
                        {
                            name: measure(servers[name][0].pid, servers[name][1], script, clients, options.seconds)
                            for name in asked
                        }
                        for _ in range(options.rounds)
                    ]
                    medians = {
                        name: {key: statistics.median(one[name][key] for one in rounds) for key in rounds[0][name]}
                        for name in asked
                    }
                    parts.append(table(f"Upload: {upload}, clients: {clients}", medians))
            parts.append(f"\nThe machine's load at the end, the bench's own included: {os.getloadavg()[0]:.1f}")
        finally:
            for process, _ in servers.values():
                stop(process)
    text = "\n".join(parts) + "\n"
    print(text)
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text)
    return 0


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server with all its processes, which are a session of their own."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
