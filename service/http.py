"""What every request and response has: an id, bounded form data kept in memory, and safe headers."""

from __future__ import annotations

import io
import os
import re
from typing import IO

import flask
from flask import Flask, Response, g, request

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "media-src 'self' blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Request(flask.Request):
    """A request whose form data never touches the disk (the root file system may be read-only)."""

    def _get_file_stream(self, *_: object, **__: object) -> IO[bytes]:
        return io.BytesIO()  # MAX_CONTENT_LENGTH bounds it


def _begin() -> None:
    """Take the caller's X-Request-ID where it is harmless, or make one."""
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()


def _finish(response: Response) -> Response:
    headers = response.headers
    if response.status_code == 413:
        # The rest of the body is not read, so no further request can come over this connection. Said to
        # gunicorn (see its configuration), which drops an application's Connection header.
        close = getattr(request.environ["wsgi.input"], "close_connection", None)
        if close is not None:
            close()
    for name, value in _HEADERS.items():
        headers[name] = value
    headers["X-Request-ID"] = g.request_id
    # Only what is the same for everybody may be kept, and even that only after asking (ETag).
    headers["Cache-Control"] = "no-cache" if request.endpoint == "static" else "no-store"
    return response


def register(app: Flask) -> None:
    """Give `app`'s requests their ids and its responses their headers."""
    app.before_request(_begin)
    app.after_request(_finish)
