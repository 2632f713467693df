"""Errors as RFC 9457 problem documents (`application/problem+json`), each kind with a stable `type`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, current_app, g, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException

from . import metrics

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class ProblemType:
    """One kind of error; its `type` is the path `/problems/<name>`, which answers with this description."""

    status: int
    title: str
    remedy: str


PROBLEMS = {
    "nothing-uploaded": ProblemType(
        400,
        "No audio was uploaded",
        "Send the audio as the multipart/form-data field 'file' or as the raw request body.",
    ),
    "several-files": ProblemType(400, "More than one file was uploaded", "Send one request for each audio file."),
    "bad-request": ProblemType(400, "The request is malformed", "Correct the request as the detail says."),
    "unauthorized": ProblemType(
        401, "An API key is needed", "Send the key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
    ),
    "rate-limited": ProblemType(429, "Too many requests from this client", "Try again after the time in Retry-After."),
    "not-found": ProblemType(404, "No such resource", "See / for what this service offers."),
    "method-not-allowed": ProblemType(
        405, "The method is not allowed here", "Use one of the methods that the Allow header names."
    ),
    "too-large": ProblemType(413, "The upload is too large", "Send a shorter recording, a lower sample rate or FLAC."),
    "not-audio": ProblemType(
        415, "The upload is not audio in a supported format", "Send WAV, FLAC, Ogg (Vorbis, Opus) or MP3."
    ),
    "audio-empty": ProblemType(422, "The audio holds no samples", "Send a recording that is not empty."),
    "audio-too-long": ProblemType(422, "The audio is too long", "Cut the recording into shorter pieces."),
    "audio-rate": ProblemType(
        422, "The sample rate is out of range", "Send audio with a sample rate that the detail allows."
    ),
    "audio-samples": ProblemType(
        422,
        "The audio holds impossible samples",
        "Send finite samples, at full scale ±1.0; floating-point files on another scale must be normalised.",
    ),
    "audio-corrupt": ProblemType(
        422, "The audio cannot be decoded to its end", "Encode the recording again; the file is damaged."
    ),
    "request-timeout": ProblemType(
        408, "The upload took too long", "Send it over a faster connection, or a smaller one."
    ),
    "overloaded": ProblemType(503, "Too many requests wait", "Try again after the time in Retry-After."),
    "internal-error": ProblemType(
        500, "The service failed", "Try again; if it stays, report the request_id to the operator."
    ),
    "not-ready": ProblemType(503, "The service is not ready", "Try again after the time in Retry-After."),
}

_BY_STATUS = {400: "bad-request", 404: "not-found", 405: "method-not-allowed", 413: "too-large"}


class Problem(Exception):  # noqa: N818  # the RFC's word; it is an answer
    """An error to be answered as a problem document.

    Args:
        name: a key of `PROBLEMS`.
        detail: what was wrong with this request; the kind's remedy (what to do) is appended.
        headers: further response headers.
    """

    def __init__(self, name: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.name = name
        self.detail = detail
        self.headers = headers or {}


class BodyTimeout(Exception):  # noqa: N818  # an answer, as above
    """The request's body did not arrive in time (`service.worker`)."""


def render(name: str, detail: str, request_id: str | None, path: str = "") -> tuple[str, bytes]:
    """The problem document `name` as an HTTP status line's end and a body; counted as a rejection."""
    kind = PROBLEMS[name]
    return _render(f"/problems/{name}", kind.status, kind.title, f"{detail} {kind.remedy}", request_id, path)


def render_status(status: int, detail: str, request_id: str | None, path: str = "") -> tuple[str, bytes]:
    """As `render`, for a status that is no kind of its own: it has no more meaning (RFC 9457, section 4.2.1)."""
    return _render("about:blank", status, HTTPStatus(status).phrase, detail, request_id, path)


def _render(type_: str, status: int, title: str, detail: str, request_id: str | None, path: str) -> tuple[str, bytes]:
    document: dict[str, Any] = {"type": type_, "title": title, "status": status, "detail": detail}
    document["request_id"] = request_id
    if path.startswith("/v2/"):
        document["error"] = detail  # the Open Inference Protocol's one member
    metrics.REJECTED.labels(type_.rpartition("/")[2]).inc()
    return f"{status} {HTTPStatus(status).phrase}", json.dumps(document).encode() + b"\n"


def problem_response(name: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    """The problem document `name` as a response."""
    status, body = render(name, detail, g.get("request_id"), request.path)
    return Response(body, status, headers, mimetype=MEDIA_TYPE)


def _from_problem(problem: Problem) -> Response:
    return problem_response(problem.name, problem.detail, problem.headers)


def _from_http_exception(error: HTTPException) -> Response:
    """Werkzeug's and Flask's own errors, an unexpected exception (500) among them."""
    status = error.code or 500
    own = error.get_response()
    if status < 400:  # a redirect (trailing slash) is not an error
        return Response(own.get_data(), status, own.headers)
    headers = {name: own.headers[name] for name in ("Allow", "Retry-After") if name in own.headers}
    if status >= 500:
        return problem_response("internal-error", "An unexpected error was logged by the service.")
    if status in _BY_STATUS:
        return problem_response(_BY_STATUS[status], _detail(error, status), headers)
    line, body = render_status(status, error.description or "", g.get("request_id"), request.path)
    return Response(body, line, headers, mimetype=MEDIA_TYPE)


def _detail(error: HTTPException, status: int) -> str:
    if status == 404:
        return "There is nothing at this path."
    if status == 413:
        return f"A request may have at most {current_app.config['MAX_CONTENT_LENGTH']} bytes and a few form fields."
    if status == 405:
        return "This path does not answer this method."
    return error.description or HTTPStatus(status).phrase


def _from_broken_body(error: ParseException) -> Response:
    """gunicorn's errors while the body is read: a malformed chunk."""
    return problem_response("bad-request", f"The request body cannot be read: {error}.")


def _from_body_timeout(_: BodyTimeout) -> Response:
    return problem_response("request-timeout", "The request's body did not arrive in time.")


def register(app: Flask) -> None:
    """Answer every error of `app` with a problem document."""
    app.register_error_handler(ParseException, _from_broken_body)
    app.register_error_handler(BodyTimeout, _from_body_timeout)
    app.register_error_handler(Problem, _from_problem)
    app.register_error_handler(HTTPException, _from_http_exception)
