"""The archive's facts, the SBOM and the provenance that are made of it."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from release.artifacts import InputError, ToolError
from release.provenance import provenance
from release.sbom import describe, sbom

from .conftest import Change

OCI = "org.opencontainers.image"
LABELS = {
    "kws.model.digest": f"sha256:{'a' * 64}",
    "kws.model.version": "abc",
    "kws.data.digest": "b" * 64,
    f"{OCI}.licenses": "MIT",
    f"{OCI}.source": "https://github.com/me/words",
    f"{OCI}.revision": "0123abc",
    f"{OCI}.base.name": "python:3.13-slim",
    f"{OCI}.base.digest": f"sha256:{'c' * 64}",
}


class Layout:
    """An OCI archive in the making."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def add(self, content: bytes | dict[str, Any]) -> dict[str, Any]:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        digest = hashlib.sha256(data).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = data
        return {"digest": f"sha256:{digest}", "size": len(data)}

    def image(self, architecture: str, labels: dict[str, str] = LABELS) -> dict[str, Any]:
        created = "2026-03-01T12:00:00Z"
        config = {"os": "linux", "architecture": architecture, "created": created, "config": {"Labels": labels}}
        return self.add({"config": self.add(config), "layers": [self.add(f"layer of {architecture}".encode())]})

    def write(self, path: Path, *roots: dict[str, Any]) -> Path:
        self.files["index.json"] = json.dumps({"manifests": roots}).encode()
        with tarfile.open(path, "w") as archive:
            for name, data in self.files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    layout = Layout()
    return layout.write(tmp_path / "image.tar", layout.image("amd64"))


def test_an_archive_tells_its_image(image: Path, tmp_path: Path) -> None:
    found = describe(image)
    assert (found["platform"], found["platforms"], found["size_bytes"]) == ("linux/amd64", ["linux/amd64"], 14)
    assert (found["labels"], found["created"]) == (LABELS, "2026-03-01T12:00:00Z")
    layout = Layout()
    root = layout.add({"manifests": [layout.image("amd64"), layout.image("arm64")]})
    path = layout.write(tmp_path / "index.tar", root)
    found = describe(path, "linux/arm64")
    assert (found["digest"], found["platform"]) == (root["digest"], "linux/arm64")
    with pytest.raises(InputError, match="linux/s390x"):
        describe(path, "linux/s390x")


@pytest.mark.parametrize("kind", ["two images", "no image", "no tar", "changed", "lost"])
def test_an_archive_that_is_not_whole(tmp_path: Path, kind: str) -> None:
    layout, path = Layout(), tmp_path / "image.tar"
    root = layout.image("amd64")
    name = "blobs/" + root["digest"].replace(":", "/")
    layout.files |= {"changed": {name: b" {}"}}.get(kind, {})
    layout.files = {each: data for each, data in layout.files.items() if kind != "lost" or each != name}
    layout.write(path, *{"two images": [root, layout.image("arm64")], "no image": []}.get(kind, [root]))
    if kind == "no tar":
        path.write_bytes(b"no tar")
    with pytest.raises(InputError, match="not a whole OCI archive"):
        describe(path)


FLASK = {"type": "library", "bom-ref": "f", "name": "flask", "purl": "pkg:pypi/flask@3"}


def syft(folder: Path, script: str = "cat $FOUND", serial: int = 1, **more: Any) -> None:
    """A stand-in that finds flask, with a serial number and a time of its own."""
    component = {"type": "container", "bom-ref": "i", "name": "kws"}
    found = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": [FLASK]}
    found |= {"serialNumber": f"urn:uuid:00000000-0000-4000-8000-00000000000{serial}", "dependencies": [{"ref": "f"}]}
    found |= {"metadata": {"timestamp": f"2026-11-2{serial}T00:00:00Z", "component": component}} | more
    (folder / "found.json").write_text(json.dumps(found))
    (folder / "syft").write_text(f"#!/bin/sh\nFOUND={folder}/found.json\n{script}\n")
    (folder / "syft").chmod(0o755)
    os.environ["PATH"] = f"{folder}:/bin:/usr/bin"


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


