"""What the service costs: `python -m tools.bench compare MODEL` beside its peers, `… soak MODEL` over a long time."""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle, islice
from pathlib import Path
from socket import create_server
from typing import Any

import httpx
import typer

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

PEERS = {  # what they are started with, and what they need beside SHARED
    "flask": (
        "python -m gunicorn -b 127.0.0.1:{} -w 2 -k gthread --threads 4 {}:flask",
        ["flask==3.1.3", "gunicorn==27.0.1"],
    ),
    "fastapi": (
        "uvicorn --port {} --workers 2 --log-level error {}:fastapi",
        ["fastapi==0.165.0", "uvicorn[standard]==0.54.0", "python-multipart"],
    ),
    "bentoml": ("bentoml serve --host 127.0.0.1 --port {} {}:Keywords", ["bentoml==1.4.40"]),
    "litserve": ("python -m {1}", ["litserve==0.2.19", "python-multipart"]),
}
SHARED = ["numpy<2.5", "onnxruntime", "soundfile", "soxr"]
RAW = {"service", "flask", "fastapi"}  # those that take a raw body
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
SCRIPT = 'wrk.method = "POST"\nwrk.headers["Content-Type"] = "{}"\nwrk.body = io.open("{}", "rb"):read("*all")\n'

TENTHS, WARMING, MAX_GROWTH = 10, 4, 0.02
SAMPLES = [path.read_bytes() for path in sorted(Path("service/samples").glob("*.wav"))]
PCM = {"headers": {"Content-Type": "audio/pcm;rate=48000"}, "content": SAMPLES[0][44:] * 3}
HALF = {"headers": {"Content-Type": "multipart/form-data; boundary=b"}, "content": b"--b\r\nContent-Disposition: form-"}
# Path, what is posted there (nothing: it is read) and the status that must come.
REQUESTS: list[tuple[str, dict[str, Any], int]] = [
    *(("/predict", {"content": sample}, 200) for sample in SAMPLES),
    ("/predict", {"files": {"file": ("a.wav", SAMPLES[0])}}, 200),
    *(("/predict", posted, status) for posted, status in ((HALF, 400), (PCM, 200), ({"content": b"no audio"}, 415))),
    ("/predict", {"content": SAMPLES[0], "headers": {"Content-Encoding": "br"}}, 415),
    ("/detect", PCM, 200),
    *((path, {}, status) for path, status in {"/readyz": 200, "/v2/models/kws": 200, "/nothing": 404}.items()),
]


