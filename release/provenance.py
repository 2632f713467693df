"""The provenance of an image as the predicate of SLSA v1: what went in by digest, with every parameter.

It holds no time and no run's number unless given: equal runs state the same. https://slsa.dev/spec/v1.0/provenance
"""

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from release.artifacts import InputError, Output, Repeated, read_file, write_json

OCI = "org.opencontainers.image"


def provenance(
    image: Path,
    output: Output,
    builder: Annotated[str, typer.Option(help="URI of who runs the build.")],
    invocation: Annotated[str, typer.Option(help="URI of the run.")] = "",
    parameter: Repeated = None,
    material: Repeated = None,
    byproduct: Repeated = None,
    untested: Repeated = None,
) -> None:
    """Write the predicate of SLSA v1 about an image.json, for cosign to attest.

    Parameters are NAME=VALUE, materials and byproducts NAME=FILE or NAME=sha256:HEX, untested are platforms.
    """
    labels = read_file(image).get("labels") or {}
    build = {
        "buildType": "urn:kws:pipeline:v1",
        "externalParameters": _split(parameter),
        "internalParameters": {"untestedPlatforms": untested} if untested else {},
        "resolvedDependencies": [*_of_labels(labels), *_resolved(material)],
    }
    run = {
        "builder": {"id": builder},
        # cosign writes an empty `metadata` too: what it signs is what stands here, member by member.
        "metadata": {"invocationId": invocation} if invocation else {},
        "byproducts": _resolved(byproduct),
    }
    write_json(output, {"buildDefinition": build, "runDetails": run})


def _of_labels(labels: dict[str, str]) -> list[dict[str, Any]]:
    """What the image says itself of its source, its base and its data."""
    source, base = labels.get(f"{OCI}.source", ""), labels.get(f"{OCI}.base.name", "")
    revision, digest = labels.get(f"{OCI}.revision"), labels.get(f"{OCI}.base.digest")
    found: list[dict[str, Any]] = []
    if revision:
        found.append({"uri": f"git+{source}@{revision}", "digest": {"gitCommit": revision}})
    if digest:
        found.append({"uri": f"docker://{base}", "digest": _digest(digest)})
    if data := labels.get("kws.data.digest"):
        found.append({"name": "data set", "digest": _digest(data)})
    return found


def _resolved(entries: list[str] | None) -> list[dict[str, Any]]:
    return [{"name": name, "digest": _digest(said)} for name, said in _split(entries).items()]


def _digest(said: str) -> dict[str, str]:
    if found := re.fullmatch(r"(?:sha256:)?([0-9a-f]{64})", said):
        return {"sha256": found[1]}
    try:
        return {"sha256": hashlib.sha256(Path(said).read_bytes()).hexdigest()}
    except OSError as error:
        raise InputError(f"{said!r} is neither sha256:HEX nor a file ({error.strerror})") from error


def _split(entries: list[str] | None) -> dict[str, str]:
    """NAME=VALUE by name, in their order."""
    parts = [entry.partition("=") for entry in sorted(entries or [])]
    if wrong := ["".join(part) for part in parts if not part[0] or not part[1]]:
        raise InputError(f"{wrong[0]!r} is not NAME=VALUE")
    return {name: value for name, _, value in parts}
