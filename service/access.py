"""Who may ask, how often, and from which pages: API keys, a rate limit and CORS, for everything but health."""

import base64
import hashlib
import hmac
import math
import re
import time
from collections.abc import Mapping
from contextlib import suppress

from flask import Flask
from flask_cors.core import get_cors_headers, get_cors_options
from werkzeug.datastructures import Headers

from service.problems import Problem
from service.settings import Settings

# Whether everybody may ask for that path at any time.
is_health = re.compile("/livez|/readyz|/healthz|/v2/health/(live|ready)|/v2/models/.*/ready").fullmatch
# A browser asks the person for the Basic one; its own later requests from the page then carry it.
_CHALLENGE = [("WWW-Authenticate", 'Basic realm="kws", charset="UTF-8"'), ("WWW-Authenticate", 'Bearer realm="kws"')]


def presented(headers: Mapping[bytes, bytes]) -> bytes:
    """The key that a request brings (`X-API-Key`, a bearer token, or the password of Basic), or nothing."""
    if key := headers.get(b"x-api-key"):
        return key
    scheme, _, rest = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return rest.strip()
    with suppress(ValueError):
        return base64.b64decode(rest, validate=True).partition(b":")[2] if scheme.lower() == b"basic" else b""
    return b""


class Access:
    """The settings' word on each request; `app` is where flask-cors looks for options."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        self._settings, self._limit, self._cors = settings, None, None
        self._digests = [*settings.api_keys, *settings.api_keys_file]
        if settings.rate_limit:
            import limits  # not for those who set none

            self._limit = limits.parse(settings.rate_limit)
            self._limiter = limits.strategies.SlidingWindowCounterRateLimiter(limits.storage.MemoryStorage())
        if settings.cors_origins:
            # Whole ones; flask-cors would take the brackets of an IPv6 address for a pattern.
            origins = [re.compile(f"{re.escape(one)}$") if one != "*" else one for one in settings.cors_origins]
            exposed = ["X-Request-ID", "Server-Timing", "Retry-After", "Inference-Header-Content-Length"]
            options = {"origins": origins, "expose_headers": exposed, "always_send": False, "max_age": 3600}
            self._cors = get_cors_options(app, options)

    def client(self, headers: Mapping[bytes, bytes], peer: tuple[str, int] | None) -> str:
        """The address of the client: the peer's, or the one that the outermost trusted proxy names."""
        count, forwarded = self._settings.proxies, headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
        named = forwarded[-count].strip() if 0 < count <= len(forwarded) else ""
        return named or (peer[0] if peer else "")

    def check(self, path: str, headers: Mapping[bytes, bytes], client: str) -> None:
        """Let a request for `path` pass. Raises Problem: unauthorized or rate-limited."""
        digests = self._digests
        if path == "/metrics":
            digests = [] if self._settings.metrics_open else [*digests, *self._settings.metrics_keys]
        if digests:
            client = hashlib.sha256(presented(headers)).hexdigest()
            # All of them, so that the time tells nothing.
            if not sum(hmac.compare_digest(client, known) for known in digests):
                raise Problem("unauthorized", "The request brings no API key, or an unknown one.", *_CHALLENGE)
        if self._limit is not None and not self._limiter.hit(self._limit, client):
            wait = max(1, math.ceil(self._limiter.get_window_stats(self._limit, client).reset_time - time.time()))
            raise Problem("rate-limited", f"More than {self._limit} are not answered.", ("Retry-After", str(wait)))

    def cors(self, method: str, headers: Mapping[bytes, bytes]) -> list[tuple[str, str]]:
        """What a browser needs to let a page of another origin see the answer; nothing for origins not listed."""
        if self._cors is None or b"origin" not in headers:
            return []
        asked = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.items()])
        return [(name, str(value)) for name, value in get_cors_headers(self._cors, asked, method).items(multi=True)]

    def same_origin(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a WebSocket may bring the browser's stored password: from this service's own or a listed page."""
        origin = headers.get(b"origin", b"").lower()
        own = origin.partition(b"://")[2] == headers.get(b"host", b"").lower()
        return not (self._digests and origin) or own or bool(self.cors("GET", headers))
