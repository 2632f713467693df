"""What an OCI archive says of its image: ``image.json``. Every document is checked against its digest on the way."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

from release.artifacts import InputError


def describe(path: Path, platform: str = "") -> dict[str, Any]:
    """Facts of the archive's one image, or of the image of ``platform`` where the archive holds an index.

    ``digest`` is what is pushed: the manifest's, or the index's. ``size_bytes`` is compressed, as pulled.
    Raises InputError on anything but an archive with one image or index.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            return _facts(archive, platform)
    except (tarfile.TarError, OSError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a whole OCI archive of one image ({error}); build it again") from error


def _facts(archive: tarfile.TarFile, platform: str) -> dict[str, Any]:
    (root,) = json.loads(_read(archive, "index.json"))["manifests"]
    found = {}
    for descriptor in _document(archive, root).get("manifests", [root]):
        manifest = _document(archive, descriptor)
        config = _document(archive, manifest["config"])
        found["/".join(config[key] for key in ("os", "architecture", "variant") if config.get(key))] = manifest, config
    # Which of several is described does not matter to who asks for the digest alone.
    manifest, config = found[platform or next(iter(found))]
    return {
        "digest": root["digest"],
        "platform": platform or next(iter(found)),
        "platforms": list(found),
        "size_bytes": sum(layer["size"] for layer in manifest["layers"]),
        "created": config.get("created", ""),
        "labels": config["config"].get("Labels") or {},
        "layers": [{"digest": layer["digest"], "size_bytes": layer["size"]} for layer in manifest["layers"]],
    }


def _document(archive: tarfile.TarFile, descriptor: dict[str, str]) -> dict[str, Any]:
    algorithm, _, value = descriptor["digest"].partition(":")
    content = _read(archive, f"blobs/{algorithm}/{value}")
    if hashlib.new(algorithm, content).hexdigest() != value:
        raise ValueError(f"{descriptor['digest']} was changed")
    return dict(json.loads(content))


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    if member is None:
        raise ValueError(f"{name} is not a file")
    return member.read()
