"""`python -m tools.soak_service MODEL`: very many requests to one server, whose memory and files must not grow.

Good recordings of several kinds, forms, broken files and other pages in turn, over kept-alive and new connections.
First a warm-up of a tenth as many with more clients than the server has threads: an allocator keeps what the busiest
moment took, and under a light load that moment may be an hour away. Then memory and open files of all its processes are
read before and after each tenth. Exit code 3 when a bound is passed or an answer was not as it must be.

The bound is for memory that only the process can give back. Pages of files (the libraries) are resident too, but the
kernel drops those that nothing has touched for a while and reads them again, with no regard to the service.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile

TENTHS = 10
WARMING = 4  # times as many clients at first
MAX_GROWTH = 0.02
_SAMPLES = Path("service/samples")
Request = tuple[str, str, bytes, dict[str, str], int]


def requests(folder: Path) -> list[Request]:
    """Method, path, body, headers and the status that must come."""
    samples, rate = soundfile.read(_SAMPLES / "yes.wav", dtype="float32")
    made: list[Request] = [("POST", "/predict", path.read_bytes(), {}, 200) for path in sorted(_SAMPLES.glob("*.wav"))]
    for kind, subtype in (("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")):
        path = folder / f"{kind}-{subtype}"
        soundfile.write(path, samples, rate, format=kind, subtype=subtype)
        made.append(("POST", "/predict", path.read_bytes(), {}, 200))
    path = folder / "long.wav"
    soundfile.write(path, np.tile(np.stack([samples, samples], 1), (3, 1)), 44_100, format="WAV")
    made.append(("POST", "/predict", path.read_bytes(), {}, 200))
    nowhere = folder / "nan.wav"
    soundfile.write(nowhere, samples * np.nan, rate, subtype="FLOAT")
    wav = made[0][2]
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    made += [
        ("POST", "/predict", head + wav + b"\r\n--b--\r\n", form, 200),
        ("POST", "/predict", head + wav, form, 400),
        ("POST", "/predict", nowhere.read_bytes(), {}, 422),
        ("POST", "/predict", b"no audio", {}, 415),
        ("POST", "/detect", path.read_bytes(), {}, 200),
        ("GET", "/readyz", b"", {}, 200),
        ("GET", "/v2/models/kws", b"", {}, 200),
        ("GET", "/nothing", b"", {}, 404),
    ]
    return made


@dataclass
class Soak:
    """Clients of the server at `port`, which share the work."""

    port: int
    work: list[Request]
    left: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    wrong: Counter[str] = field(default_factory=Counter)

    def run(self, count: int, clients: int) -> None:
        """Send `count` requests."""
        self.left = count
        threads = [threading.Thread(target=self._client, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _next(self) -> bool:
        with self.lock:
            self.left -= 1
            return self.left >= 0

    def _client(self, number: int) -> None:
        turn = cycle(self.work[number:] + self.work[:number])
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        asked = 0
        while self._next():
            method, path, body, headers, status = next(turn)
            try:
                connection.request(method, path, body or None, headers)
                response = connection.getresponse()
                response.read()
                found = str(response.status)
            except (OSError, http.client.HTTPException) as error:
                found = type(error).__name__
                connection.close()
            if found != str(status):
                with self.lock:
                    self.wrong[f"{method} {path}: {found} instead of {status}"] += 1
            asked += 1
            if asked % 50 == 0:  # a new connection now and then
                connection.close()
        connection.close()


def family(pid: int) -> Iterator[int]:
    """The process and its children."""
    yield pid
    yield from map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


@dataclass(frozen=True)
class Usage:
    """What a family of processes holds; a page that several share counts once.

    Attributes:
        own: kB of memory that no file backs, or only one in memory.
        files: kB of files' pages.
        descriptors: open files.
    """

    own: int
    files: int
    descriptors: int


def usage(pid: int) -> Usage:
    """Of the process `pid` and its children."""
    kilobytes: Counter[str] = Counter()
    descriptors = 0
    for process in family(pid):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name.startswith(("Pss_", "SwapPss")):
                kilobytes[name] += int(rest.split()[0])
        descriptors += len(list(Path(f"/proc/{process}/fd").iterdir()))
    own = kilobytes["Pss_Anon"] + kilobytes["Pss_Shmem"] + kilobytes["SwapPss"]
    return Usage(own, kilobytes["Pss_File"], descriptors)


def settled(pid: int) -> Usage:
    """`usage` once the connections that were idle are closed."""
    time.sleep(float(os.environ.get("KWS_KEEPALIVE") or 5) + 2)
    return usage(pid)


def ready(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the server answers rightly within a minute, every worker of it."""
    deadline = time.monotonic() + 60
    workers = int(os.environ.get("KWS_WORKERS") or 2)
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200 and len(set(family(process.pid))) == workers + 1:
                return True
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    return False


def main() -> int:
    """Soak, and judge."""
    parser = argparse.ArgumentParser(prog="soak-service", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"KWS_MODEL": str(options.model), "KWS_PORT": str(port)}
    with tempfile.TemporaryDirectory() as name, Path(name, "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "service"], env=environment, stdout=log, stderr=log)
        try:
            soak = Soak(port, requests(Path(name)), 0)
            if not ready(process, port):
                print(f"soak: the service does not get ready:\n{Path(name, 'log').read_text()}", file=sys.stderr)
                return 3
            workers = set(family(process.pid))
            begin = time.monotonic()
            tenth = options.requests // TENTHS
            soak.run(tenth, WARMING * options.clients)
            course = [settled(process.pid)]
            for _ in range(TENTHS):
                soak.run(tenth, options.clients)
                course.append(settled(process.pid))
            first, last = course[0], course[-1]
            seconds = time.monotonic() - begin
            same = workers == set(family(process.pid))
        finally:
            process.terminate()
            code = process.wait(60)
    growth = last.own / first.own - 1
    print(f"{options.requests} requests in {seconds:.0f} s, {sum(soak.wrong.values())} wrong answers")
    print(
        f"memory of all processes, without files' pages: {first.own / 1e3:.1f} MB after a warm-up of {tenth}, "
        f"{last.own / 1e3:.1f} MB at the end: {growth:+.1%}"
    )
    print(f"its course, MB: {' '.join(f'{one.own / 1e3:.1f}' for one in course)}")
    print(f"files' pages, MB: {' '.join(f'{one.files / 1e3:.1f}' for one in course)}")
    print(f"open files: {first.descriptors} after the warm-up, {last.descriptors} at the end")
    failures = [f"{count} x {what}" for what, count in soak.wrong.most_common(5)]
    if growth >= MAX_GROWTH:
        failures.append(f"memory grows by {growth:.1%}; the bound is {MAX_GROWTH:.0%}")
    if last.descriptors > first.descriptors:
        failures.append(f"{last.descriptors - first.descriptors} more open files")
    if not same:
        failures.append("a worker was lost")
    if code:
        failures.append(f"exit code {code} after SIGTERM")
    for failure in failures:
        print(f"soak: {failure}", file=sys.stderr)
    return 3 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
