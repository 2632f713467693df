"""Facts about the images in an OCI archive, as ``image.json``. Standard library only."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
GZIP_MAGIC = b"\x1f\x8b"


class ArchiveError(ValueError):
    """The file is not an OCI archive, or a blob that its index names is missing."""


class Archive:
    """An OCI archive open for reading. Raises ArchiveError where it is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.tar = tarfile.open(path, "r:")  # noqa: SIM115 (closed by the context)
            self.root = self._only(self._json("index.json"))
        except (tarfile.TarError, OSError, KeyError, ValueError, TypeError) as error:
            if isinstance(error, ArchiveError):
                raise
            raise ArchiveError(f"{path} is not an OCI archive: {error}") from error

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.tar.close()

    def blob(self, digest: str) -> dict[str, Any]:
        """A JSON document by its digest."""
        try:
            return self._json(f"blobs/{digest.replace(':', '/')}")
        except (KeyError, ValueError) as error:
            raise ArchiveError(f"{self.path} lacks the document {digest}: {error}") from error

    def images(self) -> list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
        """Descriptor, manifest and configuration of each image, a platform each."""
        root = self.blob(self.root["digest"])
        found = []
        try:
            for descriptor in root.get("manifests", [self.root]):
                manifest = self.blob(descriptor["digest"])
                found.append((descriptor, manifest, self.blob(manifest["config"]["digest"])))
        except (KeyError, TypeError) as error:
            raise ArchiveError(f"{self.path} is not an OCI archive: {error}") from error
        return found

    def image(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Manifest and configuration of the archive's only image."""
        found = self.images()
        if len(found) != 1:
            raise ArchiveError(f"{self.path} holds {len(found)} images; one was expected")
        return found[0][1:]

    @contextmanager
    def layer(self, digest: str) -> Iterator[IO[bytes]]:
        """A layer's tar, uncompressed; it can be read in any order."""
        member, compressed = self._layer(digest)
        if not compressed:
            yield member
            return
        with tempfile.TemporaryFile() as plain, gzip.GzipFile(fileobj=member) as unpacked:
            shutil.copyfileobj(unpacked, plain)
            plain.seek(0)
            yield plain

    def unpacked_bytes(self, digest: str) -> int:
        """The size of a layer's tar, uncompressed: below 4 GiB gzip's own trailer says it."""
        member, compressed = self._layer(digest)
        end = member.seek(-4 if compressed else 0, os.SEEK_END)
        return int.from_bytes(member.read(4), "little") if compressed else end

    def _layer(self, digest: str) -> tuple[IO[bytes], bool]:
        """A layer as it is stored, and whether that is compressed."""
        try:
            member = self.tar.extractfile(f"blobs/{digest.replace(':', '/')}")
        except KeyError as error:
            raise ArchiveError(f"{self.path} lacks the layer {digest}") from error
        if member is None:
            raise ArchiveError(f"{self.path}: the layer {digest} is not a file")
        compressed = member.read(2) == GZIP_MAGIC
        member.seek(0)
        return member, compressed

    def _only(self, index: dict[str, Any]) -> dict[str, Any]:
        manifests = index["manifests"]
        if len(manifests) != 1:
            raise ArchiveError(f"the archive's index names {len(manifests)} images; one was expected")
        return dict(manifests[0])

    def _json(self, name: str) -> dict[str, Any]:
        file = self.tar.extractfile(name)
        if file is None:
            raise ArchiveError(f"{name} in the archive is not a file")
        return dict(json.load(file))


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def describe(path: Path, reference: str = "") -> dict[str, Any]:
    """What the archive says of its image, or of its images under one index.

    Returns ``reference`` (empty when unpublished), ``digest`` of the image's manifest or index, ``platforms``, the
    facts of the first platform's image (``size_bytes``, compressed, as pulled; ``layers`` with name, digest, size and
    ``unpacked_bytes``, the size of its tar; ``labels``, ``user``, ``entrypoint``, ``exposed_ports``), and the same of
    every platform as ``images``.
    Raises ArchiveError on anything but such an archive.
    """
    with Archive(path) as archive:
        images = [_facts(archive, *image) for image in archive.images()]
        return {
            "reference": reference,
            **images[0],
            "digest": archive.root["digest"],
            "platforms": [image["platform"] for image in images],
            "images": images,
        }


def _facts(
    archive: Archive, descriptor: dict[str, Any], manifest: dict[str, Any], config: dict[str, Any]
) -> dict[str, Any]:
    settings = config.get("config", {})
    names = [entry.get("created_by", "") for entry in config.get("history", []) if not entry.get("empty_layer")]
    names += [""] * (len(manifest["layers"]) - len(names))
    layers = [
        {
            "name": name,
            "digest": layer["digest"],
            "size_bytes": layer["size"],
            "unpacked_bytes": archive.unpacked_bytes(layer["digest"]),
        }
        for name, layer in zip(names, manifest["layers"], strict=True)
    ]
    return {
        "platform": "/".join(config[key] for key in ("os", "architecture", "variant") if config.get(key)),
        "digest": descriptor["digest"],
        "created": config.get("created", ""),
        "size_bytes": sum(layer["size_bytes"] for layer in layers),
        "layers": layers,
        "labels": settings.get("Labels") or {},
        "user": settings.get("User", ""),
        "entrypoint": settings.get("Entrypoint") or [],
        "exposed_ports": sorted(settings.get("ExposedPorts") or {}),
    }


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
