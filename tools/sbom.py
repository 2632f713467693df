"""The bill of materials of an image: ``python -m tools.sbom``. Standard library, and Debian's ``dpkg-query``.

To the Python packages that ``cyclonedx-py`` found it adds the Debian packages of the image's own dpkg database, with
the licences of their copyright files, and the model with the data that it was trained on. CycloneDX 1.6.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

FIELDS = ("Package", "Version", "Architecture", "source:Package", "source:Version")
LICENCE = re.compile(r"^License: *(\S[^\n]*)$", re.MULTILINE)
DEP5 = "www.debian.org/doc/packaging-manuals/copyright-format"


def debian_packages(root: Path) -> list[dict[str, Any]]:
    """A component for each package installed under ``root``; none where it holds no dpkg database."""
    database = root / "var/lib/dpkg"
    if not (database / "status").is_file():
        return []
    form = "\\t".join(f"${{{field}}}" for field in ("db:Status-Abbrev", *FIELDS)) + "\\n"
    command = ["dpkg-query", f"--admindir={database}", "--show", f"--showformat={form}"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    distribution = _distribution(root)
    components = []
    for line in listed.splitlines():
        status, name, version, architecture, source, source_version = line.split("\t")
        if not status.startswith("ii"):
            continue
        qualifiers = f"arch={architecture}&distro={distribution}"
        component: dict[str, Any] = {
            "type": "library",
            "bom-ref": f"deb:{name}:{architecture}",
            "name": name,
            "version": version,
            "purl": f"pkg:deb/debian/{quote(name, safe='')}@{quote(version, safe='~')}?{qualifiers}",
            "properties": [
                {"name": "debian:source", "value": source},
                {"name": "debian:source:version", "value": source_version},
            ],
        }
        if licences := _licences(root / "usr/share/doc" / name / "copyright"):
            component["licenses"] = [{"license": {"name": licence}} for licence in licences]
        components.append(component)
    return sorted(components, key=lambda component: str(component["bom-ref"]))


def _distribution(root: Path) -> str:
    text = (root / "etc/os-release").read_text()
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return "-".join(values[key].strip('"') for key in ("ID", "VERSION_ID") if key in values)


def _licences(copyright_file: Path) -> list[str]:
    """The short names of a machine-readable copyright file, each once; of another form nothing is guessed."""
    try:
        text = copyright_file.read_text(errors="replace")
    except OSError:
        return []
    return sorted({name.strip() for name in LICENCE.findall(text)}) if DEP5 in text else []


def model_components(labels: dict[str, str]) -> list[dict[str, Any]]:
    """The model, and its data as a component that it depends on."""
    model: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": "model.onnx",
        "version": labels.get("kws.model.version", ""),
        "hashes": [_hash(labels["kws.model.digest"])],
    }
    if not labels.get("kws.data.digest"):
        return [model]
    data = {"type": "data", "bom-ref": "data", "name": "training data", "hashes": [_hash(labels["kws.data.digest"])]}
    model["modelCard"] = {"modelParameters": {"datasets": [{"ref": "data"}]}}
    return [model, data]


def _hash(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest.rpartition(":")[2]}


def merge(python: dict[str, Any], root: Path, labels: dict[str, str]) -> dict[str, Any]:
    """The whole document; ``python`` is what cyclonedx-py wrote, and keeps its own metadata."""
    added = [*debian_packages(root), *model_components(labels)]
    components = [*python.get("components", []), *added]
    dependencies = [*python.get("dependencies", []), *({"ref": component["bom-ref"]} for component in added)]
    for dependency in dependencies:
        if dependency["ref"] == "model" and any(component["bom-ref"] == "data" for component in added):
            dependency["dependsOn"] = ["data"]
    return {**python, "specVersion": "1.6", "components": components, "dependencies": dependencies}


def stated_licences(component: dict[str, Any]) -> list[str]:
    """The licences of a CycloneDX component: SPDX expressions, identifiers or names."""
    entries = component.get("licenses") or []
    return [entry.get("expression") or entry["license"].get("id") or entry["license"]["name"] for entry in entries]


def licences(document: dict[str, Any]) -> str:
    """A line a component: name, version, licences; what states none says so."""
    lines = []
    for component in document["components"]:
        stated = ", ".join(stated_licences(component)) or "none stated"
        lines.append(f"{component['name']}\t{component.get('version', '')}\t{stated}")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", type=Path, help="what cyclonedx-py wrote")
    parser.add_argument("--root", type=Path, required=True, help="the image's file system, or its part of interest")
    parser.add_argument("--labels", type=Path, required=True, help="what tools.labels wrote")
    parser.add_argument("--output", type=Path, required=True, help="a folder for sbom.cdx.json and licences.tsv")
    options = parser.parse_args()
    try:
        found = json.loads(options.python.read_text())
        document = merge(found, options.root, json.loads(options.labels.read_text()))
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError) as error:
        print(f"sbom: {error}", file=sys.stderr)
        return 2
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "sbom.cdx.json").write_text(json.dumps(document, indent=2) + "\n")
    (options.output / "licences.tsv").write_text(licences(document))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
