"""`python -m tools.bench.soak MODEL`: very many requests to one server, whose memory and files must not grow.

Good recordings of several kinds, forms, broken files and pages in turn, over kept-alive and new connections. After a
warm-up of a tenth as many with four times the clients (an allocator keeps what the busiest moment took) the memory that
only the processes can give back, and their open files, are read after each tenth. Exit code 3 when a bound is passed
or an answer was not as it must be.
"""

import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
import typer

from tools.bench.servers import family, server

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


def main(model: Path, requests: int = 200_000, clients: int = 8) -> None:
    """Soak, and judge."""
    wrong, course = Counter[str](), []
    with server("service", model, SAMPLES[0]) as running:
        if running is None:
            raise typer.BadParameter("the service does not answer with this model")
        pid, url = running
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
    typer.run(main)
