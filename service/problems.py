"""Errors as RFC 9457 problem documents (`application/problem+json`), each kind with a stable name."""

import json
from http import HTTPStatus
from typing import NamedTuple

from service import metrics

MEDIA_TYPE = "application/problem+json"
# What the page, the OpenAPI document and the remedy below say of formats.
FORMATS = "WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF, CAF or what else libsndfile reads"
_PCM = "or 16-bit samples as Content-Type: audio/L16;rate=16000 (big-endian) or audio/pcm;rate=16000 (little-endian)"
_FORMS = 'Send it as the body, the form field "file", or base64 in JSON: {"audio": …}.'
_LIMITS = "Send fewer and shorter headers and cookies, or have KWS_MAX_HEADER_BYTES and KWS_MAX_HEADERS raised."
_AGAIN = "Try again after the time in Retry-After."


class ProblemType(NamedTuple):
    """One kind of error; its `type` is the address `problems/<name>`, which answers with this description."""

    status: int
    title: str
    remedy: str


PROBLEMS = {
    "bad-request": ProblemType(400, "The request is malformed", "Correct the request as the detail says."),
    "nothing-uploaded": ProblemType(400, "No audio was uploaded", _FORMS),
    "several-files": ProblemType(400, "More than one file was uploaded", "Send one request for each audio file."),
    "unauthorized": ProblemType(401, "An API key is needed", "Send Authorization: Bearer KEY, or X-API-Key: KEY."),
    "not-found": ProblemType(404, "No such resource", "See / for what this service offers."),
    "method-not-allowed": ProblemType(405, "The method is not allowed here", "Use one that the Allow header names."),
    "request-timeout": ProblemType(408, "The upload took too long", "Send it faster, or send a smaller one."),
    "too-large": ProblemType(413, "The upload is too large", "Send less audio, a lower sample rate or FLAC."),
    "uri-too-long": ProblemType(414, "The address is too long", "Send data in the body, not in the query."),
    "not-audio": ProblemType(415, "The upload is not audio in a supported format", f"Send {FORMATS}, {_PCM}."),
    "content-encoding": ProblemType(415, "The Content-Encoding is not supported", "Send gzip, deflate or none."),
    "audio-empty": ProblemType(422, "The audio holds no samples", "Send a recording that is not empty."),
    "audio-too-long": ProblemType(422, "The audio is too long", "Cut the recording into shorter pieces."),
    "audio-rate": ProblemType(422, "The sample rate is out of range", "Send a sample rate that the detail allows."),
    "audio-samples": ProblemType(422, "The audio holds impossible samples", "Send finite samples, scaled to ±1."),
    "audio-corrupt": ProblemType(422, "The audio cannot be decoded to its end", "Encode the recording again."),
    "upgrade-required": ProblemType(426, "This path speaks WebSocket", "Ask with a WebSocket client, ws:// or wss://."),
    "rate-limited": ProblemType(429, "Too many requests from this client", _AGAIN),
    "headers-too-large": ProblemType(431, "The headers are too large", _LIMITS),
    "internal-error": ProblemType(500, "The service failed", "Try again; if it stays, report the request_id."),
    "overloaded": ProblemType(503, "Too many requests wait", _AGAIN),
    "not-ready": ProblemType(503, "The service is not ready", _AGAIN),
}


class Problem(Exception):  # noqa: N818  # the RFC's word; it is an answer
    """An error to be answered as the document `name` of `PROBLEMS`; its remedy is appended to `detail`."""

    def __init__(self, name: str, detail: str, *headers: tuple[str, str]) -> None:
        super().__init__(detail)
        self.name, self.detail, self.headers = name, detail, headers


def of_status(status: int, detail: str, *headers: tuple[str, str]) -> Problem:
    """The first kind of that HTTP status; where there is none, the status is the name."""
    name = next((name for name, kind in PROBLEMS.items() if kind.status == status), str(status))
    return Problem(name, detail, *headers)


def root(path: str) -> str:
    """The way from `path` to the service's root, relative: right under whatever prefix a proxy puts before it."""
    return "../" * (path.count("/") - 1)


def render(problem: Problem, request_id: str | None = None, path: str = "/") -> tuple[int, bytes]:
    """The status and the document for a request of `path`; counted as a rejection."""
    name, kind = f"{root(path)}problems/{problem.name}", PROBLEMS.get(problem.name)
    if kind is None:  # it says no more than its status (RFC 9457, 4.2.1)
        status = HTTPStatus(int(problem.name))
        name, kind = "about:blank", ProblemType(status, status.phrase, "")
    detail = f"{problem.detail} {kind.remedy}".strip()
    document = {"type": name, "title": kind.title, "status": kind.status, "detail": detail, "request_id": request_id}
    if path.startswith("/v2/"):
        document["error"] = detail  # the Open Inference Protocol's one member
    metrics.REJECTED.labels(problem.name).inc()
    return kind.status, json.dumps(document).encode() + b"\n"