def test_the_sbom_holds_model_and_data_and_is_the_same_each_time(image: Path, tmp_path: Path, change: Change) -> None:
    texts = []
    for serial in (1, 2):
        syft(tmp_path, serial=serial)
        sbom(image, tmp_path, artifacts=change())
        texts.append((tmp_path / "sbom.cdx.json").read_text())
    assert texts[0] == texts[1]
    document = json.loads(texts[0])
    by_name = {component["name"]: component for component in document["components"]}
    model, data = by_name["model.onnx"], by_name["training data"]
    assert (model["version"], model["licenses"]) == ("abc", [{"license": {"name": "MIT"}}])
    assert data["hashes"] == [{"alg": "SHA-256", "content": "b" * 64}]
    assert (data["licenses"], data["description"]) == ([{"license": {"name": "CC0 1.0"}}], "synthetic")
    (accuracy, _) = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert (accuracy["type"], accuracy["value"], accuracy["slice"]) == ("accuracy", "0.95", "test split")
    assert accuracy["confidenceInterval"] == {"lowerBound": "0.91", "upperBound": "0.97"}
    said = model["modelCard"]["considerations"]
    assert said["useCases"] == ["tells up, no, _unknown_ apart in short recordings"]
    assert said["technicalLimitations"] == ["synthetic voices: the data set has such voices itself"]
    edges = {edge["ref"]: edge["dependsOn"] for edge in document["dependencies"]}
    assert (edges["i"], edges["model"]) == (["model"], ["data"])


@pytest.mark.parametrize(("labels", "there"), [(LABELS, True), ({}, False)])
def test_an_image_without_a_model_or_its_evaluation_has_an_sbom(
    tmp_path: Path, labels: dict[str, str], there: bool
) -> None:
    layout = Layout()
    syft(tmp_path)
    sbom(layout.write(tmp_path / "image.tar", layout.image("amd64", labels)), tmp_path, artifacts=tmp_path)
    assert ("training data" in (tmp_path / "sbom.cdx.json").read_text()) == there


SYFTS: list[tuple[str, Any, str]] = [
    ("echo could not read the image >&2; exit 1", {}, "could not read the image"),
    ("exit 0", {}, "found no package"),
    ("cat $FOUND", {"components": []}, "found no package"),
    ("cat $FOUND", {"unheard": "of"}, "not valid CycloneDX"),
    ("", None, "cannot be run"),
]


@pytest.mark.parametrize(("script", "more", "message"), SYFTS)
def test_what_syft_did_not_do_is_said(image: Path, tmp_path: Path, script: str, more: Any, message: str) -> None:
    if more is not None:
        syft(tmp_path, script, **more)
    with pytest.raises((ToolError, InputError), match=message):
        sbom(image, tmp_path)


def test_the_provenance_names_what_went_in_by_digest(tmp_path: Path, image: Path) -> None:
    (tmp_path / "image.json").write_text(json.dumps(describe(image)))
    (tmp_path / "uv.lock").write_text("locked")
    materials = [f"uv.lock={tmp_path / 'uv.lock'}", f"dataset=sha256:{'e' * 64}"]
    told: Any = (["profile=quick", "bounds=min_accuracy=0.9"], materials, ["linux/arm64"])
    provenance(tmp_path / "image.json", tmp_path / "slsa.json", "https://example.org/builder", "", *told)
    stated = json.loads((tmp_path / "slsa.json").read_text())
    build = stated["buildDefinition"]
    assert build["externalParameters"] == {"bounds": "min_accuracy=0.9", "profile": "quick"}
    assert build["internalParameters"] == {"untestedPlatforms": ["linux/arm64"]}
    assert build["resolvedDependencies"] == [
        {"uri": "git+https://github.com/me/words@0123abc", "digest": {"gitCommit": "0123abc"}},
        {"uri": "docker://python:3.13-slim", "digest": {"sha256": "c" * 64}},
        {"name": "data set", "digest": {"sha256": "b" * 64}},
        {"name": "dataset", "digest": {"sha256": "e" * 64}},
        {"name": "uv.lock", "digest": {"sha256": hashlib.sha256(b"locked").hexdigest()}},
    ]
    assert stated["runDetails"] == {"builder": {"id": "https://example.org/builder"}, "metadata": {}}


def test_a_material_without_a_digest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image.json").write_text("{}")
    for entry in ("uv.lock", "=x", "uv.lock=nowhere", "x=sha256:12"):
        with pytest.raises(InputError, match="is n"):
            provenance(tmp_path / "image.json", tmp_path / "slsa.json", "me", material=[entry])
