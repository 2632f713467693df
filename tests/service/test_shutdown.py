"""SIGTERM and SIGKILL under load."""

import http.client
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
        assert server.stop() == 0
        load.join()
        assert load.failed == []
        messages = [line["message"] for line in server.log()]
        assert not any("was sent" in message or "Traceback" in message for message in messages)
        assert sum(message.startswith("Worker exiting") for message in messages) == 2
        # The access log has every answer that a client got.
        predictions = [line for line in server.access_log() if line["path"] == "/predict"]
        assert len(predictions) == load.answered
        assert all(line["status"] == 200 for line in predictions)


def test_reloads_and_a_killed_worker_under_load(tone_model_path: Path, tmp_path: Path) -> None:
    with Server(tmp_path, tone_model_path) as server:
        load = Load(server.port, 8, wav("yes"), reconnect=True)
        load.wait_for(50)
        for _ in range(2):
            workers = server.workers()
            server.process.send_signal(signal.SIGHUP)
            server.until(lambda: not server.workers() & workers and len(server.workers()) == 2)  # noqa: B023
            load.wait_for(100)
        assert load.failed == []  # a reload loses nothing
        victim = server.kill_one()
        load.wait_for(100)
        server.until(lambda: len(server.workers() - {victim}) == 2)
        load.wait_for(100)
        load.stopped.set()
        load.join()
        # At most what was under way in the victim, and its idle connections.
        assert len(load.failed) <= 8
        assert server.stop() == 0


def upload(server: Server, size: int) -> http.client.HTTPConnection:
    """A request whose body is yet to come."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    return connection


def test_sigterm_waits_for_a_request_in_flight(tone_model_path: Path, tmp_path: Path) -> None:
    """The upload is still coming when SIGTERM does."""
    with Server(tmp_path, tone_model_path, workers=1) as server:
        body = encode(tone("yes", 30.0))
        connection = upload(server, len(body))
        connection.send(body[:1000])
        assert server.ask(("POST", "/predict", wav("yes")))  # so that the one before has been accepted
        server.process.send_signal(signal.SIGTERM)
        server.until(lambda: server.messages("Worker shutting down"))
        connection.send(body[1000:])
        response = connection.getresponse()
        assert response.status == 200
        assert b'"prediction": "yes"' in response.read()
        assert server.process.wait(30) == 0


def test_a_stuck_request_does_not_outlive_the_grace_time(tone_model_path: Path, tmp_path: Path) -> None:
    with Server(tmp_path, tone_model_path, workers=1, graceful_timeout=1, request_timeout=3600) as server:
        connection = upload(server, 1000)
        assert server.ask(("POST", "/predict", wav("yes")))
        assert server.stop() == 0
        connection.close()
