"""New connections are shared out among the workers."""

from __future__ import annotations

import http.client
import os
import signal
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from service.worker import Connections

from .server import Server


def test_places() -> None:
    connections = Connections(3)
    assert connections.free(set()) == 0
    assert connections.free({0, 2, None}) == 1
    assert connections.free({0, 1, 2}) is None
    assert connections.fewest(0) is None  # there is no other
    connections.tell(0, 7)
    assert connections.fewest(0) is None
    connections.tell(1, 5)
    connections.tell(2, 3)
    assert connections.fewest(0) == 3
    assert connections.fewest(2) == 5
    connections.leave(2)
    assert connections.fewest(0) == 5


def opened(server: Server, count: int, stack: ExitStack) -> list[http.client.HTTPConnection]:
    """So many connections, all of them made before the first request."""
    connections = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=20) for _ in range(count)]
    for connection in connections:
        stack.enter_context(closing(connection))
        connection.connect()
    return connections


def ask(connections: Iterable[http.client.HTTPConnection], path: str) -> None:
    """Answered with 404, each of them."""
    for connection in connections:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert response.status == 404


def answered_by(server: Server, path: str) -> Counter[int]:
    """How many requests of `path` each worker answered."""
    return Counter(line["pid"] for line in server.access_log() if line["path"] == path)


def all_ready(server: Server, starts: int) -> None:
    """Once so many workers have come up, in all; a short while after their log's line they accept."""
    deadline = time.monotonic() + 20
    while sum(line["message"].startswith("ready: ") for line in server.log()) < starts:
        assert time.monotonic() < deadline, server.stderr()
        time.sleep(0.05)
    time.sleep(0.2)


def test_a_burst_of_connections_is_shared(tone_model_path: Path, tmp_path: Path) -> None:
    with Server(tmp_path, tone_model_path) as server:
        all_ready(server, 2)
        for burst in range(8):
            with ExitStack() as stack:
                ask(opened(server, 16, stack), f"/burst-{burst}")
            time.sleep(0.1)  # the log's line comes after the answer, and closed connections are counted for a moment
            shares = answered_by(server, f"/burst-{burst}")
            assert sum(shares.values()) == 16
            assert min(shares[pid] for pid in server.workers()) >= 5, shares


def test_a_stuck_worker_stops_nobody(tone_model_path: Path, tmp_path: Path) -> None:
    """The others have more connections then, and accept all the same."""
    with Server(tmp_path, tone_model_path) as server, ExitStack() as stack:
        all_ready(server, 2)
        stuck, well = sorted(server.workers())
        os.kill(stuck, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            ask(opened(server, 40, stack), "/stuck")
            assert time.monotonic() - begin < 2
        finally:
            os.kill(stuck, signal.SIGCONT)
        time.sleep(0.1)  # the log's line comes after the answer
        assert answered_by(server, "/stuck") == {well: 40}


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_gone_worker_is_not_waited_for(tone_model_path: Path, tmp_path: Path, sent: signal.Signals) -> None:
    """Its place is free again, and the worker that takes it gets its share."""
    with Server(tmp_path, tone_model_path) as server:
        all_ready(server, 2)
        victim, other = sorted(server.workers())
        with ExitStack() as stack:
            ask(opened(server, 10, stack), "/before")
            os.kill(victim, sent)
            deadline = time.monotonic() + 20
            while len(server.workers()) < 2 or victim in server.workers():
                assert time.monotonic() < deadline
                time.sleep(0.05)
        all_ready(server, 3)
        with ExitStack() as stack:
            ask(opened(server, 12, stack), "/after")
        time.sleep(0.1)
        shares = answered_by(server, "/after")
        assert min(shares[pid] for pid in server.workers()) >= 3, shares
        assert shares[other]
