"""The bill of materials of an image: what syft finds in the archive, with the model and its data. CycloneDX 1.6.

The same archive gives the same bytes: syft's serial number and time are replaced by the image's own.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import tempfile
import uuid
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from release.artifacts import EVALUATION, Artifacts, InputError, ToolError, last_line, read_json, run_tool

EPOCH = "1970-01-01T00:00:00Z"


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


def run_syft(archive: Path, image: dict[str, Any]) -> dict[str, Any]:
    """What syft finds in the archive's image. Raises ToolError where it fails or finds nothing."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "syft.json"
        # Files as components of their own are left out: they are in packages, or the layers' digests cover them.
        command = ["syft", "scan", f"oci-archive:{archive}", "--select-catalogers", "-file", "--source-name", "kws"]
        command += ["--source-version", image["digest"], "--output", f"cyclonedx-json@1.6={written}"]
        command += ["--platform", image["platform"]] if len(image["platforms"]) > 1 else []
        os.environ["SYFT_CHECK_FOR_APP_UPDATE"] = "false"
        done = run_tool(*command)
        if done.returncode or not written.is_file():
            raise ToolError(f"syft ended with {done.returncode}: {last_line(done.stderr)}")
        found = read_json(written)
    if not any(component.get("type") == "library" for component in found.get("components", [])):
        raise ToolError(f"syft found no package in {archive}")
    return found


def merge(found: dict[str, Any], image: dict[str, Any], model: Artifacts) -> dict[str, Any]:
    """``found`` with the model and its data, in one form whenever and wherever it was made.

    ``image`` is ``image.json``; ``model`` an artefact directory for the model card, which may be empty.
    """
    added = _model(image["labels"], model)
    edges = {edge["ref"]: edge.get("dependsOn", []) for edge in found.get("dependencies", [])}
    if added:
        container = found["metadata"]["component"]["bom-ref"]
        edges |= {container: [*edges.get(container, []), "model"], "model": ["data"], "data": []}
    return {
        **found,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, image['digest'])}",
        "metadata": {**found["metadata"], "timestamp": image["created"] or EPOCH},
        "components": sorted([*found["components"], *added], key=lambda component: str(component["bom-ref"])),
        "dependencies": [{"ref": ref, "dependsOn": sorted(edges[ref])} for ref in sorted(edges)],
    }


def _model(labels: dict[str, str], model: Artifacts) -> list[dict[str, Any]]:
    """The model and its data, as the image's labels name them; empty where the image has none."""
    if "kws.model.digest" not in labels:
        return []
    names = [str(label) for label in model.get(EVALUATION, "labels") or []]
    data = {
        "type": "data",
        "bom-ref": "data",
        "name": "training data",
        "hashes": [_hash(labels["kws.data.digest"])] if labels.get("kws.data.digest") else [],
        "licenses": _licence(str(model.get(EVALUATION, "data/licence") or "")),
        "description": str(model.get(EVALUATION, "data/source") or ""),
    }
    limits = (model.get(EVALUATION, "not_measured") or {}).items()
    card = {
        "modelParameters": {
            "task": "keyword spotting",
            "architectureFamily": "convolutional neural network",
            "approach": {"type": "supervised"},
            "datasets": [{"ref": "data"}],
            "inputs": [{"format": "waveform float32[batch, samples]"}],
            "outputs": [{"format": "probabilities float32[batch, classes]"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": _metrics(model)},
        "considerations": {
            "useCases": [f"tells {', '.join(names)} apart in short recordings"] if names else [],
            "technicalLimitations": [f"{what}: {why}" for what, why in limits],
        },
    }
    component = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": "model.onnx",
        "version": labels.get("kws.model.version", ""),
        "hashes": [_hash(labels["kws.model.digest"])],
        "licenses": _licence(labels.get("org.opencontainers.image.licenses", "")),
        "modelCard": card,
    }
    return [component, data]


def _metrics(model: Artifacts) -> list[dict[str, Any]]:
    found = []
    for name in ("accuracy", "keyword_accuracy"):
        value, interval = (model.get(EVALUATION, key) for key in (name, f"{name}_interval_95"))
        if value is not None and isinstance(interval, list) and len(interval) == 2:
            bounds = dict(zip(("lowerBound", "upperBound"), map(str, interval), strict=True))
            found.append({"type": name, "value": str(value), "slice": "test split", "confidenceInterval": bounds})
    return found


def _hash(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest.rpartition(":")[2]}


def _licence(text: str) -> list[dict[str, Any]]:
    return [{"license": {"name": text}}] if text else []


def written(document: dict[str, Any]) -> str:
    """The document as text. Raises InputError where it is not strictly valid CycloneDX."""
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        raise InputError(f"the SBOM is not valid CycloneDX 1.6: {str(getattr(error, 'data', error))[:200]}")
    return text
