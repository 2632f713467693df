"""What gunicorn's asgi worker leaves open: bounds on connections, problem documents, a stop that loses nothing.

It wraps methods of gunicorn's classes; they have no hooks for it. Written for gunicorn 27.0.
"""

import asyncio
import signal
from http import HTTPStatus
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.asgi.websocket import WebSocketProtocol

from service.problems import MEDIA_TYPE, of_status, render
from service.settings import Settings

_LINGER_SECONDS = 2.0  # for a client to read its refusal; for all clients to hear that the connection will close


def apply(settings: Settings) -> None:
    made = ASGIProtocol.connection_made

    def connection_made(self: Any, transport: Any) -> None:
        """Not more connections than allowed; the first headers within the request timeout."""
        made(self, transport)
        if self.worker.nr_conns > self.worker.worker_connections:
            transport.abort()
        else:
            self._keepalive_handle = self.worker.loop.call_later(settings.request_timeout, self._keepalive_timeout)

    ASGIProtocol.connection_made = connection_made
    ASGIProtocol.eof_received = _eof_received
    ASGIProtocol._send_error_response = _refuse
    ASGIProtocol._close_transport, ASGIProtocol._heard_all = _close, False
    WebSocketProtocol._unmask = _unmask


def _eof_received(self: Any) -> bool:
    """Who has sent a whole request and closed its side waits for the answer, and for nothing after it."""
    waits: bool = self._websocket is None and self._body_receiver is not None and self._body_receiver._complete
    self._heard_all, self._keepalive = True, 0 if waits else self._keepalive
    return waits


def _refuse(self: Any, status: int, message: str, extra_headers: Any = ()) -> None:
    """Answer what is no HTTP with a problem document."""
    if self._closed or self.transport.is_closing():
        return
    _, body = render(of_status(status, f"The request is not HTTP as it should be: {message.rstrip('.')}."))
    head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Type: {MEDIA_TYPE}", "Connection: close"]
    head += ["Cache-Control: no-store", "X-Content-Type-Options: nosniff", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in extra_headers]
    self._safe_write("\r\n".join([*head, "", ""]).encode("latin-1") + body)
    _close(self)
    self._request_ready.set()


def _close(self: Any) -> None:
    """Read on for a while, and drop it: a reset would overtake what was answered (RFC 9112, 9.6)."""
    if self._closed or self.transport is None or self.transport.is_closing():
        return
    self._callback_parser, self._closed = None, True
    if self._heard_all:
        self.transport.close()
    else:
        self._resume_reading()
        self.transport.write_eof()
        self.worker.loop.call_later(_LINGER_SECONDS, self.transport.abort)


def _unmask(self: Any, payload: bytes, masking_key: bytes) -> bytes:  # noqa: ARG001
    """As gunicorn's, which takes 60 times as long: byte by byte."""
    size = len(payload)
    mask = (masking_key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")


def stop_gently(worker: Any) -> None:
    """At SIGTERM say `Connection: close` for a while before the worker stops: gunicorn breaks kept connections."""
    notice = min(_LINGER_SECONDS, worker.cfg.graceful_timeout / 2)

    async def stop() -> None:
        worker.asgi.stopping = True
        told = worker.loop.create_task(worker.asgi.streams.stop())
        end = worker.loop.time() + notice
        while worker.nr_conns and worker.loop.time() < end:
            await asyncio.sleep(0.05)
        worker.handle_exit_signal()
        await told

    # From the loop itself: what comes before it runs would be lost with uvloop's handler.
    worker.loop.call_soon(worker.loop.add_signal_handler, signal.SIGTERM, lambda: worker.loop.create_task(stop()))
