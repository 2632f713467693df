"""A registry as the tests look at it: what was pushed, and images made of single files for what is not mirrored."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Repository:
    """A repository in a registry that speaks HTTP."""

    name: str
    host: str
    headers: dict[str, str] = field(default_factory=dict)  # of the tests' own look at it

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

    def put_blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        with self._send("blobs/uploads/", b"", "POST") as begun:
            place = begun.headers["Location"]
        place = f"{place}{'&' if '?' in place else '?'}digest={digest}"
        self._send(place, data, "PUT", **{"Content-Type": "application/octet-stream"}).close()
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def put_manifest(self, content: dict[str, Any], reference: str) -> dict[str, Any]:
        data = json.dumps(content).encode()
        self._send(f"manifests/{reference}", data, "PUT", **{"Content-Type": content["mediaType"]}).close()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        return {"mediaType": content["mediaType"], "digest": digest, "size": len(data)}

    def put_image(self, files: dict[str, bytes], reference: str, architecture: str = "amd64") -> dict[str, Any]:
        """An image of one layer that holds executable files, by their absolute paths."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for path, data in files.items():
                member = tarfile.TarInfo(path.lstrip("/"))
                member.size, member.mode = len(data), 0o755
                tar.addfile(member, io.BytesIO(data))
        return self.put_root(buffer.getvalue(), reference, architecture)

    def put_root(
        self, root: bytes, reference: str, architecture: str, environment: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """An image of one layer: a tar of its root."""
        rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(root).hexdigest()}"]}
        config: dict[str, Any] = {"architecture": architecture, "os": "linux", "rootfs": rootfs}
        config["config"] = {"Env": [*environment]}
        layer = gzip.compress(root, compresslevel=1, mtime=0)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.put_blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
            "layers": [self.put_blob(layer, "application/vnd.oci.image.layer.v1.tar+gzip")],
        }
        return self.put_manifest(manifest, reference)
