"""Facts about an image in an OCI archive, as ``image.json``. Standard library only."""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
from pathlib import Path
from typing import Any


class ArchiveError(ValueError):
    """The file is not an OCI archive, or a blob that its index names is missing."""


def describe(archive: Path, reference: str = "") -> dict[str, Any]:
    """What the archive says of its image.

    Returns ``reference`` (empty when unpublished), ``digest`` of the image's manifest, ``size_bytes`` (compressed,
    as pulled) and per-layer sizes, ``platforms``, ``labels``, ``user``, ``entrypoint`` and ``exposed_ports``.
    Raises ArchiveError on anything but an OCI archive with one image.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            index = _member(tar, "index.json")
            descriptor = _only_image(index)
            manifest = _blob(tar, descriptor["digest"])
            config = _blob(tar, manifest["config"]["digest"])
    except (tarfile.TarError, OSError, KeyError, json.JSONDecodeError) as error:
        raise ArchiveError(f"{archive} is not an OCI archive: {error}") from error
    settings = config.get("config", {})
    layers = [{"digest": layer["digest"], "size_bytes": layer["size"]} for layer in manifest["layers"]]
    return {
        "reference": reference,
        "digest": descriptor["digest"],
        "size_bytes": sum(layer["size_bytes"] for layer in layers),
        "layers": layers,
        "platforms": [f"{config['os']}/{config['architecture']}"],
        "labels": settings.get("Labels") or {},
        "user": settings.get("User", ""),
        "entrypoint": settings.get("Entrypoint") or [],
        "exposed_ports": sorted(settings.get("ExposedPorts") or {}),
    }


def _only_image(index: dict[str, Any]) -> dict[str, Any]:
    manifests = index["manifests"]
    if len(manifests) != 1:
        raise ArchiveError(f"the archive's index names {len(manifests)} images; one was expected")
    return dict(manifests[0])


def _member(tar: tarfile.TarFile, name: str) -> dict[str, Any]:
    file = tar.extractfile(name)
    if file is None:
        raise ArchiveError(f"{name} in the archive is not a file")
    return dict(json.load(file))


def _blob(tar: tarfile.TarFile, digest: str) -> dict[str, Any]:
    return _member(tar, f"blobs/{digest.replace(':', '/')}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path, help="an OCI archive")
    parser.add_argument("--reference", default="", help="where the image is published: HOST/NAME@sha256:…")
    parser.add_argument("--output", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    try:
        facts = describe(options.archive, options.reference)
    except ArchiveError as error:
        print(f"oci: {error}", file=sys.stderr)
        return 2
    if options.reference and not options.reference.endswith(facts["digest"]):
        print(
            f"oci: {options.reference} is not the image of {options.archive}: {facts['digest']}",
            file=sys.stderr,
        )
        return 2
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(facts, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
