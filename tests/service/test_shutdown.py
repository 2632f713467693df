"""SIGTERM, SIGHUP and SIGKILL under load."""

import signal
import threading
import time
from typing import Any

import httpx
import pytest

from .server import LOCAL, Serve, read
from .tones import encode, tone, wav


class Load:
    """Eight clients that send one request after the other, each over one kept-alive connection."""

    def __init__(self, url: str, reconnect: bool = False) -> None:
        self.url, self.reconnect = url, reconnect
        self.answers: list[str] = []  # of each request: right, or what was wrong
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._run) for _ in range(8)]
        for thread in self.threads:
            thread.start()

    def _run(self) -> None:
        with httpx.Client(base_url=self.url, **LOCAL) as client:
            closing = False
            while not self.stopped.is_set() and (self.reconnect or not closing):
                try:
                    answer = client.post("/predict", content=wav("yes"))
                    right = answer.status_code == 200 and answer.json()["prediction"] == "yes"
                    self.answers.append("right" if right else answer.text)
                    closing = answer.headers.get("Connection") == "close"
                except httpx.HTTPError as error:
                    self.answers.append(repr(error))
                    closing = True

    def failed(self) -> list[str]:
        return [answer for answer in self.answers if answer != "right"]

    def wait_for(self, more: int) -> None:
        """Until that many more requests are answered rightly."""
        target, deadline = self.answers.count("right") + more, time.monotonic() + 60
        while self.answers.count("right") < target:
            assert time.monotonic() < deadline, self.failed()
            time.sleep(0.01)

    def join(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()


def test_sigterm_under_load(serve: Serve) -> None:
    """Every request on an open connection is answered, and no worker aborts."""
    server = serve(workers=2)
    load = Load(server.url)
    load.wait_for(100)
    assert server.stop() == 0
    load.join()
    assert load.failed() == []
    messages = [line["message"] for line in server.log()]
    assert not any("was sent" in message or "Traceback" in message for message in messages)
    assert sum(message.startswith("Worker exiting") for message in messages) == 2
    # The access log has every answer that a client got.
    predictions = [line["status"] for line in server.log("stdout") if line["path"] == "/predict"]
    assert predictions == [200] * len(load.answers)


def test_reloads_and_a_killed_worker_under_load(serve: Serve) -> None:
    server = serve(workers=2)
    load = Load(server.url, reconnect=True)
    load.wait_for(50)
    for _ in range(2):
        server.reload()
        load.wait_for(100)
    assert load.failed() == []  # a reload loses nothing
    server.kill_one()
    load.wait_for(200)
    load.join()
    assert len(load.failed()) <= 8  # at most what was under way in the victim, and its idle connections
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("settings", "goes_on"), [({}, True), ({"graceful_timeout": 1, "request_timeout": 3600}, False)]
)
def test_sigterm_during_an_upload(serve: Serve, settings: dict[str, Any], goes_on: bool) -> None:
    """What goes on is answered; what does not go on does not outlive the grace time."""
    server, body = serve(**settings), encode(tone("yes", 30.0))
    connection = server.connect(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
    connection.sendall(body[:1000])
    assert server.predict(wav("yes")).status_code == 200  # so that the one before has been accepted
    server.process.send_signal(signal.SIGTERM)
    if goes_on:
        server.until(lambda: server.messages("Worker shutting down"))
        connection.sendall(body[1000:])
        answer = read(connection)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"prediction": "yes"' in answer
    assert server.process.wait(30) == 0
    connection.close()
