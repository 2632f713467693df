"""The provenance of an image as an in-toto statement with a SLSA v1 predicate: ``python -m tools.provenance``.

It says what went in by digest and what came out beside the image. It holds no time and no run's number unless given,
so that equal runs state the same. Standard library only. https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tools.oci import Archive, ArchiveError, digest_of

BUILD_TYPE = "urn:kws:pipeline:v1"


def statement(
    archive: Path,
    address: str,
    builder: str,
    parameters: dict[str, str],
    materials: list[dict[str, Any]],
    byproducts: dict[str, Path],
    invocation: str = "",
) -> dict[str, Any]:
    """The statement. ``byproducts``: files made on the way, by the name under which they are attached.

    Raises ArchiveError where ``archive`` is no OCI archive.
    """
    with Archive(archive) as image:
        digest = image.root["digest"]
        labels = image.images()[0][2].get("config", {}).get("Labels") or {}
    made = [_material(name, digest_of(path)) for name, path in sorted(byproducts.items())]
    # cosign writes an empty `metadata` too: what it signs is what stands here, member by member.
    metadata = {"invocationId": invocation} if invocation else {}
    run = {"builder": {"id": builder}, "metadata": metadata, "byproducts": made}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [_material(address, digest)],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": parameters,
                "resolvedDependencies": [*_of_labels(labels), *materials],
            },
            "runDetails": run,
        },
    }


def _of_labels(labels: dict[str, str]) -> list[dict[str, Any]]:
    """What the image says itself of its source, its base and its data."""
    found: list[dict[str, Any]] = []
    prefix = "org.opencontainers.image"
    if revision := labels.get(f"{prefix}.revision"):
        uri = f"git+{labels.get(f'{prefix}.source', '')}@{revision}"
        found.append({"uri": uri, "digest": {"gitCommit": revision}})
    if base := labels.get(f"{prefix}.base.digest"):
        found.append({"uri": f"docker://{labels.get(f'{prefix}.base.name', '')}", "digest": _digest(base)})
    if data := labels.get("kws.data.digest"):
        found.append({"name": "data set", "digest": _digest(data)})
    return found


def _material(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": _digest(digest)}


def _digest(digest: str) -> dict[str, str]:
    algorithm, _, value = digest.rpartition(":")
    return {algorithm or "sha256": value}


def _named(entries: list[str]) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in entries)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="the image's OCI archive")
    parser.add_argument("--address", required=True, help="what the subject is called: HOST/NAME")
    parser.add_argument("--builder", required=True, help="URI of who runs the build")
    parser.add_argument("--invocation", default="", help="URI of the run")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    parser.add_argument("--material", action="append", default=[], metavar="NAME=FILE", help="may be repeated")
    parser.add_argument("--byproduct", action="append", default=[], metavar="NAME=FILE", help="may be repeated")
    parser.add_argument("--output", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    try:
        content = statement(
            options.archive,
            options.address,
            options.builder,
            _named(options.parameter),
            [_material(name, digest_of(Path(path))) for name, path in sorted(_named(options.material).items())],
            {name: Path(path) for name, path in _named(options.byproduct).items()},
            options.invocation,
        )
    except (ArchiveError, OSError, ValueError) as error:
        print(f"provenance: {error}", file=sys.stderr)
        return 2
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(content, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
