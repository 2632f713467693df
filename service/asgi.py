"""The application as it is served: whole requests in, whole answers out, and no thread waits for a client.

A body is collected first, within bounds; the answer is made in one go, in the event loop where that is short, else in
the one thread beside it.
"""

import asyncio
import io
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from flask import Flask

from kws.audio import AudioError
from service import logs, metrics, predict, problems, upload
from service.access import Access, is_health
from service.detect import Streams
from service.problems import Problem
from service.readiness import State

Header = tuple[bytes, bytes]
Answer = tuple[int, list[Header], bytes]

_SHORT = 256 * 1024  # bytes of a body that may be answered in the event loop
_AT_ONCE = 8  # answers between two looks at the sockets; of pages, which take as long as several, one
_HARMLESS = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"media-src 'self' blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_NO_STORE, _NO_SNIFF = (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")
_JSON_HEADERS = [(b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"), _NO_SNIFF]
_PAGE_HEADERS = [  # of what a browser may show or play
    (b"content-security-policy", _POLICY),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(self)"),
    (b"referrer-policy", b"no-referrer"),
    _NO_SNIFF,
]
_LOG = logging.getLogger("gunicorn.error")


class Request:
    """One request, and how much of its body is held."""

    def __init__(self, scope: Any) -> None:
        self.begin = time.perf_counter()
        self.scope, self.path = scope, scope["path"].rstrip("/") or "/"
        self.method = scope.get("method", "GET")  # of a WebSocket
        self.headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:  # several of one name count as one, separated by commas
            self.headers[name] = self.headers[name] + b"," + value if name in self.headers else value
        given = self.headers.get(b"x-request-id", b"")
        self.id = given.decode() if _HARMLESS.fullmatch(given) else os.urandom(16).hex()
        self.length = int(self.headers.get(b"content-length", b"0"))  # gunicorn has checked it
        self.more = self.length > 0 or b"transfer-encoding" in self.headers  # of the body is to come
        self.is_upload = self.more
        self.held, self.client, self.endpoint = 0, "", "none"
        self.facts: metrics.Facts | None = None  # what else to count
        self.raw_path = scope["raw_path"].decode("latin-1")
        self.kind = self.headers.get(b"content-type", b"").decode("latin-1")


class Service:
    """The ASGI application around the Flask one."""

    def __init__(self, app: Flask, state: State) -> None:
        self.state, self._flask, self._settings = state, app, state.settings
        self._access = Access(app, self._settings)
        self._ahead, self._long = Counter[int](), ThreadPoolExecutor(1)
        self.streams = Streams(self.state, self._access, self._turn)
        self._held = 0  # bytes of bodies

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope)
        request.client = self._access.client(request.headers, scope["client"])
        if scope["type"] == "websocket":
            await self.streams(request, receive, send)
            return
        try:
            answer = await self._answer(request, receive)
        except Exception as error:
            answer = self._refuse(request, error)
        finally:
            self._held -= request.held
        await self._send(request, answer, send)

    async def _answer(self, request: Request, receive: Any) -> Answer:
        """Raises Problem, AudioError, and what is unexpected."""
        if is_health(request.path):
            return self._ask(request, b"")
        preflight = request.method == "OPTIONS" and b"access-control-request-method" in request.headers
        if preflight and self._access.cors("OPTIONS", request.headers):
            return 204, [], b""  # `_send` adds what CORS needs
        self._access.check(request.path, request.headers, request.client)
        self._bound_queue(request)
        body = await self._body(request, receive)
        self._bound_queue(request)
        metrics.in_flight[request.is_upload] += 1
        try:
            # Few bytes of WAV are few seconds of audio; of what is compressed nobody knows.
            if len(body) <= _SHORT and (not body or body.find(b"RIFF", 0, 1024) >= 0):
                await self._turn(_AT_ONCE if request.is_upload else 1)
                return self._ask(request, body)
            return await asyncio.get_running_loop().run_in_executor(self._long, self._ask, request, body)
        finally:
            metrics.in_flight[request.is_upload] -= 1

    async def _turn(self, at_once: int = _AT_ONCE) -> None:
        """Wait in a line, of which `at_once` are answered between two looks at the sockets."""
        ahead = self._ahead[at_once]
        self._ahead[at_once] += 1
        try:
            for _ in range(1 + ahead // at_once):
                await asyncio.sleep(0)
        finally:
            self._ahead[at_once] -= 1

    def _bound_queue(self, request: Request) -> None:
        if metrics.in_flight[request.is_upload] > self._settings.queue:
            raise Problem("overloaded", "As many requests wait as the queue takes.", ("Retry-After", "1"))

    async def _body(self, request: Request, receive: Any) -> bytes:
        """The whole body. Raises Problem where it, or all that are held together, are too large."""
        pieces: list[bytes] = []
        most = self._settings.max_upload_bytes
        while True:
            if max(request.length, request.held) > most:
                raise Problem("too-large", f"A request may have at most {most} bytes.")
            if not request.more:
                return b"".join(pieces)
            if self._held > max(most, self._settings.max_held_bytes):
                raise Problem("overloaded", "The bodies of other requests fill the memory.", ("Retry-After", "1"))
            message = await receive()
            if message["type"] != "http.request":
                raise Problem("request-timeout", "The request's body did not arrive whole in time.")
            pieces.append(message["body"])
            request.more = message["more_body"]
            request.held += len(pieces[-1])
            self._held += len(pieces[-1])

    def _ask(self, request: Request, body: bytes) -> Answer:
        """The answer to a whole request; `/predict` without Flask, which would cost half as much again."""
        if encoding := request.headers.get(b"content-encoding"):
            body = upload.inflate(body, encoding.decode("latin-1"), self._settings.max_upload_bytes)
        if request.path != "/predict" or request.method != "POST":
            return self._ask_flask(request, body)
        request.endpoint = "predict.predict"
        text, timing = predict.answer(self.state, body, request)
        return 200, [*_content(b"application/json", text), (b"server-timing", timing.encode())], text

    def _ask_flask(self, request: Request, body: bytes) -> Answer:
        scope = request.scope
        environ: dict[str, Any] = {"wsgi.url_scheme": scope["scheme"], "wsgi.input": io.BytesIO(body)}
        environ |= {"REQUEST_METHOD": request.method, "PATH_INFO": request.path.encode().decode("latin-1")}
        environ |= {"SERVER_NAME": scope["server"][0], "SERVER_PORT": str(scope["server"][1])}
        environ |= {"QUERY_STRING": scope["query_string"].decode("latin-1"), "kws.request": request}
        environ |= {"CONTENT_TYPE": request.kind, "CONTENT_LENGTH": str(len(body))}
        for name, value in request.headers.items():
            environ[f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}"] = value.decode("latin-1")
        with self._flask.request_context(environ) as context:
            request.endpoint = context.request.endpoint or "none"
            with closing(self._flask.full_dispatch_request()) as response:
                # Only what is the same for everybody may be kept, and even that only after asking (ETag).
                response.headers["Cache-Control"] = "no-cache" if request.endpoint == "static" else "no-store"
                content, _, headers = response.get_wsgi_response(environ)
                return response.status_code, _encoded(headers), b"".join(content)

    def _refuse(self, request: Request, error: Exception) -> Answer:
        if isinstance(error, AudioError):
            error = Problem(error.kind, error.detail)
        elif not isinstance(error, Problem):
            _LOG.error("a request failed", exc_info=error, extra={"fields": {"request_id": request.id}})
            error = Problem("internal-error", "An unexpected error was logged by the service.")
        status, body = problems.render(error, request.id, request.raw_path)
        return status, [*_content(problems.MEDIA_TYPE.encode(), body), *_encoded(error.headers)], body

    async def _send(self, request: Request, answer: Answer, send: Any) -> None:
        status, headers, body = answer
        head = [*headers, (b"x-request-id", request.id.encode())]
        head += _JSON_HEADERS if headers and b"json" in headers[0][1] else _PAGE_HEADERS
        if allowed := self._access.cors(request.method, request.headers):
            head += _encoded(allowed)
        if request.more:
            head.append((b"connection", b"close"))
        if request.method == "HEAD" or status in (204, 304):
            body = b""
        if not metrics.answered:
            asyncio.get_running_loop().call_later(0.02, metrics.flush)  # seconds
        metrics.answered.append((request.endpoint, status, request.facts))
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})
        if self._settings.access_log:
            logs.access(request, status, len(body))


def _content(media_type: bytes, body: bytes) -> list[Header]:
    return [(b"content-type", media_type), (b"content-length", b"%d" % len(body)), _NO_STORE]


def _encoded(headers: Iterable[tuple[str, str]]) -> list[Header]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
