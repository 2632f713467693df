"""As much of GitHub's API as the tools use, in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "token-of-the-test"  # noqa: S105


@dataclass
class GitHub:
    """What was written, and every request with its token."""

    url: str = ""
    comments: list[dict[str, Any]] = field(default_factory=list)
    releases: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    refuses: int = 0
    stumbles: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # status and headers of the next answers
    owners: dict[str, str] = field(default_factory=lambda: {"me": "User", "us": "Organization"})
    package: str = "/users/me/packages/container/words/versions"
    versions: list[dict[str, Any]] = field(default_factory=list)
    popular: set[int] = field(default_factory=set)  # versions with more than 5000 downloads

    def version(self, digest: str, days: int, *tags: str) -> None:
        """List a version that was last changed so many days ago."""
        then = (datetime.now(UTC) - timedelta(days=days, minutes=1)).isoformat().replace("+00:00", "Z")
        metadata = {"package_type": "container", "container": {"tags": list(tags)}}
        content = {"name": digest, "created_at": then, "updated_at": then, "metadata": metadata}
        self.versions.append({"id": 100 + len(self.versions), **content})

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, Any]:
        if path.startswith(("/users/", "/orgs/")):
            return self._packages(method, path, query)
        part = path.removeprefix("/repos/me/words/").split("/")
        match (method, *part):
            case ("GET", "issues", _, "comments"):
                return 200, self._page(self.comments, query)
            case ("POST", "issues", number, "comments"):
                self.comments.append({"id": 900 + len(self.comments), "issue": number, **json.loads(body)})
                return 201, {"html_url": f"{self.url}/comment"}
            case ("PATCH", "issues", "comments", number):
                next(c for c in self.comments if c["id"] == int(number)).update(json.loads(body))
                return 200, {"html_url": f"{self.url}/comment"}
            case ("GET", "releases"):
                return 200, self._page(self.releases, query)
            case ("POST", "releases"):
                made = {"id": len(self.releases), "assets": [], "html_url": f"{self.url}/release", **json.loads(body)}
                made["upload_url"] = f"{self.url}/repos/me/words/releases/{made['id']}/assets{{?name,label}}"
                self.releases.append(made)
                return 201, made
            case ("PATCH", "releases", number):
                self.releases[int(number)].update(json.loads(body))
                return 200, self.releases[int(number)]
            case ("POST", "releases", number, "assets"):
                assets = self.releases[int(number)]["assets"]
                if query["name"][0] in [asset["name"] for asset in assets]:
                    return 422, {}
                url = f"{self.url}/repos/me/words/assets/{number}/{query['name'][0]}"
                assets.append({"name": query["name"][0], "url": url, "content": body.decode(errors="backslashreplace")})
                return 201, {}
            case ("DELETE", "assets", number, name):
                self.releases[int(number)]["assets"] = [
                    asset for asset in self.releases[int(number)]["assets"] if asset["name"] != name
                ]
                return 204, None
        return 404, {}

    def _packages(self, method: str, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        if (owner := path.removeprefix("/users/")) in self.owners:
            return 200, {"login": owner, "type": self.owners[owner]}
        if path == self.package:
            return 200, self._page(self.versions, query)
        listing, _, number = path.rpartition("/")
        found = [version for version in self.versions if listing == self.package and str(version["id"]) == number]
        if not found:
            return 404, {"message": "Package not found."}
        if method == "DELETE":
            if found[0]["id"] in self.popular:
                return 400, {"message": "Publicly visible package versions with more than 5000 downloads cannot be "
                             "deleted. Contact GitHub support for further assistance."}  # fmt: skip
            tagged = [version for version in self.versions if version["metadata"]["container"]["tags"]]
            if tagged == found:
                return 400, {"message": "You cannot delete the last tagged version of a package."}
            self.versions.remove(found[0])
            return 204, None
        return 200, found[0]

    @staticmethod
    def _page(entries: list[Any], query: dict[str, list[str]]) -> list[Any]:
        size, page = int(query["per_page"][0]), int(query["page"][0])
        return entries[(page - 1) * size : page * size]


@contextmanager
def serve(host: str = "127.0.0.1") -> Iterator[GitHub]:
    """A GitHub at ``.url`` until the end of the block; every request must carry TOKEN."""
    state = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.requests.append((self.command, self.path))
            answer: Any
            headers: dict[str, str] = {}
            if state.stumbles:
                (code, headers), answer = state.stumbles.pop(0), {}
            elif state.refuses or self.headers["Authorization"] != f"Bearer {TOKEN}":
                code, answer = state.refuses or 401, {}
            else:
                code, answer = state.answer(self.command, parts.path, parse_qs(parts.query), body)
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(code)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer((host, 0), Handler) as server:
        state.url = f"http://{host}:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield state
        server.shutdown()
