"""The archive's facts, the SBOM and the provenance that are made of it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from release.artifacts import Artifacts, InputError, ToolError
from release.provenance import predicate
from release.sbom import describe, merge, run_syft, written

from .conftest import Change

LABELS = {
    "kws.model.digest": f"sha256:{'a' * 64}",
    "kws.model.version": "abc",
    "kws.data.digest": "b" * 64,
    "org.opencontainers.image.licenses": "MIT",
    "org.opencontainers.image.source": "https://github.com/me/words",
    "org.opencontainers.image.revision": "0123abc",
    "org.opencontainers.image.base.name": "python:3.13-slim",
    "org.opencontainers.image.base.digest": f"sha256:{'c' * 64}",
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

    def image(self, architecture: str) -> dict[str, Any]:
        created = "2026-03-01T12:00:00Z"
        config = {"os": "linux", "architecture": architecture, "created": created, "config": {"Labels": LABELS}}
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


def test_an_archive_tells_its_image(image: Path) -> None:
    found = describe(image)
    assert (found["platform"], found["platforms"], found["size_bytes"]) == ("linux/amd64", ["linux/amd64"], 14)
    assert found["labels"] == LABELS
    assert found["created"] == "2026-03-01T12:00:00Z"


def test_an_index_of_platforms(tmp_path: Path) -> None:
    layout = Layout()
    root = layout.add({"manifests": [layout.image("amd64"), layout.image("arm64")]})
    path = layout.write(tmp_path / "image.tar", root)
    found = describe(path, "linux/arm64")
    assert (found["digest"], found["platform"]) == (root["digest"], "linux/arm64")
    assert found["platforms"] == ["linux/amd64", "linux/arm64"]
    with pytest.raises(InputError, match="linux/s390x"):
        describe(path, "linux/s390x")


def broken(kind: str, path: Path) -> Path:
    layout = Layout()
    root = layout.image("amd64")
    if kind == "two images":
        return layout.write(path, root, layout.image("arm64"))
    if kind == "no image":
        return layout.write(path)
    if kind == "no tar":
        path.write_bytes(b"no tar")
        return path
    name = "blobs/" + root["digest"].replace(":", "/")
    if kind == "changed":
        layout.files[name] = layout.files[name].replace(b"linux", b"Linux") + b" "
    else:
        del layout.files[name]
    return layout.write(path, root)


@pytest.mark.parametrize("kind", ["two images", "no image", "no tar", "changed", "lost"])
def test_an_archive_that_is_not_whole(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match="not a whole OCI archive"):
        describe(broken(kind, tmp_path / "image.tar"))


def found_by_syft(serial: str = "1") -> dict[str, Any]:
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "serialNumber": f"urn:uuid:00000000-0000-4000-8000-00000000000{serial}",
        "metadata": {
            "timestamp": f"2026-11-2{serial}T00:00:00Z",
            "component": {"type": "container", "bom-ref": "i", "name": "kws"},
        },
        "components": [{"type": "library", "bom-ref": "f", "name": "flask", "purl": "pkg:pypi/flask@3"}],
        "dependencies": [{"ref": "f"}],
    }


def test_the_sbom_holds_model_and_data_and_is_the_same_each_time(image: Path, change: Change) -> None:
    run = Artifacts(change())
    first, second = (written(merge(found_by_syft(serial), describe(image), run)) for serial in "12")
    assert first == second
    document = json.loads(first)
    by_name = {component["name"]: component for component in document["components"]}
    assert by_name["model.onnx"]["version"] == "abc"
    assert by_name["model.onnx"]["licenses"] == [{"license": {"name": "MIT"}}]
    assert by_name["training data"]["hashes"] == [{"alg": "SHA-256", "content": "b" * 64}]
    card = by_name["model.onnx"]["modelCard"]
    assert card["quantitativeAnalysis"]["performanceMetrics"][0] == {
        "type": "accuracy",
        "value": "0.95",
        "slice": "test split",
        "confidenceInterval": {"lowerBound": "0.91", "upperBound": "0.97"},
    }
    assert card["considerations"]["technicalLimitations"] == ["running audio: 0 hours were asked for"]
    edges = {edge["ref"]: edge["dependsOn"] for edge in document["dependencies"]}
    assert (edges["i"], edges["model"]) == (["model"], ["data"])


def test_an_image_without_a_model_or_its_evaluation_has_an_sbom(image: Path, tmp_path: Path) -> None:
    facts = describe(image)
    assert "training data" in written(merge(found_by_syft(), facts, Artifacts(tmp_path)))
    assert "model.onnx" not in written(merge(found_by_syft(), {**facts, "labels": {}}, Artifacts(tmp_path)))


def test_what_is_not_valid_is_refused(image: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not valid CycloneDX"):
        written(merge({**found_by_syft(), "unheard": "of"}, describe(image), Artifacts(tmp_path)))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo could not read the image >&2; exit 1", "could not read the image"),
        ("exit 0", "ended with 0"),
        ("for last; do :; done; echo '{\"components\": []}' > ${last#*=}", "found no package"),
    ],
)
def test_syft_that_fails_is_said(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    (tmp_path / "syft").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "syft").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(ToolError, match=message):
        run_syft(image, describe(image))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolError, match="cannot be run"):
        run_syft(image, describe(image))


def test_the_provenance_names_what_went_in_by_digest(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text("locked")
    stated = predicate(
        LABELS,
        ["profile=quick", "bounds=min_accuracy=0.9"],
        [f"uv.lock={tmp_path / 'uv.lock'}", f"dataset=sha256:{'e' * 64}"],
        [f"sbom.cdx.json={'f' * 64}"],
        "https://example.org/builder",
        untested=["linux/arm64"],
    )
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
    assert stated["runDetails"] == {
        "builder": {"id": "https://example.org/builder"},
        "metadata": {},
        "byproducts": [{"name": "sbom.cdx.json", "digest": {"sha256": "f" * 64}}],
    }


@pytest.mark.parametrize("entry", ["uv.lock", "=x", "uv.lock=nowhere", "x=sha256:12"])
def test_a_material_without_a_digest_is_refused(entry: str) -> None:
    with pytest.raises(InputError, match="is n"):
        predicate({}, [], [entry], [], "me")
