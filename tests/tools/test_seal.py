"""Images sealed into one form: equal content gives equal bytes, whatever the engine made of it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tools import oci, seal

CREATED = "2026-03-01T12:00:00Z"
Entry = tuple[str, dict[str, Any], bytes]


def file(name: str, content: bytes = b"x", **header: Any) -> Entry:
    return name, {"type": tarfile.REGTYPE, "mode": 0o644, **header}, content


def folder(name: str, **header: Any) -> Entry:
    return name, {"type": tarfile.DIRTYPE, "mode": 0o755, **header}, b""


def link(name: str, target: str, **header: Any) -> Entry:
    return name, {"type": tarfile.LNKTYPE, "linkname": target, **header}, b""


def packed(entries: list[Entry], prefix: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, header, content in entries:
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            for key, value in header.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def exported(
    path: Path, layers: list[bytes], *, architecture: str = "amd64", when: str = "now", zip: bool = True
) -> Path:
    """An OCI archive as an engine writes it, with the build's time in its history."""
    blobs: dict[str, bytes] = {}

    def blob(data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"digest": f"sha256:{digest}", "size": len(data)}

    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"User": "10001:10001", "Labels": {"org.opencontainers.image.title": "kws"}},
        "created": when,
        "history": [{"created": when} for _ in layers],
    }
    manifest = {
        "config": blob(json.dumps(config).encode()),
        "layers": [blob(gzip.compress(layer) if zip else layer) for layer in layers],
    }
    index = {"manifests": [blob(json.dumps(manifest).encode())]}
    blobs["index.json"] = json.dumps(index).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in blobs.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


BASE = [folder("usr", mtime=7), folder("usr/bin", mtime=8), file("usr/bin/perl", b"perl", mtime=9)]
OWN = [folder("app"), file("app/run.py", b"print()"), link("app/zun.py", "app/run.py")]


def sealed(tmp_path: Path, name: str, layers: list[bytes], **options: Any) -> Path:
    archive = exported(tmp_path / f"{name}.in.tar", layers, **options)
    output = tmp_path / f"{name}.tar"
    seal.seal([archive], ["service"], CREATED, {"kws.model.digest": "sha256:1"}, tmp_path / f"{name}.cache", output)
    return output


def shuffled(entries: list[Entry]) -> list[Entry]:
    """Another order of the same entries, content before its links."""
    links = [entry for entry in entries if entry[1]["type"] == tarfile.LNKTYPE]
    return [entry for entry in entries[::-1] if entry not in links] + links


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    """Other times, order, compression, names with ``./``, an entry for the root, a hard link's other name first."""
    later = [(name, {**header, "mtime": 99}, content) for name, header, content in OWN if name != "app/zun.py"]
    swapped = [entry for entry in later if entry[0] != "app/run.py"]
    swapped += [file("app/zun.py", b"print()", mtime=5), link("app/run.py", "app/zun.py")]
    fractions = [
        (name, {**header, "mtime": header["mtime"] + 0.5, "uname": "root"}, content) for name, header, content in BASE
    ]
    one = sealed(tmp_path, "one", [packed(BASE), packed(OWN)])
    two = sealed(
        tmp_path,
        "two",
        [packed(shuffled(fractions), "./"), packed([folder(""), *swapped], "./")],
        when="then",
        zip=False,
    )
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param([packed([*BASE, file("etc")]), packed(OWN)], id="a file of the base"),
        pytest.param(
            [packed([*BASE[:2], file("usr/bin/perl", b"perl", mtime=10)]), packed(OWN)], id="a base file's time"
        ),
        pytest.param([packed(BASE), packed([*OWN[:1], file("app/run.py", b"print(1)")])], id="content"),
        pytest.param([packed(BASE), packed([*OWN[:1], file("app/run.py", b"print()", mode=0o755), OWN[2]])], id="mode"),
    ],
)
def test_other_content_gives_another_digest(tmp_path: Path, changed: list[bytes]) -> None:
    one = oci.describe(sealed(tmp_path, "one", [packed(BASE), packed(OWN)]))
    two = oci.describe(sealed(tmp_path, "two", changed))
    assert one["digest"] != two["digest"]
    assert sum(a != b for a, b in zip(one["layers"], two["layers"], strict=True)) == 1


