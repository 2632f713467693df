"""Files attached to an image as OCI referrers, under the fallback tag."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tools.oci import digest_of
from tools.registry.client import MissingError, Registry, RegistryError, say

TYPES = {
    "sbom": "application/vnd.cyclonedx+json",
    "evaluation": "application/vnd.kws.evaluation.v1+json",
    "figures": "application/vnd.kws.figures.v1+json",
    "provenance": "application/vnd.in-toto+json",
    "model": "application/vnd.kws.model.v1+onnx",
}
FILES = {
    "sbom": "sbom.cdx.json",
    "evaluation": "evaluation.json",
    "figures": "figures.json",
    "provenance": "provenance.json",
    "model": "model.onnx",
}


@dataclass(frozen=True)
class Attachment:
    """A file that refers to an image: the referrer's own digest, the file's kind, digest and size in bytes."""

    manifest: str
    kind: str
    digest: str
    size: int


def listed(registry: Registry, image: str, only: Collection[str] = TYPES) -> list[Attachment]:
    """The attachments of those kinds, of the image with that digest, in the registry's order."""
    try:
        index = registry.manifest(fallback_tag(image))
    except MissingError:
        return []
    kinds = {media: kind for kind, media in TYPES.items()}
    found = []
    for descriptor in index["manifests"]:
        kind = kinds.get(descriptor.get("artifactType", ""))
        if kind is None or kind not in only:
            continue
        manifest = registry.manifest(descriptor["digest"])
        if manifest.get("subject", {}).get("digest") != image:
            raise RegistryError(
                f"{registry.address}: {descriptor['digest']} is listed for {image}, but refers elsewhere"
            )
        found += [
            Attachment(descriptor["digest"], kind, layer["digest"], layer["size"]) for layer in manifest["layers"]
        ]
    return found


def attach(registry: Registry, image: str, files: dict[str, Path], created: str) -> list[str]:
    """Attach files by kind, in order; what is attached already stays as it is. Returns the kinds attached now."""
    present = {(attachment.kind, attachment.digest) for attachment in listed(registry, image)}
    added = []
    for kind, path in files.items():
        if (kind, digest_of(path)) in present:
            continue
        say(f"attaching {FILES[kind]}")
        with tempfile.TemporaryDirectory() as folder:  # the file's name in the registry is the one on the disk
            shutil.copyfile(path, Path(folder) / FILES[kind])
            registry.oras(
                *("attach", "--artifact-type", TYPES[kind], "--annotation"),
                # The time of attaching would make each attempt another referrer.
                f"org.opencontainers.image.created={created}",
                *(registry.at(image), f"{FILES[kind]}:{TYPES[kind]}"),
                cwd=Path(folder),
                tag_scheme=True,
            )
        added.append(kind)
    return added


def fetch(registry: Registry, image: str, kinds: list[str] | None, output: Path, *, some: bool = False) -> list[Path]:
    """Write the newest attachment of each kind (None: of all) under its own name; the bytes are checked on the way.

    Raises MissingError where the image has none of a kind; with ``some``, of none of them.
    """
    latest = {attachment.kind: attachment for attachment in listed(registry, image, kinds or TYPES)}
    missing = [kind for kind in kinds or [] if kind not in latest]
    if missing and not (some and latest):
        raise MissingError(f"{registry.address}@{image} has no {' and no '.join(missing)} attached")
    written = []
    for kind in latest:
        path = output / FILES[kind]
        blob(registry, latest[kind], path)
        written.append(path)
    return written


def blob(registry: Registry, attachment: Attachment, path: Path) -> None:
    """Download an attachment's file. Raises RegistryError where the registry's bytes are not those of the digest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    registry.oras("blob", "fetch", "--output", str(path), registry.at(attachment.digest))
    if digest_of(path) != attachment.digest:
        path.unlink()
        raise RegistryError(
            f"{registry.address}: the {attachment.kind} is not the one attached: its bytes were changed"
        )


def fallback_tag(digest: str) -> str:
    """The tag of the referrers' index where a registry has no endpoint for them (OCI distribution 1.1)."""
    return digest.replace(":", "-")


def statement(path: Path) -> dict[str, object]:
    """A provenance file. Raises RegistryError where it is no in-toto statement."""
    content = json.loads(path.read_text())
    if not isinstance(content, dict) or "predicate" not in content:
        raise RegistryError(f"{path} is not an in-toto statement")
    return content
