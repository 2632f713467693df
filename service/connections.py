"""What gunicorn's asgi worker leaves open: bounds on connections, problem documents, what SIGTERM does.

Its classes are extended here, private methods too: they have no hooks for it. Written for gunicorn 27.0.
"""

from functools import partial
from http import HTTPStatus
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.asgi.websocket import WebSocketProtocol
from gunicorn.workers import gasgi

from service.problems import MEDIA_TYPE, of_status, render

_LINGER_SECONDS = 2.0  # for a client to read its refusal


class Connection(ASGIProtocol):
    _heard_all = False  # that this client will say

    def connection_made(self, transport: Any) -> None:
        """Not more connections than allowed; the first headers within the request timeout."""
        super().connection_made(transport)
        if self.worker.nr_conns > self.worker.worker_connections:
            transport.abort()
        else:
            self._seconds = self.worker.asgi.state.settings.request_timeout
            self._keepalive_handle = self.worker.loop.call_later(self._seconds, self._keepalive_timeout)

    def _serve_http_request(self, *given: Any) -> Any:
        """Not in a task of its own, as gunicorn's: the application does nothing after its answer."""
        return self._handle_http_request(*given)

    def _cancel_keepalive_timer(self: Any) -> None:
        """When a request's headers are there: its body has the request timeout anew."""
        super()._cancel_keepalive_timer()
        if self._is_sending() and not self._closed:
            self._keepalive_handle = self.worker.loop.call_later(self._seconds, self._body_receiver.signal_disconnect)

    def _is_sending(self: Any) -> bool:
        return self._body_receiver is not None and not self._body_receiver._complete

    def eof_received(self: Any) -> bool:
        """Who has sent a whole request and closed its side waits for the answer, and for nothing after it."""
        waits: bool = self._websocket is None and self._body_receiver is not None and self._body_receiver._complete
        self._heard_all, self._keepalive = True, 0 if waits else self._keepalive
        return waits

    def _send_error_response(self, status: int, message: str, extra_headers: Any = ()) -> None:
        """Answer what is no HTTP with a problem document."""
        if self._closed or self.transport.is_closing():
            return
        _, body = render(of_status(status, f"The request is not HTTP as it should be: {message.rstrip('.')}."))
        head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Type: {MEDIA_TYPE}", "Connection: close"]
        head += ["Cache-Control: no-store", "X-Content-Type-Options: nosniff", f"Content-Length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in extra_headers]
        self._safe_write("\r\n".join([*head, "", ""]).encode("latin-1") + body)
        self._close_transport()
        self._request_ready.set()

    def _close_transport(self: Any) -> None:
        """Read on for a while, and drop it: a reset would overtake what was answered (RFC 9112, 9.6)."""
        if self._closed or self.transport is None or self.transport.is_closing():
            return
        self._callback_parser, self._closed = None, True
        if self._heard_all:
            self.transport.close()
        else:
            self._resume_reading()
            self.transport.write_eof()
            seconds = self._seconds if self._is_sending() else _LINGER_SECONDS
            self.worker.loop.call_later(seconds, self.transport.abort)


def _unmask(self: Any, payload: bytes, masking_key: bytes) -> bytes:  # noqa: ARG001
    """As gunicorn's, which takes 60 times as long: byte by byte."""
    size = len(payload)
    mask = (masking_key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")


gasgi.ASGIProtocol, WebSocketProtocol._unmask = Connection, _unmask


class Worker(gasgi.ASGIWorker):
    def init_signals(self) -> None:
        """When the loop runs: until then uvloop would lose them, and what `post_fork` has set holds."""
        self.loop.call_soon(super().init_signals)
        # Of a burst as many connections wait as gunicorn says; with uvloop's own 100 the kernel would drop the others.
        self.loop.create_server = partial(self.loop.create_server, backlog=self.cfg.backlog)

    async def _shutdown(self) -> None:
        """Tell streams; other connections hear `Connection: close` with their next answer, and are waited for."""
        telling = self.loop.create_task(self.asgi.streams.stop())
        await super()._shutdown()
        telling.cancel()
