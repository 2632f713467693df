"""As much of GitHub's API as the tools use, in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, Any]:
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
                assets.append({"name": query["name"][0], "url": url, "content": body.decode()})
                return 201, {}
            case ("DELETE", "assets", number, name):
                self.releases[int(number)]["assets"] = [
                    asset for asset in self.releases[int(number)]["assets"] if asset["name"] != name
                ]
                return 204, None
        return 404, {}

    @staticmethod
    def _page(entries: list[Any], query: dict[str, list[str]]) -> list[Any]:
        size, page = int(query["per_page"][0]), int(query["page"][0])
        return entries[(page - 1) * size : page * size]


@contextmanager
def serve() -> Iterator[GitHub]:
    """A GitHub at ``.url`` until the end of the block; every request must carry TOKEN."""
    state = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.requests.append((self.command, self.path))
            if state.refuses or self.headers["Authorization"] != f"Bearer {TOKEN}":
                answer: Any = {}
                code = state.refuses or 401
            else:
                code, answer = state.answer(self.command, parts.path, parse_qs(parts.query), body)
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield state
        server.shutdown()
