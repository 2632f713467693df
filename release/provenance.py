"""The provenance of an image as the predicate of SLSA v1: what went in by digest, with every parameter.

It holds no time and no run's number unless given: equal runs state the same. https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from release.artifacts import InputError

BUILD_TYPE = "urn:kws:pipeline:v1"


def predicate(
    labels: dict[str, str],
    parameters: Sequence[str],
    materials: Sequence[str],
    byproducts: Sequence[str],
    builder: str,
    invocation: str = "",
    untested: Sequence[str] = (),
) -> dict[str, Any]:
    """``labels`` are the image's own: source, base and data. The others are ``NAME=VALUE`` and ``NAME=FILE or DIGEST``.

    Raises InputError on one that is neither.
    """
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": dict(sorted(_split(entry) for entry in parameters)),
            "internalParameters": {"untestedPlatforms": list(untested)} if untested else {},
            "resolvedDependencies": [*_of_labels(labels), *map(_resolved, sorted(materials))],
        },
        "runDetails": {
            "builder": {"id": builder},
            # cosign writes an empty `metadata` too: what it signs is what stands here, member by member.
            "metadata": {"invocationId": invocation} if invocation else {},
            "byproducts": [*map(_resolved, sorted(byproducts))],
        },
    }


def _of_labels(labels: dict[str, str]) -> list[dict[str, Any]]:
    """What the image says itself of its source, its base and its data."""
    prefix = "org.opencontainers.image"
    found: list[dict[str, Any]] = []
    if revision := labels.get(f"{prefix}.revision"):
        uri = f"git+{labels.get(f'{prefix}.source', '')}@{revision}"
        found.append({"uri": uri, "digest": {"gitCommit": revision}})
    if base := labels.get(f"{prefix}.base.digest"):
        found.append({"uri": f"docker://{labels.get(f'{prefix}.base.name', '')}", "digest": _digest(base)})
    if data := labels.get("kws.data.digest"):
        found.append({"name": "data set", "digest": _digest(data)})
    return found


def _resolved(entry: str) -> dict[str, Any]:
    name, said = _split(entry)
    return {"name": name, "digest": _digest(said)}


def _digest(said: str) -> dict[str, str]:
    if found := re.fullmatch(r"(?:sha256:)?([0-9a-f]{64})", said):
        return {"sha256": found[1]}
    try:
        return {"sha256": hashlib.sha256(Path(said).read_bytes()).hexdigest()}
    except OSError as error:
        raise InputError(f"{said!r} is neither sha256:HEX nor a file ({error.strerror})") from error


def _split(entry: str) -> tuple[str, str]:
    name, equals, value = entry.partition("=")
    if not name or not equals:
        raise InputError(f"{entry!r} is not NAME=VALUE")
    return name, value