def test_a_cached_layer_is_the_same_and_a_spoilt_one_is_packed_again(tmp_path: Path) -> None:
    archive = exported(tmp_path / "in.tar", [packed(BASE), packed(OWN)])
    cache = tmp_path / "cache"
    outputs: list[bytes] = []
    for name in ("first", "cached", "spoilt"):
        if name == "spoilt":
            for path in cache.iterdir():
                path.write_bytes(b"{}" if path.suffix == ".json" and len(outputs) % 2 else b"spoilt")
        seal.seal([archive], ["service"], CREATED, {}, cache, tmp_path / f"{name}.tar")
        outputs.append((tmp_path / f"{name}.tar").read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


def test_the_layers_unpack_to_what_went_in(tmp_path: Path) -> None:
    output = sealed(tmp_path, "image", [packed(BASE), packed([folder("usr", mtime=7), *OWN, file(".wh.old", b"")])])
    facts = oci.describe(output)
    assert [layer["name"] for layer in facts["layers"]] == ["base", "service"]
    with (
        oci.Archive(output) as archive,
        archive.layer(facts["layers"][1]["digest"]) as layer,
        tarfile.open(fileobj=layer) as tar,
    ):
        assert tar.getnames() == [".wh.old", "app", "app/run.py", "app/zun.py", "usr"]
        assert {member.mtime for member in tar} == {0}
        content = tar.extractfile("app/zun.py")
        assert content is not None
        assert content.read() == b"print()"


def test_a_directory_that_the_layers_below_have_is_not_repeated(tmp_path: Path) -> None:
    lower = [folder("app"), folder("opt", mtime=3)]
    facts = oci.describe(sealed(tmp_path, "image", [packed(lower), packed([folder("app", mtime=50), file("app/x")])]))
    own = facts["layers"][1]["digest"]
    with (
        oci.Archive(tmp_path / "image.tar") as archive,
        archive.layer(own) as layer,
        tarfile.open(fileobj=layer) as tar,
    ):
        assert tar.getnames() == ["app/x"]


def test_labels_stand_as_annotations_too_and_times_are_the_commits(tmp_path: Path) -> None:
    with oci.Archive(sealed(tmp_path, "image", [packed(BASE), packed(OWN)])) as archive:
        ((_, manifest, config),) = archive.images()
    assert config["config"]["Labels"] == manifest["annotations"]
    assert manifest["annotations"]["kws.model.digest"] == "sha256:1"
    assert {config["created"], *(entry["created"] for entry in config["history"])} == {CREATED}
    assert config["config"]["User"] == "10001:10001"


def test_platforms_come_under_one_index(tmp_path: Path) -> None:
    archives = [
        exported(tmp_path / f"{name}.tar", [packed(BASE), packed(OWN)], architecture=name)
        for name in ("arm64", "amd64")
    ]
    output = tmp_path / "both.tar"
    root = seal.seal(archives, ["service"], CREATED, {}, tmp_path / "cache", output)
    facts = oci.describe(output)
    assert facts["digest"] == root["digest"]
    assert facts["platforms"] == ["linux/amd64", "linux/arm64"]
    assert facts["images"][0]["layers"] == facts["images"][1]["layers"]
    with pytest.raises(oci.ArchiveError, match="same platform"):
        seal.seal([archives[0]] * 2, ["service"], CREATED, {}, tmp_path / "cache", output)


@pytest.mark.parametrize("given", ["yesterday", "2026-03-01T12:00:00", "1772366400"])
def test_a_time_that_cannot_be_meant_is_one_clear_line(tmp_path: Path, given: str) -> None:
    archive = exported(tmp_path / "in.tar", [packed(OWN)])
    command = [sys.executable, "-m", "tools.seal", str(archive), f"--created={given}", "--cache", str(tmp_path / "c")]
    done = subprocess.run([*command, "--output", str(tmp_path / "out.tar")], capture_output=True, text=True)
    assert done.returncode == 2
    assert given in done.stderr
    assert len(done.stderr.splitlines()) == 1
