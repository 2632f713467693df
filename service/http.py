"""What every request and response has: an id, bounded form data kept in memory, and safe headers."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any

import flask
from flask import Flask, Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from . import metrics
from .forms import lone_file
from .problems import Problem

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID = "kws.request_id"
"""Where the WSGI environment holds the request's id."""

_HARMLESS = re.compile(r"[A-Za-z0-9._:-]{1,128}")

_SAFE_HEADERS = [
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "media-src 'self' blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(self)"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
]


class Request(flask.Request):
    """A request whose form data never touches the disk (the root file system may be read-only)."""

    def _get_file_stream(self, *_: object, **__: object) -> IO[bytes]:
        return io.BytesIO()  # MAX_CONTENT_LENGTH bounds it


def _begin() -> None:
    g.request_id = request.environ[REQUEST_ID]


def _finish(response: Response) -> Response:
    headers = response.headers
    if response.status_code in (408, 413):
        # The rest of the body is not read, so no further request can come over this connection. Said to
        # gunicorn (see its configuration), which drops an application's Connection header.
        close = getattr(request.environ["wsgi.input"], "close_connection", None)
        if close is not None:
            close()
    metrics.REQUESTS.labels(request.endpoint or "none", str(response.status_code)).inc()
    # Only what is the same for everybody may be kept, and even that only after asking (ETag).
    headers["Cache-Control"] = "no-cache" if request.endpoint == "static" else "no-store"
    return response


def outermost(application: WSGIApplication) -> WSGIApplication:
    """What every request and response has, whichever layer answers: its id, its count, the safe headers.

    The id is the caller's X-Request-ID where it is harmless. The headers are put in here because Flask's header
    objects would cost a tenth of a whole request for the same constants.
    """

    def wrapped(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(status, [*headers, ("X-Request-ID", request_id), *_SAFE_HEADERS], exc_info)

        given = environ.get("HTTP_X_REQUEST_ID")
        request_id = given if given and _HARMLESS.fullmatch(given) else os.urandom(16).hex()
        environ[REQUEST_ID] = request_id
        metrics.IN_FLIGHT.inc()
        try:
            return application(environ, start)
        finally:
            metrics.IN_FLIGHT.dec()

    return wrapped


def register(app: Flask) -> None:
    """Give `app`'s requests their ids and its responses their headers."""
    app.before_request(_begin)
    app.after_request(_finish)


def upload() -> bytes:
    """The bytes of the one uploaded file."""
    if request.mimetype == "multipart/form-data":
        if request.content_length is not None and (data := lone_file(request.get_data(), request.content_type or "")):
            return data
        files = request.files.getlist("file")
        if len(files) > 1:
            raise Problem("several-files", f"The form has {len(files)} fields 'file'.")
        if not files:
            raise Problem("nothing-uploaded", "The form has no file field 'file'.")
        data = files[0].read()
        if not data:
            raise Problem("nothing-uploaded", "The form's field 'file' is empty.")
        return data
    # Not by media type: `curl --data-binary` calls everything a URL-encoded form.
    data = request.get_data(cache=False)
    if not data:
        raise Problem("nothing-uploaded", "The request body is empty.")
    # Werkzeug cuts a body of unknown length (chunked) at the limit without a word.
    if request.content_length is None and len(data) >= (request.max_content_length or 0):
        raise RequestEntityTooLarge
    return data
