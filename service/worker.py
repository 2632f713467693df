"""gunicorn's threaded worker, with its queue and the time of a request bounded.

A connection without data waits in the poller, never in a thread. When as many requests wait as the queue takes, a
further one is answered 503 from the main loop; GET (health, metrics, pages) is cheap and always queued. Headers and
body must have arrived within one total time, however many pieces a client sends.
"""

from __future__ import annotations

import contextlib
import json
import math
import socket
import time
from collections import deque
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.http.errors import NoMoreData
from gunicorn.workers.gthread import ThreadWorker

from . import metrics
from .problems import PROBLEMS, BodyTimeout

_DRAIN_SECONDS = 2.0


class _Socket(socket.socket):
    """A client's socket of which all reads together have until `deadline`."""

    deadline = math.inf
    in_body = False

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        if self.deadline == math.inf:
            return super().recv(size, flags)
        try:
            self.settimeout(max(1e-3, self.deadline - time.monotonic()))
            return super().recv(size, flags)
        except TimeoutError:
            if self.in_body:
                raise BodyTimeout from None
            raise NoMoreData from None  # without a whole request there is nobody to answer
        finally:
            self.settimeout(None)


def _refusal() -> bytes:
    kind = PROBLEMS["overloaded"]
    document = {"type": "/problems/overloaded", "title": kind.title, "status": kind.status, "request_id": None}
    document["detail"] = f"As many requests wait as the queue takes. {kind.remedy}"
    body = json.dumps(document).encode() + b"\n"
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nCache-Control: no-store\r\n"
        f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Worker(ThreadWorker):
    """See the module; `queue` and `request_timeout` are set by gunicorn's configuration."""

    queue = 64
    request_timeout = 15.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._draining: deque[tuple[float, Any]] = deque()
        self._refusal = _refusal()

    def enqueue_req(self, conn: Any) -> None:
        """Queue what has data; park what has none; refuse what is too much. Called in the main loop."""
        if not isinstance(conn.sock, _Socket) and not self.cfg.is_ssl:
            conn.sock = _Socket(fileno=conn.sock.detach())
        # concurrent.futures does not tell the length of its queue otherwise.
        full = self.tpool._work_queue.qsize() >= self.queue
        if (full or not conn.initialized) and isinstance(conn.sock, _Socket):
            conn.sock.setblocking(False)
            try:
                start = conn.sock.recv(4, socket.MSG_PEEK)
            except BlockingIOError:
                if not (conn.initialized and conn.parser.unreader.buf.getvalue()):
                    self._park(conn)
                    return
                start = b""
            except OSError:
                start = b""  # the thread finds the same and closes
            if full and start and start not in (b"GET ", b"HEAD"):
                self._refuse(conn)
                return
            conn.data_ready = True
        super().enqueue_req(conn)

    def _park(self, conn: Any) -> None:
        conn.timeout = time.monotonic() + self.cfg.keepalive
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _refuse(self, conn: Any) -> None:
        metrics.REJECTED.labels("overloaded").inc()
        with contextlib.suppress(OSError):
            conn.sock.send(self._refusal)
            conn.sock.shutdown(socket.SHUT_WR)
        # Read on for a while: closed with data unread, the kernel would take the answer back.
        self._draining.append((time.monotonic() + _DRAIN_SECONDS, conn))
        self.poller.register(conn.sock, EVENT_READ, partial(self._drain, conn))

    def _drain(self, conn: Any, client: Any) -> None:  # noqa: ARG002  # the poller's form
        try:
            if conn.sock.recv(1 << 16):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._end(conn)

    def _end(self, conn: Any) -> None:
        if conn.sock.fileno() >= 0:
            self.poller.unregister(conn.sock)
            self.nr_conns -= 1
            conn.close()

    def murder_pending(self) -> None:
        """Close what has waited, or was drained, long enough."""
        super().murder_pending()
        while self._draining and (self._draining[0][0] <= time.monotonic() or self._draining[0][1].sock.fileno() < 0):
            self._end(self._draining.popleft()[1])

    def handle(self, conn: Any) -> Any:
        """Answer one request, in a thread."""
        if not isinstance(conn.sock, _Socket):
            return super().handle(conn)
        conn.sock.in_body = False
        conn.sock.deadline = time.monotonic() + self.request_timeout
        try:
            return super().handle(conn)
        finally:
            conn.sock.deadline = math.inf
