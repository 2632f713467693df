"""A registry as the tests look at it: what was pushed."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Repository:
    """A repository in a registry that speaks HTTP."""

    name: str
    host: str
    headers: dict[str, str] = field(default_factory=dict)  # of the tests' own look at it
    storage: Path = Path()  # of a registry of the test's own

    @property
    def address(self) -> str:
        return f"{self.host}/{self.name}"

    @property
    def options(self) -> list[str]:
        """How a call finds it: the registry is one that only the caller reaches."""
        return [f"--address={self.address}", f"--registry=tcp://{self.host}"]

    def _send(self, path: str, data: bytes | None = None, method: str = "GET", **headers: str) -> Any:
        url = path if path.startswith("http") else f"http://{self.host}/v2/{self.name}/{path}"
        request = urllib.request.Request(url, data, {**self.headers, **headers}, method=method)
        return urllib.request.urlopen(request, timeout=120)

    def get(self, path: str) -> tuple[dict[str, Any], str]:
        """JSON of ``/v2/NAME/path`` and the digest that the registry gives with it."""
        with self._send(path, Accept=f"{MANIFEST}, {INDEX}") as response:
            return json.load(response), response.headers.get("Docker-Content-Digest", "")

    def all_tags(self) -> list[str]:
        try:
            return list(self.get("tags/list")[0]["tags"] or [])
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return []
            raise

    def tags(self) -> list[str]:
        """The tags of releases: without those that hold an image's attestations."""
        return sorted(tag for tag in self.all_tags() if not tag.startswith("sha256-"))

    def digest(self, tag: str) -> str:
        return self.get(f"manifests/{tag}")[1]

    def put_manifest(self, content: dict[str, Any], reference: str) -> None:
        kind = {"Content-Type": content["mediaType"]}
        self._send(f"manifests/{reference}", json.dumps(content).encode(), "PUT", **kind).close()
