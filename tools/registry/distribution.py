"""HTTP with a registry as the OCI distribution specification has it: what its tools do not tell apart."""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from email.message import Message

from tools.doctor import UNANSWERED, why
from tools.registry.client import Registry, RegistryError, explained

TIMEOUT = 20  # seconds
LIMIT = 1 << 22  # bytes of a manifest, as the specification lets a registry bound it
MANIFESTS = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def refused(self) -> bool:
        return self.status in (401, 403)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class Session:
    """Speaks to a repository with its credentials, or as anyone. Raises RegistryError where nothing answers."""

    def __init__(self, registry: Registry, *, anonymous: bool = False) -> None:
        self.registry = registry
        self.name = registry.endpoint.partition("/")[2]
        self.base = f"{'http' if registry.plain_http else 'https'}://{registry.host}/v2/"
        login = f"{registry.username}:{registry.password}"
        known = bool(registry.username) and not anonymous
        self._opener = urllib.request.build_opener(_Stay)
        self._basic = f"Basic {base64.b64encode(login.encode()).decode()}" if known else ""

    def probe(self) -> Answer:
        """What the registry says without any login."""
        return self._try("GET", self.base)

    def request(self, method: str, path: str, actions: str = "pull") -> Answer:
        """``path`` is whole or under the repository; a token is asked for that allows these actions, and no other."""
        url = urllib.parse.urljoin(f"{self.base}{self.name}/", path)
        answer = self._authorized(method, url, actions)
        place = answer.headers.get("Location", "") if 300 <= answer.status < 400 else ""
        return self._elsewhere(urllib.parse.urljoin(url, place)) if place else answer

    def _elsewhere(self, url: str) -> Answer:
        """A blob is often given out by another host, which a firewall may not know; it gets no credentials."""
        host = urllib.parse.urlsplit(url).netloc
        try:
            answer = self._open("GET", url)
            if answer.status == 200:
                return answer
            reason = f"HTTP {answer.status}"
        except UNANSWERED as error:
            reason = why(error)
        raise RegistryError(f"{self.registry.host} gives its blobs out at {host}, which must be reached too: {reason}")

    def _authorized(self, method: str, url: str, actions: str) -> Answer:
        answer = self._try(method, url)
        challenge = answer.headers.get("WWW-Authenticate", "")
        # An upload may go on at another host: no credentials for that one.
        if answer.status != 401 or not url.startswith(self.base):
            return answer
        if challenge.lower().startswith("bearer"):
            return self._with_token(method, url, challenge, actions)
        return self._try(method, url, self._basic) if self._basic else answer

    def _with_token(self, method: str, url: str, challenge: str, actions: str) -> Answer:
        said = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm = said.get("realm", "")
        if not realm.startswith("https://") and self.base.startswith("https://"):
            raise RegistryError(f"{self.registry.host} asks for a login at {realm!r}, which is not HTTPS")
        query = {"scope": f"repository:{self.name}:{actions}"}
        if "service" in said:
            query["service"] = said["service"]
        granted = self._try("GET", f"{realm}?{urllib.parse.urlencode(query)}", self._basic)
        if granted.status != 200:
            return granted
        try:
            content = json.loads(granted.body)
            token = content.get("token") or content["access_token"]
        except (ValueError, KeyError, AttributeError):
            raise RegistryError(f"{self.registry.host}: {realm} gives no token") from None
        return self._try(method, url, f"Bearer {token}")

    def _try(self, method: str, url: str, authorization: str = "") -> Answer:
        try:
            return self._open(method, url, authorization)
        except UNANSWERED as error:
            host = urllib.parse.urlsplit(url).netloc  # the login's may be another
            if "tunnel connection failed" in str(error).lower():
                raise RegistryError(f"{host}: the proxy lets nobody through to it ({why(error)})") from None
            address = self.registry.address if host == self.registry.host else f"{host}/{self.name}"
            raise explained(str(getattr(error, "reason", error)), address, method) from None

    def _open(self, method: str, url: str, authorization: str = "") -> Answer:
        headers = {"Accept": f"{MANIFESTS}, */*", **({"Authorization": authorization} if authorization else {})}
        data = b"" if method == "POST" else None
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 (the user's own registry)
        try:
            with self._opener.open(request, timeout=TIMEOUT) as answer:
                return Answer(answer.status, answer.headers, answer.read(LIMIT))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read(LIMIT))
