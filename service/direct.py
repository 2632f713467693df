"""`POST /predict` as most clients send it, answered without Flask's dispatch.

Flask's routing, contexts, request and response objects cost about as much as the model's own arithmetic. What is taken
here is a body of known length, raw or a form of one plain file; the answer is the view's own (`routes.predict.answer`).
Every other request, and every failure that is no problem document, goes to Flask as if this layer were not there.
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

from . import metrics, problems
from .forms import lone_file
from .http import REQUEST_ID
from .routes.predict import answer
from .state import State

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class Direct:
    """The layer around `application`."""

    def __init__(self, application: WSGIApplication, state: State) -> None:
        self._flask = application
        self._state = state
        self._answered = metrics.REQUESTS.labels("predict.predict", "200")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """A WSGI application."""
        begin = time.perf_counter()
        if environ["PATH_INFO"] != "/predict" or environ["REQUEST_METHOD"] != "POST":
            return self._flask(environ, start_response)
        text = environ.get("CONTENT_LENGTH", "")
        # Nothing, too much or of unknown length: Flask says what is wrong.
        if not (text.isascii() and text.isdecimal() and len(text) < 12) or self._state.classifier is None:
            return self._flask(environ, start_response)
        length = int(text)
        if not 0 < length <= self._state.settings.max_upload_bytes:
            return self._flask(environ, start_response)
        try:
            data = environ["wsgi.input"].read(length)
        except problems.BodyTimeout:
            return self._flask(environ, start_response)  # its own read fails at once, in the same way
        kind = environ.get("CONTENT_TYPE", "")
        audio = lone_file(data, kind) if kind[:9].lower() == "multipart" else data
        request_id = environ[REQUEST_ID]
        try:
            if not audio or len(data) != length:
                return self._again(data, environ, start_response)
            body, timing = answer(self._state, audio, request_id, begin)
        except problems.Problem as problem:
            status, body = problems.render(problem.name, problem.detail, request_id)
            metrics.REQUESTS.labels("predict.predict", status[:3]).inc()
            headers = [("Content-Type", problems.MEDIA_TYPE), *problem.headers.items()]
        except Exception:
            return self._again(data, environ, start_response)  # fails there too; logged and answered
        else:
            status = "200 OK"
            self._answered.inc()
            headers = [("Content-Type", "application/json"), ("Server-Timing", timing)]
        headers += [("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
        start_response(status, headers)
        return [body]

    def _again(self, data: bytes, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Flask's answer, to the body that was read already."""
        environ["wsgi.input"] = io.BytesIO(data)
        return self._flask(environ, start_response)
