"""`python -m tools.bench MODEL`: /predict beside FastAPI, LitServe, BentoML and a plain Flask view, in one run.

All have the same model, decoder and recording and two processes; rounds alternate, medians are told, as figures of this
machine and as ratios to the service's. Processor time is user and system time of all processes of a server. `uv` brings
the peers, `wrk` (Debian's package) loads them; a peer that does not answer is left out and named.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import httpx
import typer

from tools.bench.servers import PEERS, family, server

RAW = {"service", "flask", "fastapi"}  # those that take a raw body
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
SCRIPT = 'wrk.method = "POST"\nwrk.headers["Content-Type"] = "{}"\nwrk.body = io.open("{}", "rb"):read("*all")\n'


def processor_seconds(pid: int) -> float:
    """Of a process and all that descend from it."""
    stats = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in family(pid)]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / os.sysconf("SC_CLK_TCK")


def measure(pid: int, url: str, script: Path, clients: int) -> dict[str, float]:
    """One load by wrk. Raises RuntimeError where an answer was not 2xx."""
    before = processor_seconds(pid)
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


def main(
    model: Path, clip: Path = Path("service/samples/yes.wav"), output: Path | None = None, rounds: int = 5
) -> None:
    """Measure, in rounds of loads of three seconds, print the tables and write them to a Markdown file."""
    if not model.is_file() or not clip.is_file() or shutil.which("wrk") is None:
        raise typer.BadParameter("needs the model, the clip and wrk (Debian: apt install wrk); nothing was measured")
    data = clip.read_bytes()
    form = httpx.Request("POST", "http://bench", files={"file": ("clip.wav", data, "audio/wav")})
    uploads = {"raw": ("audio/wav", data), "form": (form.headers["Content-Type"], form.read())}
    parts = [f"{len(data)} bytes, {os.cpu_count()} cores with the client, {rounds} rounds of 3 s"]
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        started = {name: stack.enter_context(server(name, model, data)) for name in ("service", *PEERS)}
        servers = {name: running for name, running in started.items() if running is not None}
        if "service" not in servers:
            raise typer.BadParameter("the service does not answer with this model")
        for name in started.keys() - servers:
            print(f"bench: {name} does not answer and is left out", file=sys.stderr)
        for upload, (kind, body) in uploads.items():
            content, script = Path(folder, upload), Path(folder, f"{upload}.lua")
            content.write_bytes(body)
            script.write_text(SCRIPT.format(kind, content))
            asked = [name for name in servers if upload == "form" or name in RAW]
            for clients in (1, 16):
                loads = [{name: measure(*servers[name], script, clients) for name in asked} for _ in range(rounds)]
                keys = loads[0]["service"]
                medians = {n: {key: statistics.median(load[n][key] for load in loads) for key in keys} for n in asked}
                parts.append(table(f"Upload: {upload}, clients: {clients}", medians))
        parts.append(f"\nThe machine's load at the end, the bench's own included: {os.getloadavg()[0]:.1f}")
    text = "\n".join(parts) + "\n"
    print(text)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text)


if __name__ == "__main__":
    typer.run(main)
