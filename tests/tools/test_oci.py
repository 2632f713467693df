"""Facts read from an OCI archive."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tools import oci

LAYERS = [b"a tar", gzip.compress(b"another tar, compressed" * 9)]


def archive(path: Path, *, images: int = 1) -> str:
    """Write an OCI archive with one small image; returns its manifest's digest."""
    blobs: dict[str, bytes] = {}

    def blob(content: Any) -> dict[str, Any]:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        blobs[f"blobs/{digest.replace(':', '/')}"] = data
        return {"digest": digest, "size": len(data)}

    config = blob(
        {
            "os": "linux",
            "architecture": "amd64",
            "config": {
                "User": "10001:10001",
                "Labels": {"a": "b"},
                "Entrypoint": ["gunicorn"],
                "ExposedPorts": {"8000/tcp": {}},
            },
        }
    )
    manifest = blob({"config": config, "layers": [blob(layer) for layer in LAYERS]})
    blobs["index.json"] = json.dumps({"manifests": [manifest] * images}).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in blobs.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return str(manifest["digest"])


def test_describes_the_image(tmp_path: Path) -> None:
    digest = archive(tmp_path / "image.tar")
    facts = oci.describe(tmp_path / "image.tar", "host/name@" + digest)
    assert facts["digest"] == digest
    assert facts["size_bytes"] == sum(len(layer) for layer in LAYERS)
    assert [layer["unpacked_bytes"] for layer in facts["layers"]] == [5, 23 * 9]
    assert facts["platforms"] == ["linux/amd64"]
    assert facts["user"] == "10001:10001"
    assert facts["labels"] == {"a": "b"}
    assert facts["exposed_ports"] == ["8000/tcp"]


@pytest.mark.parametrize("content", [b"", b"not a tar"])
def test_anything_else_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    command = [sys.executable, "-m", "tools.oci", str(tmp_path / "x.tar"), "--output", str(tmp_path / "out.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "is not an OCI archive" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_archive_of_several_images_is_refused(tmp_path: Path) -> None:
    archive(tmp_path / "image.tar", images=2)
    with pytest.raises(oci.ArchiveError, match="2 images"):
        oci.describe(tmp_path / "image.tar")


def test_a_reference_to_another_image_is_refused(tmp_path: Path) -> None:
    archive(tmp_path / "image.tar")
    command = [sys.executable, "-m", "tools.oci", str(tmp_path / "image.tar"), "--reference", "host/name@sha256:other"]
    done = subprocess.run([*command, "--output", str(tmp_path / "out.json")], capture_output=True, text=True)
    assert done.returncode == 2
    assert not (tmp_path / "out.json").exists()
