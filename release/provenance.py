"""The provenance of an image: what went in by digest, with every parameter. https://slsa.dev/spec/v1.0/provenance"""

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from release.artifacts import InputError, Output, Repeated, read_file, write_json


def provenance(
    image: Path,
    output: Output,
    builder: Annotated[str, typer.Option(help="URI of who runs the build.")],
    invocation: Annotated[str, typer.Option(help="URI of the run.")] = "",
    parameter: Repeated = None,
    material: Repeated = None,
    untested: Repeated = None,
) -> None:
    """Write the predicate of SLSA v1 about an image.json, whose labels tell source, base and data, for cosign.

    Parameters are NAME=VALUE, materials NAME=FILE or NAME=sha256:HEX, untested are platforms.
    """
    labels = read_file(image).get("labels") or {}
    names = ("source", "revision", "base.name", "base.digest")
    source, revision, base, digest = (labels.get(f"org.opencontainers.image.{name}", "") for name in names)
    found = [{"uri": f"git+{source}@{revision}", "digest": {"gitCommit": revision}}] if revision else []
    found += [{"uri": f"docker://{base}", "digest": _digest(str(digest))}] if digest else []
    materials = {"data set": labels.get("kws.data.digest"), **_split(material)}
    found += [{"name": name, "digest": _digest(str(said))} for name, said in materials.items() if said]
    build: dict[str, Any] = {"buildType": "urn:kws:pipeline:v1", "externalParameters": _split(parameter)}
    build |= {"internalParameters": {"untestedPlatforms": untested} if untested else {}, "resolvedDependencies": found}
    # No time, no run's number unless given: equal runs state the same, as cosign writes it: with an empty `metadata`.
    run = {"builder": {"id": builder}, "metadata": {"invocationId": invocation} if invocation else {}}
    write_json(output, {"buildDefinition": build, "runDetails": run})


def _digest(said: str) -> dict[str, str]:
    found = re.fullmatch(r"(?:sha256:)?([0-9a-f]{64})", said)
    try:
        return {"sha256": found[1] if found else hashlib.sha256(Path(said).read_bytes()).hexdigest()}
    except OSError as error:
        raise InputError(f"{said!r} is neither sha256:HEX nor a file ({error.strerror})") from error


def _split(entries: list[str] | None) -> dict[str, str]:
    for entry in entries or []:
        if not re.fullmatch(r"[^=]+=.+", entry, re.DOTALL):
            raise InputError(f"{entry!r} is not NAME=VALUE")
    return dict(entry.split("=", 1) for entry in sorted(entries or []))
