"""`python -m tools.bench.soak MODEL`: very many requests to one server, whose memory and files must not grow.

Good recordings of several kinds, forms, broken files and pages in turn, over kept-alive and new connections. After a
warm-up of a tenth as many with four times the clients (an allocator keeps what the busiest moment took) the memory that
only the processes can give back, and their open files, are read after each tenth. Exit code 3 when a bound is passed
or an answer was not as it must be.
"""

import argparse
import http.client
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

from tools.bench.__main__ import answers, free_port, start, stop

TENTHS, WARMING, MAX_GROWTH = 10, 4, 0.02
_SAMPLES = sorted(Path("service/samples").glob("*.wav"))
_FORM = {"Content-Type": "multipart/form-data; boundary=b"}
Request = tuple[str, str, bytes, dict[str, str], int]


def requests() -> list[Request]:
    """Method, path, body, headers and the status that must come."""
    made: list[Request] = [("POST", "/predict", path.read_bytes(), {}, 200) for path in _SAMPLES]
    wav = made[0][2]
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    return [
        *made,
        ("POST", "/predict", head + wav + b"\r\n--b--\r\n", _FORM, 200),
        ("POST", "/predict", head + wav, _FORM, 400),
        ("POST", "/predict", wav[44:] * 3, {"Content-Type": "audio/pcm;rate=48000"}, 200),
        ("POST", "/predict", b"no audio", {}, 415),
        ("POST", "/predict", wav, {"Content-Encoding": "br"}, 415),
        ("POST", "/detect", wav[44:] * 10, {"Content-Type": "audio/pcm;rate=16000"}, 200),
        ("GET", "/readyz", b"", {}, 200),
        ("GET", "/v2/models/kws", b"", {}, 200),
        ("GET", "/nothing", b"", {}, 404),
    ]


def ask(port: int, number: int, count: int) -> Counter[str]:
    """`count` requests one after the other, beginning with the `number`th; returns what was wrong."""
    wrong: Counter[str] = Counter()
    work = requests()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for turn, (method, path, body, headers, status) in enumerate(islice(cycle(work), number, number + count)):
        try:
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            response.read()
            found = str(response.status)
        except (OSError, http.client.HTTPException) as error:
            found = type(error).__name__
            connection.close()
        if found != str(status):
            wrong[f"{method} {path}: {found} instead of {status}"] += 1
        if turn % 50 == 0:  # a new connection now and then
            connection.close()
    return wrong


def family(pid: int) -> Iterator[int]:
    """The process and its children."""
    yield pid
    yield from map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def usage(pid: int) -> tuple[int, int]:
    """kB of memory that no file backs and open files, of the process `pid` and its children, idle connections gone."""
    time.sleep(float(os.environ.get("KWS_KEEPALIVE") or 5) + 2)
    kilobytes = files = 0
    for process in family(pid):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Pss_Anon", "Pss_Shmem", "SwapPss")):
                kilobytes += int(line.split()[1])
        files += len(list(Path(f"/proc/{process}/fd").iterdir()))
    return kilobytes, files


def main() -> int:
    """Soak, and judge."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.soak", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    port, wrong, begin = free_port(), Counter[str](), time.monotonic()
    process = start("service", options.model.resolve(), port)
    try:
        if not answers(process, port, _SAMPLES[0].read_bytes(), "audio/wav"):
            parser.error("the service does not answer")
        workers, course = set(family(process.pid)), []
        for part in range(TENTHS + 1):
            clients = options.clients * (WARMING if part == 0 else 1)
            count = options.requests // TENTHS // clients
            with ThreadPoolExecutor(clients) as pool:
                for found in pool.map(lambda number: ask(port, number, count), range(clients)):  # noqa: B023
                    wrong += found
            course.append(usage(process.pid))
        same = workers == set(family(process.pid))
    finally:
        stop(process)
    growth = course[-1][0] / course[0][0] - 1
    print(f"{options.requests} requests in {time.monotonic() - begin:.0f} s, {wrong.total()} wrong answers")
    print(f"memory, MB, after each tenth: {' '.join(f'{memory / 1e3:.1f}' for memory, _ in course)} ({growth:+.1%})")
    print(f"open files: {course[0][1]} after the warm-up, {course[-1][1]} at the end")
    failures = [f"{count} x {what}" for what, count in wrong.most_common(5)]
    failures += [f"memory grows by {growth:.1%}; the bound is {MAX_GROWTH:.0%}"] * (growth >= MAX_GROWTH)
    failures += ["more open files"] * (course[-1][1] > course[0][1]) + ["a worker was lost"] * (not same)
    for failure in failures:
        print(f"soak: {failure}", file=sys.stderr)
    return 3 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
