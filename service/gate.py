"""Who may ask, and how often: API keys and a rate limit, both optional, for everything but health."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import time
from typing import TYPE_CHECKING

from . import metrics, problems
from .http import REQUEST_ID
from .settings import Settings, read_digests

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_HEALTH = {"/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready"}
# A browser asks the person for the Basic one; its own later requests from the page then carry it.
_CHALLENGE = [("WWW-Authenticate", 'Basic realm="kws", charset="UTF-8"'), ("WWW-Authenticate", 'Bearer realm="kws"')]


def is_health(path: str) -> bool:
    """Whether everybody may ask for `path` at any time."""
    return path in _HEALTH or (path.startswith("/v2/models/") and path.endswith("/ready"))


def presented(environ: WSGIEnvironment) -> str:
    """The key that a request brings (`X-API-Key`, a bearer token, or the password of Basic), or an empty string."""
    key: str = environ.get("HTTP_X_API_KEY", "")
    if key:
        return key
    scheme, _, rest = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer":
        return str(rest.strip())
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


class Gate:
    """The layer around `application`; see the settings `api_keys`, `api_keys_file`, `rate_limit`."""

    def __init__(self, application: WSGIApplication, settings: Settings) -> None:
        self._application = application
        self._digests = list(settings.api_keys)
        if settings.api_keys_file is not None:
            self._digests += read_digests(settings.api_keys_file.read_text())
        self._limit = None
        if settings.rate_limit:
            import limits  # not for those who set none

            storage = limits.storage.storage_from_string(settings.rate_limit_storage)
            self._limiter = limits.strategies.SlidingWindowCounterRateLimiter(storage)
            self._limit = limits.parse(settings.rate_limit)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """A WSGI application."""
        if is_health(environ["PATH_INFO"]):
            return self._application(environ, start_response)
        who = environ.get("REMOTE_ADDR", "")
        if self._digests:
            digest = hashlib.sha256(presented(environ).encode("utf-8", "surrogateescape")).hexdigest()
            # All of them, so that the time tells nothing.
            if not sum(hmac.compare_digest(digest, known) for known in self._digests):
                detail = "The request brings no API key, or one that is not known here."
                return self._refuse("unauthorized", detail, _CHALLENGE, environ, start_response)
            who = digest
        if self._limit is not None and not self._limiter.hit(self._limit, who):
            wait = max(1, math.ceil(self._limiter.get_window_stats(self._limit, who).reset_time - time.time()))
            detail = f"More than {self._limit} are not answered."
            return self._refuse("rate-limited", detail, [("Retry-After", str(wait))], environ, start_response)
        return self._application(environ, start_response)

    def _refuse(
        self,
        name: str,
        detail: str,
        headers: list[tuple[str, str]],
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """Answer without reading the body: the connection ends with it (see `service.http`)."""
        if (close := getattr(environ["wsgi.input"], "close_connection", None)) is not None:
            close()
        status, body = problems.render(name, detail, environ[REQUEST_ID], environ["PATH_INFO"])
        metrics.REQUESTS.labels("gate", status[:3]).inc()
        fixed = [
            ("Content-Type", problems.MEDIA_TYPE),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        start_response(status, [*fixed, *headers])
        return [body]
