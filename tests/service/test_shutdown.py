"""SIGTERM and SIGKILL under load."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from .server import Server
from .tones import encode, tone, wav


@dataclass
class Load:
    """Clients that send one request after the other, each over one kept-alive connection."""

    port: int
    clients: int
    body: bytes
    answered: int = 0
    failed: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    reconnect: bool = False

    def __post_init__(self) -> None:
        self.threads = [threading.Thread(target=self._run) for _ in range(self.clients)]
        for thread in self.threads:
            thread.start()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.stopped.is_set():
            closing = False
            try:
                connection.request("POST", "/predict", self.body)
                response = connection.getresponse()
                document = response.read()
                closing = response.will_close
                if response.status != 200 or b'"prediction": "yes"' not in document:
                    raise AssertionError(f"{response.status} {document!r}")
                with self.lock:
                    self.answered += 1
            except (OSError, http.client.HTTPException, AssertionError) as error:
                with self.lock:
                    self.failed.append(repr(error))
                closing = True
            if closing:
                connection.close()
                if not self.reconnect:
                    return

    def wait_for(self, answers: int) -> None:
        """Until that many more requests are answered."""
        target = self.answered + answers
        deadline = time.monotonic() + 30
        while self.answered < target:
            assert time.monotonic() < deadline, f"{self.answered} answered, {self.failed}"
            time.sleep(0.01)

    def join(self) -> None:
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()


@pytest.mark.parametrize("attempt", range(2))
def test_sigterm_under_load(tone_model_path: Path, tmp_path: Path, attempt: int) -> None:
    """Every request on an open connection is answered, and no worker aborts."""
    with Server(tmp_path, tone_model_path) as server:
        load = Load(server.port, 8, wav("yes"))
        load.wait_for(100)
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 10
        load.join()
        assert load.failed == []
        messages = [line["message"] for line in server.log()]
        assert not any("was sent" in message or "Traceback" in message for message in messages)
        assert sum(message.startswith("Worker exiting") for message in messages) == 2
        # The access log has every answer that a client got.
        predictions = [line for line in server.access_log() if line["path"] == "/predict"]
        assert len(predictions) == load.answered
        assert all(line["status"] == 200 for line in predictions)


def test_sigterm_waits_for_a_request_in_flight(tone_model_path: Path, tmp_path: Path) -> None:
    """The upload is still coming when SIGTERM does."""
    with Server(tmp_path, tone_model_path, workers=1) as server:
        body = encode(tone("yes", 30.0))
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        connection.send(body[:1000])
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        connection.send(body[1000:])
        response = connection.getresponse()
        assert response.status == 200
        assert b'"prediction": "yes"' in response.read()
        assert server.process.wait(20) == 0


def test_a_stuck_request_does_not_outlive_the_grace_time(tone_model_path: Path, tmp_path: Path) -> None:
    with Server(tmp_path, tone_model_path, workers=1, graceful_timeout=1) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", "1000")
        connection.endheaders()
        time.sleep(0.3)
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 6
        connection.close()


def test_a_killed_worker_is_replaced(tone_model_path: Path, tmp_path: Path) -> None:
    with Server(tmp_path, tone_model_path) as server:
        load = Load(server.port, 8, wav("yes"), reconnect=True)
        load.wait_for(50)
        before = server.workers()
        assert len(before) == 2
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        load.wait_for(400)
        deadline = time.monotonic() + 20
        while len(server.workers()) < 2 or victim in server.workers():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        load.wait_for(100)
        load.stopped.set()
        load.join()
        # At most what was under way in the victim: four threads, and its idle connections.
        assert len(load.failed) <= 8
        assert server.stop() == 0
