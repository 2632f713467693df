"""gunicorn's threaded worker, with its queue and the time of a request bounded.

A connection without data waits in the poller, never in a thread. When as many requests wait as the queue takes, a
further one is answered 503 from the main loop; GET (health, metrics, pages) is cheap and always queued. Headers and
body must have arrived within one total time, however many pieces a client sends.

The kernel hands a new connection to whichever worker asks first, which may be the same one for all connections of a
burst: they would then stay with one process while the others idle. A worker with more connections than another
therefore leaves a new one alone for a moment.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import socket
import time
from collections import deque
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.http.errors import NoMoreData
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import ThreadWorker

from .problems import MEDIA_TYPE, BodyTimeout, render, render_status

_DRAIN_SECONDS = 2.0
# A worker that is asleep takes a fraction of this to wake up; a new connection waits at most _YIELDS times as long.
_YIELD_SECONDS = 0.001
_YIELDS = 3


class Connections:
    """How many connections each worker has, in memory that the workers share.

    Args:
        places: the most workers at a time.
    """

    _NOBODY = -1

    def __init__(self, places: int) -> None:
        self._counts = memoryview(mmap.mmap(-1, 4 * places)).cast("i")
        for place in range(places):
            self.leave(place)

    def free(self, taken: set[int | None]) -> int | None:
        """A place that is not in `taken`, None where there is none."""
        return next((place for place in range(len(self._counts)) if place not in taken), None)

    def tell(self, place: int, count: int) -> None:
        """The worker at `place` accepts connections and has `count`."""
        self._counts[place] = count

    def leave(self, place: int) -> None:
        """The worker at `place` accepts none."""
        self._counts[place] = self._NOBODY

    def fewest(self, place: int) -> int | None:
        """The least that a worker other than the one at `place` has, None where no other accepts any."""
        others = (count for other, count in enumerate(self._counts) if other != place and count != self._NOBODY)
        return min(others, default=None)


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


class _Overheard:
    """Takes what gunicorn would send as its own error page."""

    status = 500

    def gettimeout(self) -> float:
        return 0.0

    def setblocking(self, flag: bool) -> None:
        pass

    def sendall(self, data: bytes) -> None:
        self.status = int(data.split(b" ", 2)[1])


def _last_answer(status: str, body: bytes, headers: str = "") -> bytes:
    """An answer after which the connection ends."""
    head = (
        f"HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Cache-Control: no-store\r\n"
        f"X-Content-Type-Options: nosniff\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Worker(ThreadWorker):
    """See the module; the attributes of the class are set by gunicorn's configuration, `place` before the fork."""

    queue = 64
    request_timeout = 15.0
    connections: Connections | None = None
    place: int | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._draining: deque[tuple[float, Any]] = deque()
        self._accept_again = 0.0
        self._yields = 0

    def accept(self, listener: Any) -> None:
        """Accept a connection, or leave it for a moment to a worker that has fewer."""
        if self._yields < _YIELDS and self._is_ahead():
            self._yields += 1
            self.set_accept_enabled(False)
            self._accept_again = time.monotonic() + _YIELD_SECONDS
            return
        self._yields = 0
        super().accept(listener)
        self._tell()

    def _is_ahead(self) -> bool:
        """Whether another worker has clearly fewer connections; by a quarter, so that many are taken in few steps."""
        if self.connections is None or self.place is None:
            return False
        fewest = self.connections.fewest(self.place)
        return fewest is not None and self.nr_conns > fewest + fewest // 4

    def _tell(self) -> None:
        if self.connections is None or self.place is None:
            return
        if self.alive:
            self.connections.tell(self.place, self.nr_conns)
        else:
            self.connections.leave(self.place)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept or not; not yet, while a connection is left to others."""
        if enabled and time.monotonic() < self._accept_again:
            return
        self._accept_again = 0.0
        super().set_accept_enabled(enabled)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """As gunicorn's, but no longer than until connections are accepted again."""
        self._tell()
        if self._accept_again:
            timeout = min(timeout, max(0.0, self._accept_again - time.monotonic()))
        super().wait_for_and_dispatch_events(timeout)

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
        refusal = render("overloaded", "As many requests wait as the queue takes.", None)
        with contextlib.suppress(OSError):
            conn.sock.send(_last_answer(*refusal, "Retry-After: 1\r\n"))
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

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer what is not even HTTP with a problem document, where gunicorn would send a page."""
        page = _Overheard()
        super().handle_error(req, page, addr, exc)  # logs, and decides on the status
        if page.status >= 500:
            answer = render("internal-error", "The request could not be handled.", None)
        elif page.status == 400:
            answer = render("bad-request", f"The request is not HTTP as it should be: {exc}.", None)
        else:
            answer = render_status(page.status, f"{exc}.", None)
        with contextlib.suppress(OSError):
            write_nonblock(client, _last_answer(*answer))
