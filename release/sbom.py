"""The bill of materials of an image, CycloneDX 1.6: what syft finds in the archive, with the model and its data."""

import hashlib
import json
import os
import tarfile
import uuid
from pathlib import Path
from typing import Any

from release.artifacts import EVALUATION, TEMPLATES, Artifacts, InputError, Output, ToolError, run_tool, write_json


def sbom(image: Path, output: Output, platform: str = "", artifacts: Path = Path("artifacts")) -> None:
    """Write image.json and sbom.cdx.json of an OCI archive into a folder; needs syft.

    PLATFORM is the image of an index that was tested (default: its first), ARTIFACTS the run's directory, for the card.
    """
    from cyclonedx.schema import SchemaVersion  # takes longer to load than most commands to run
    from cyclonedx.validation.json import JsonStrictValidator

    facts = describe(image, platform)
    write_json(output / "image.json", facts)
    # Files as components of their own are left out: they are in packages, or the layers' digests cover them.
    command = ["syft", "scan", f"oci-archive:{image}", "--select-catalogers", "-file", "--source-name", "kws"]
    command += ["--source-version", facts["digest"], "--output", "cyclonedx-json@1.6"]
    command += ["--platform", facts["platform"]] if len(facts["platforms"]) > 1 else []
    os.environ["SYFT_CHECK_FOR_APP_UPDATE"] = "false"
    found = dict(json.loads(run_tool(*command).stdout or "{}"))
    if not any(component.get("type") == "library" for component in found.get("components", [])):
        raise ToolError(f"syft found no package in {image}")
    text = json.dumps(merge(found, facts, Artifacts(artifacts).read(EVALUATION)), indent=2, sort_keys=True) + "\n"
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise InputError(f"the SBOM is not valid CycloneDX 1.6: {str(getattr(error, 'data', error))[:200]}")
    (output / "sbom.cdx.json").write_text(text, encoding="utf-8")


def describe(path: Path, platform: str = "") -> dict[str, Any]:
    """Facts of the archive's one image, or of an index's image of ``platform`` (default: its first, the builder's own).

    ``digest`` is the manifest's or the index's, ``size_bytes`` is compressed. Raises InputError on any other archive.
    """
    found = {}
    try:
        with tarfile.open(path, "r:") as archive:
            (root,) = json.load(archive.extractfile("index.json"))["manifests"]  # type: ignore[arg-type]  # None is caught
            for descriptor in _document(archive, root).get("manifests", [root]):
                manifest = _document(archive, descriptor)
                config = _document(archive, manifest["config"])
                name = "/".join(config[key] for key in ("os", "architecture", "variant") if config.get(key))
                found[name] = manifest, config
        platform = platform or next(iter(found), "")
        manifest, config = found[platform]
        layers = [{"digest": layer["digest"], "size_bytes": layer["size"]} for layer in manifest["layers"]]
        created, labels = config.get("created") or "1970-01-01T00:00:00Z", config["config"].get("Labels") or {}
        facts = {"digest": root["digest"], "platform": platform, "platforms": list(found), "layers": layers}
        return facts | {"size_bytes": sum(each["size_bytes"] for each in layers), "created": created, "labels": labels}
    except (tarfile.TarError, OSError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not a whole OCI archive of one image ({error}); build it again") from error


def _document(archive: tarfile.TarFile, descriptor: dict[str, str]) -> dict[str, Any]:
    algorithm, _, value = descriptor["digest"].partition(":")
    content = archive.extractfile(f"blobs/{algorithm}/{value}").read()  # type: ignore[union-attr]  # None is caught
    if hashlib.new(algorithm, content).hexdigest() != value:
        raise ValueError(f"{descriptor['digest']} was changed")
    return dict(json.loads(content))


def merge(found: dict[str, Any], image: dict[str, Any], evaluation: dict[str, Any]) -> dict[str, Any]:
    """What syft found, with model and data; serial number and time are the image's: equal archives, equal bytes."""
    edges = {edge["ref"]: edge.get("dependsOn", []) for edge in found.get("dependencies", [])}
    added = []
    if "kws.model.digest" in image["labels"]:
        form = TEMPLATES.get_template("model.cdx.json.j2")
        added = json.loads(form.render(labels=image["labels"], evaluation=evaluation))
        container = found["metadata"]["component"]["bom-ref"]
        edges |= {container: [*edges.get(container, []), "model"], "model": ["data"], "data": []}
    return {
        **found,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, image['digest'])}",
        "metadata": {**found["metadata"], "timestamp": image["created"]},
        "components": sorted([*found["components"], *added], key=lambda component: str(component["bom-ref"])),
        "dependencies": [{"ref": ref, "dependsOn": sorted(edges[ref])} for ref in sorted(edges)],
    }
