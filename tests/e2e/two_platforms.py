"""A base image of two platforms for a registry that mirrors only this machine's own: Debian's arm64 files, unpacked."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

DEBIAN = "http://deb.debian.org/debian"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# Where the official image has its interpreter.
LINKS = {f"usr/local/bin/{name}": "/usr/bin/python3.13" for name in ("python", "python3", "python3.13")}


class Pusher:
    """Writes to a repository of a registry that asks for no password."""

    def __init__(self, host: str, name: str) -> None:
        self.url = f"http://{host}/v2/{name}"

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/blobs/uploads/", method="POST")) as begun:
            place = begun.headers["Location"]
        self._put(f"{place}{'&' if '?' in place else '?'}digest={digest}", data, "application/octet-stream")
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def manifest(self, content: dict[str, Any], reference: str = "") -> dict[str, Any]:
        data = json.dumps(content).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._put(f"{self.url}/manifests/{reference or digest}", data, content["mediaType"])
        return {"mediaType": content["mediaType"], "digest": digest, "size": len(data)}

    def _put(self, url: str, data: bytes, media_type: str) -> None:
        request = urllib.request.Request(url, data, {"Content-Type": media_type}, method="PUT")
        urllib.request.urlopen(request, timeout=120).close()


def arm64_root(folder: Path, mirror: str = DEBIAN) -> bytes:
    """A root file system with Debian's Python 3.13 for arm64; nothing of it is run."""
    path = folder / "root.tar"
    command = ["mmdebstrap", "--quiet", "--variant=extract", "--architectures=arm64", "--include=python3"]
    subprocess.run([*command, "trixie", str(path), mirror], check=True, timeout=600)
    with tarfile.open(path, "a") as tar:
        for name, target in LINKS.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    return path.read_bytes()


def push(host: str, name: str, roots: dict[str, bytes], environment: list[str]) -> str:
    """Push one image a platform under one index; returns its address."""
    pusher = Pusher(host, name)
    manifests = []
    for architecture, root in roots.items():
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": environment, "Cmd": ["python3"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(root).hexdigest()}"]},
        }
        layer = gzip.compress(root, compresslevel=1, mtime=0)
        content = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": pusher.blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
            "layers": [pusher.blob(layer, "application/vnd.oci.image.layer.v1.tar+gzip")],
        }
        manifests.append({**pusher.manifest(content), "platform": {"architecture": architecture, "os": "linux"}})
    pusher.manifest({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, "two")
    return f"{host}/{name}:two"


def amd64_root(host: str, name: str, tag: str) -> tuple[bytes, list[str]]:
    """The single layer of a registry's own base image, and its environment."""
    url = f"http://{host}/v2/{name}"
    request = urllib.request.Request(f"{url}/manifests/{tag}", headers={"Accept": MANIFEST})
    manifest = json.load(urllib.request.urlopen(request, timeout=30))
    if len(manifest["layers"]) != 1:
        raise ValueError(f"{name}:{tag} has {len(manifest['layers'])} layers; the stand-in takes an image of one")
    config = json.load(urllib.request.urlopen(f"{url}/blobs/{manifest['config']['digest']}", timeout=30))
    layer = urllib.request.urlopen(f"{url}/blobs/{manifest['layers'][0]['digest']}", timeout=120).read()
    return gzip.GzipFile(fileobj=io.BytesIO(layer)).read(), config["config"]["Env"]
