"""The archive's facts, the SBOM and the provenance that are made of it."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import artifacts, program, run

SOURCE = {"licenses": "MIT", "source": "https://github.com/me/words", "revision": "0123abc"}
SOURCE |= {"base.name": "python:3.13-slim", "base.digest": f"sha256:{'c' * 64}"}
LABELS = {f"org.opencontainers.image.{name}": value for name, value in SOURCE.items()}
LABELS |= {"kws.model.digest": f"sha256:{'a' * 64}", "kws.model.version": "abc", "kws.data.digest": "b" * 64}


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


Made = tuple[int, dict[str, Any], dict[str, Any], str]
FLASK = {"type": "library", "bom-ref": "f", "name": "flask", "purl": "pkg:pypi/flask@3"}


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Made]:
    """``make(archive)``: the command with a syft that finds flask → exit code, image.json, SBOM, stderr."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    def call(archive: Path, *options: object, script: str = "cat found.json", serial: int = 1, **more: Any) -> Made:
        about: dict[str, Any] = {"timestamp": f"2026-11-2{serial}T00:00:00Z"}
        about |= {"component": {"type": "container", "bom-ref": "i", "name": "kws"}}
        found = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": [FLASK], "metadata": about}
        found["serialNumber"] = f"urn:uuid:00000000-0000-4000-8000-00000000000{serial}"
        (tmp_path / "found.json").write_text(json.dumps({**found, "dependencies": [{"ref": "f"}], **more}))
        program(tmp_path / "syft", f"cd {tmp_path}; {script}")
        code, _, said = run("sbom", archive, "--output", tmp_path, "--artifacts", tmp_path, *options)
        papers = [tmp_path / name for name in ("image.json", "sbom.cdx.json")]
        image, sbom = (json.loads(path.read_text()) if path.exists() else {} for path in papers)
        return code, image, sbom, said

    return call


def test_an_archive_tells_its_image(make: Callable[..., Made], tmp_path: Path) -> None:
    layout = Layout()
    root = layout.add({"manifests": [layout.image("amd64"), layout.image("arm64")]})
    path = layout.write(tmp_path / "index.tar", root)
    for platform, code in (("linux/amd64", 0), ("linux/arm64", 0), ("linux/s390x", 2)):
        ended, found, _, _ = make(path, "--platform", platform)
        assert (ended, code or found["platform"]) == (code, code or platform)
    assert (found["digest"], found["platforms"]) == (root["digest"], ["linux/amd64", "linux/arm64"])
    assert (found["size_bytes"], found["labels"], found["created"]) == (14, LABELS, "2026-03-01T12:00:00Z")


def test_an_archive_that_is_not_whole(make: Callable[..., Made], tmp_path: Path) -> None:
    layout, path = Layout(), tmp_path / "image.tar"
    root = layout.image("amd64")
    empty = layout.add({"manifests": []})
    for roots in ([], [root, layout.image("arm64")], [{"digest": f"sha256:{'0' * 64}"}], [empty]):
        assert "not a whole OCI archive" in make(layout.write(path, *roots))[3]
    layout.files["blobs/" + root["digest"].replace(":", "/")] += b" "
    assert "was changed" in make(layout.write(path, root))[3]
    path.write_bytes(b"no tar")
    assert make(path)[0] == 2


def test_the_sbom_holds_model_and_data_and_is_the_same_each_time(make: Callable[..., Made], tmp_path: Path) -> None:
    layout = Layout()
    image = layout.write(tmp_path / "image.tar", layout.image("amd64"))
    artifacts(tmp_path)
    _, _, document, _ = make(image)
    assert make(image, serial=2)[2] == document
    by_name = {component["name"]: component for component in document["components"]}
    model, data = by_name["model.onnx"], by_name["training data"]
    assert (model["version"], model["licenses"]) == ("abc", [{"license": {"name": "MIT"}}])
    assert data["hashes"] == [{"alg": "SHA-256", "content": "b" * 64}]
    assert (data["licenses"], data["description"]) == ([{"license": {"name": "CC0 1.0"}}], "synthetic")
    (accuracy, _) = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert (accuracy["type"], accuracy["value"]) == ("accuracy", "0.95")
    assert accuracy["confidenceInterval"] == {"lowerBound": "0.91", "upperBound": "0.97"}
    said = model["modelCard"]["considerations"]
    assert said["technicalLimitations"] == ["synthetic voices: the data set has such voices itself"]
    edges = {edge["ref"]: edge["dependsOn"] for edge in document["dependencies"]}
    assert (edges["i"], edges["model"]) == (["model"], ["data"])


SYFTS: list[tuple[str, dict[str, Any], int, str]] = [
    ("echo could not read the image >&2; exit 1", {}, 1, "could not read the image"),
    ("cat found.json", {"components": []}, 1, "found no package"),
    ("cat found.json", {"unheard": "of"}, 2, "not valid CycloneDX"),
    ("cat found.json", {}, 0, ""),  # without a model's labels and an evaluation
]


def test_what_syft_did_not_do_is_said(make: Callable[..., Made], tmp_path: Path) -> None:
    layout = Layout()
    image = layout.write(tmp_path / "i", layout.image("amd64", {}))
    for script, more, code, message in SYFTS:
        ended, _, found, said = make(image, script=script, **more)
        assert (ended, message in said) == (code, True)
        assert [each["name"] for each in found.get("components", [])] == ([] if code else ["flask"])


def test_the_provenance_names_what_went_in_by_digest(tmp_path: Path) -> None:
    (tmp_path / "image.json").write_text(json.dumps({"labels": LABELS}))
    (tmp_path / "uv.lock").write_text("locked")
    image, output = tmp_path / "image.json", tmp_path / "slsa.json"
    told = f"--builder me --parameter profile=quick --parameter bounds=min_accuracy=0.9 --untested linux/arm64 \
        --material uv.lock={tmp_path / 'uv.lock'} --material dataset=sha256:{'e' * 64}"
    assert run("provenance", image, "--output", output, *told.split())[0] == 0
    stated = json.loads(output.read_text())
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
    assert stated["runDetails"] == {"builder": {"id": "me"}, "metadata": {}}
    for entry in ("uv.lock", "=x", "uv.lock=nowhere", "x=sha256:12"):  # a material without a digest
        assert run("provenance", image, "--output", output, "--builder=me", "--material", entry)[0] == 2, entry