@contextmanager
def server(name: str, model: Path, clip: bytes) -> Iterator[Any]:
    """Process id and address of the server ``name``, `service` or one of PEERS; None: the peer does not answer.

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
            if found is None and name == "service":
                raise typer.BadParameter("the service does not answer with this model")
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


def processor_seconds(pid: int) -> float:
    """Of a process and all that descend from it."""
    stats = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in family(pid)]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / os.sysconf("SC_CLK_TCK")


def measure(running: tuple[int, str], script: Path, clients: int) -> dict[str, float]:
    """One load by wrk. Raises RuntimeError where an answer was not 2xx."""
    before, url = processor_seconds(pid := running[0]), running[1]
    command = ["wrk", "-t1", f"-c{clients}", "-d3s", "--latency", "-s", str(script), f"{url}/predict"]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    spent, told = processor_seconds(pid) - before, re.search(r"(\d+) requests in[^$]*Requests/sec:\s+([\d.]+)", report)
    if "Non-2xx" in report or not told:
        raise RuntimeError(f"wrk: {report}")
    times = re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s|m)", report)
    found = {"processor, ms a request": spent / int(told[1]) * 1e3, "requests/s": float(told[2])}
    return found | {f"p{share}, ms": float(value) * UNITS[unit] for share, value, unit in times}


def table(title: str, figures: dict[str, dict[str, float]]) -> str:
    """A Markdown table: each server's figures, and in brackets the service's as a multiple of them."""
    own = figures["service"]
    lines = [f"\n{title}\n", f"| | {' | '.join(own)} |", "| --- |" + " --- |" * len(own)]
    for name, found in figures.items():
        lines.append(f"| {name} | {' | '.join(f'{found[key]:.2f} ({own[key] / found[key]:.2f})' for key in own)} |")
    return "\n".join(lines)


@cli.command()
def compare(model: Path, rounds: int = 5) -> None:
    """/predict beside FastAPI, LitServe, BentoML and a plain Flask view, in one run, as Markdown tables.

    All have the same model, decoder and recording and two processes; rounds of loads of three seconds alternate,
    medians are told, as figures of this machine and as ratios to the service's. Processor time is user and system time
    of all processes of a server. `uv` brings the peers, `wrk` (Debian's package) loads them; a peer that does not
    answer is left out and named.
    """
    if not model.is_file() or shutil.which("wrk") is None:
        raise typer.BadParameter("needs the model and wrk (Debian: apt install wrk); nothing was measured")
    data = SAMPLES[0]
    form = httpx.Request("POST", "http://bench", files={"file": ("clip.wav", data, "audio/wav")})
    uploads = {"raw": ("audio/wav", data), "form": (form.headers["Content-Type"], form.read())}
    print(f"{len(data)} bytes, {os.cpu_count()} cores with the client, {rounds} rounds of 3 s", flush=True)
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        started = {name: stack.enter_context(server(name, model, data)) for name in ("service", *PEERS)}
        servers = {name: running for name, running in started.items() if running is not None}
        for name in started.keys() - servers:
            print(f"bench: {name} does not answer and is left out", file=sys.stderr)
        for upload, (kind, body) in uploads.items():
            content, script = Path(folder, upload), Path(folder, f"{upload}.lua")
            content.write_bytes(body)
            script.write_text(SCRIPT.format(kind, content))
            asked = [name for name in servers if upload == "form" or name in RAW]
            for clients in (1, 16):
                loads = [{name: measure(servers[name], script, clients) for name in asked} for _ in range(rounds)]
                keys = loads[0]["service"]
                medians = {n: {key: statistics.median(load[n][key] for load in loads) for key in keys} for n in asked}
                print(table(f"Upload: {upload}, clients: {clients}", medians), flush=True)
    print(f"\nThe machine's load at the end, the bench's own included: {os.getloadavg()[0]:.1f}")


def ask(url: str, number: int, count: int) -> Counter[str]:
    """`count` requests, beginning with the `number`th, fifty over a connection; returns what was wrong."""
    wrong: Counter[str] = Counter()
    asked = islice(cycle(REQUESTS), number, number + count)
    while some := list(islice(asked, 50)):
        with httpx.Client(base_url=url, timeout=60) as client:
            for path, posted, status in some:
                try:
                    found = str(client.request("POST" if posted else "GET", path, **posted).status_code)
                except httpx.HTTPError as error:
                    found = type(error).__name__
                wrong[f"{path}: {found} instead of {status}"] += found != str(status)
    return wrong


def usage(pid: int) -> tuple[int, int]:
    """kB of memory that no file backs and open files, of `pid` and what descends from it, idle connections gone."""
    time.sleep(float(os.environ.get("KWS_KEEPALIVE") or 5) + 2)
    folders = [Path(f"/proc/{process}") for process in family(pid)]
    lines = [line for folder in folders for line in (folder / "smaps_rollup").read_text().splitlines()]
    kilobytes = sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon", "Pss_Shmem", "SwapPss")))
    return kilobytes, sum(len(list((folder / "fd").iterdir())) for folder in folders)


@cli.command()
def soak(model: Path, requests: int = 200_000, clients: int = 8) -> None:
    """Very many requests to one server, whose memory and files must not grow.

    Good recordings of several kinds, forms, broken files and pages in turn, over kept-alive and new connections. After
    a warm-up of a tenth as many with four times the clients (an allocator keeps what the busiest moment took) the
    memory that only the processes can give back, and their open files, are read after each tenth. Exit code 3 when a
    bound is passed or an answer was not as it must be.
    """
    wrong, course = Counter[str](), []
    with server("service", model, SAMPLES[0]) as (pid, url):
        workers = set(family(pid))
        for at_once in (clients * WARMING, *[clients] * TENTHS):
            with ThreadPoolExecutor(at_once) as pool:
                asked = [pool.submit(ask, url, number, requests // TENTHS // at_once) for number in range(at_once)]
                wrong = sum((one.result() for one in asked), wrong)
            course.append(usage(pid))
        same = workers == set(family(pid))
    growth = course[-1][0] / course[0][0] - 1
    print(f"memory, MB, after each tenth: {' '.join(f'{memory / 1e3:.1f}' for memory, _ in course)} ({growth:+.1%})")
    print(f"open files: {course[0][1]} after the warm-up, {course[-1][1]} at the end; {wrong.total()} wrong answers")
    failures = [f"{count} x {what}" for what, count in wrong.most_common(5)]
    failures += [f"memory grows by {growth:.1%}; the bound is {MAX_GROWTH:.0%}"] * (growth >= MAX_GROWTH)
    failures += ["more open files"] * (course[-1][1] > course[0][1]) + ["a worker was lost"] * (not same)
    for failure in failures:
        print(f"soak: {failure}", file=sys.stderr)
    raise typer.Exit(3 if failures else 0)


if __name__ == "__main__":
    cli(prog_name="python -m tools.bench")
