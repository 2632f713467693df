"""What a release carries, on a real engine and registry: digests that repeat, attachments, signatures, platforms."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import socket
import struct
import tarfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.github_api import TOKEN, serve
from tools import oci

from .conftest import PASSWORD, Call, Repository, Run, dagger
from .two_platforms import MANIFEST, Pusher, amd64_root, arm64_root, push

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1800)]

STORAGE = Path(os.environ.get("KWS_REGISTRY_STORAGE", "/var/lib/docker-registry"))
FILES = {
    "sbom.cdx.json": "image/sbom.cdx.json",
    "evaluation.json": "model/evaluation.json",
    "model.onnx": "model/model.onnx",
}
ELF_ARM64 = 183


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cosign.key and cosign.pub, and another pair: other.key and other.pub; without a passphrase."""
    folder = tmp_path_factory.mktemp("keys")
    install = "apt-get update -qq && apt-get install -qq --yes --no-install-recommends cosign"
    steps = [
        *("container", "from", "--address=python:3.13-slim", "with-exec", f"--args=sh,-c,{install}"),
        *("with-env-variable", "--name=COSIGN_PASSWORD", "--value=", "with-workdir", "--path=/keys"),
        *("with-exec", "--args=cosign,generate-key-pair"),
        *("with-exec", "--args=cosign,generate-key-pair,--output-key-prefix=other"),
        *("directory", "--path=/keys", "export", f"--path={folder}"),
    ]
    done = dagger("core", *steps)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="session")
def signed_run(first_run: Run, keys: Path, call: Call, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same way again (nothing is trained anew), signed, into a repository of its own."""
    repository = Repository(f"e2e/{uuid.uuid4().hex}")
    output = tmp_path_factory.mktemp("signed") / "artifacts"
    replaced = [argument for argument in first_run.arguments if not argument.startswith(("--address", "--tags"))]
    arguments = [*replaced, repository.options[0], "--tags=v2", f"--signing-key=file:{keys / 'cosign.key'}"]
    done = call(*arguments, "--output", str(output))
    return Run(output, repository, arguments, done.stdout + done.stderr)


def releases(run: Run, *arguments: str) -> list[str]:
    return ["releases", *run.repository.options, *arguments]


def digest(run: Run) -> str:
    return str(run.json("image/image.json")["digest"])


def test_a_signed_release_verifies(signed_run: Run, keys: Path, call: Call) -> None:
    said = call(*releases(signed_run, "verify", "--reference=v2", f"--key={keys / 'cosign.pub'}")).stdout
    assert {"verified: signature", "verified: provenance"} <= set(said.splitlines())
    assert {line.split()[1] for line in said.splitlines() if line.startswith("verified: ")} == {
        *("signature", "provenance", "sbom", "evaluation", "model", "figures")
    }
    assert f"{signed_run.repository.address}@{digest(signed_run)}" in said


def test_another_key_does_not_verify(signed_run: Run, keys: Path, call: Call) -> None:
    failed = call(*releases(signed_run, "verify", "--reference=v2", f"--key={keys / 'other.pub'}"), fails=True)
    assert "is not signed by this party" in failed.stderr


def test_another_digest_does_not_verify_and_is_not_promoted(first_run: Run, keys: Path, call: Call) -> None:
    key = f"--key={keys / 'cosign.pub'}"
    failed = call(*releases(first_run, "promote", "--reference=v1", "--tags=stable", key), fails=True)
    assert "is not signed by this party" in failed.stderr
    assert "stable" not in first_run.repository.tags()


def test_promotion_and_rollback_move_a_tag_alone(signed_run: Run, keys: Path, call: Call) -> None:
    key = f"--key={keys / 'cosign.pub'}"
    before = signed_run.repository.get("manifests/v2")
    call(*releases(signed_run, "promote", f"--reference={digest(signed_run)}", "--tags=stable", key))
    call(*releases(signed_run, "rollback", "--reference=stable", key))
    for tag in ("stable", "latest"):
        assert signed_run.repository.get(f"manifests/{tag}") == before


def test_what_is_attached_comes_back_as_it_was(signed_run: Run, call: Call, tmp_path: Path) -> None:
    call(*releases(signed_run, "attachments", "--reference=v2", "--output", str(tmp_path / "back")))
    for name, path in FILES.items():
        assert (tmp_path / "back" / name).read_bytes() == (signed_run.artifacts / path).read_bytes(), name
    stated = json.loads((tmp_path / "back" / "provenance.json").read_text())
    assert stated["predicateType"] == "https://slsa.dev/provenance/v1"
    assert stated["subject"][0]["digest"] == {"sha256": digest(signed_run).partition(":")[2]}
    build = stated["predicate"]["buildDefinition"]
    assert build["externalParameters"]["revision"] == "0123abc"
    assert {"gitCommit": "0123abc"} in [material["digest"] for material in build["resolvedDependencies"]]
    figures = json.loads((tmp_path / "back" / "figures.json").read_text())["figures"]
    assert figures == signed_run.json("gates.json")["figures"]
    made = {entry["name"]: entry["digest"]["sha256"] for entry in stated["predicate"]["runDetails"]["byproducts"]}
    assert made == {
        name: hashlib.sha256((tmp_path / "back" / name).read_bytes()).hexdigest() for name in (*FILES, "figures.json")
    }


def test_a_repeated_release_changes_nothing_in_the_registry(signed_run: Run, call: Call, tmp_path: Path) -> None:
    repository = signed_run.repository
    before = {tag: repository.get(f"manifests/{tag}") for tag in repository.all_tags()}
    call(*signed_run.arguments, "--output", str(tmp_path / "again"))
    assert {tag: repository.get(f"manifests/{tag}") for tag in repository.all_tags()} == before


def test_a_forged_attachment_does_not_verify(signed_run: Run, keys: Path, call: Call) -> None:
    repository = signed_run.repository
    fallback = digest(signed_run).replace(":", "-")
    index, _ = repository.get(f"manifests/{fallback}")
    pusher = Pusher(repository.host, repository.name)
    kind = "application/vnd.cyclonedx+json"
    subject = {"mediaType": MANIFEST, "digest": digest(signed_run), "size": 1}
    empty = pusher.blob(b"{}", "application/vnd.oci.empty.v1+json")
    forged = pusher.manifest(
        {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": empty, "subject": subject,
         "layers": [pusher.blob(b'{"components": []}', kind)]}
    )  # fmt: skip
    try:
        pusher.manifest({**index, "manifests": [*index["manifests"], {**forged, "artifactType": kind}]}, fallback)
        failed = call(*releases(signed_run, "verify", "--reference=v2", f"--key={keys / 'cosign.pub'}"), fails=True)
        assert "is not one that the signed provenance names" in failed.stderr
    finally:
        pusher.manifest(index, fallback)


def test_a_changed_blob_does_not_verify(signed_run: Run, keys: Path, call: Call) -> None:
    content = hashlib.sha256((signed_run.artifacts / FILES["sbom.cdx.json"]).read_bytes()).hexdigest()
    blob = STORAGE / "docker/registry/v2/blobs/sha256" / content[:2] / content / "data"
    if not blob.is_file():
        pytest.skip(f"the registry's storage is not at {STORAGE} (KWS_REGISTRY_STORAGE names another)")
    kept = blob.read_bytes()
    try:
        blob.write_bytes(kept[:-1] + b" ")
        call(*releases(signed_run, "verify", "--reference=v2", f"--key={keys / 'cosign.pub'}"), fails=True)
    finally:
        blob.write_bytes(kept)
    call(*releases(signed_run, "verify", "--reference=v2", f"--key={keys / 'cosign.pub'}"))


def everything_stored(repository: Repository) -> Iterator[tuple[str, bytes]]:
    """Every manifest and blob that the repository's tags lead to."""
    seen = set()

    def read(kind: str, reference: str) -> Iterator[tuple[str, bytes]]:
        if reference in seen:
            return
        seen.add(reference)
        accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
        url = f"http://{repository.host}/v2/{repository.name}/{kind}/{reference}"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=120) as response:
            data = response.read()
        yield reference, data
        if kind == "manifests":
            content = json.loads(data)
            for child in content.get("manifests", []):
                yield from read("manifests", child["digest"])
            for child in [*content.get("layers", []), *([content["config"]] if "config" in content else [])]:
                yield from read("blobs", child["digest"])

    for tag in repository.all_tags():
        yield from read("manifests", tag)


def test_the_password_and_the_key_are_nowhere(signed_run: Run, keys: Path, tmp_path: Path) -> None:
    private = (keys / "cosign.key").read_text().splitlines()[1]
    secrets = [PASSWORD.encode(), base64.b64encode(f"me:{PASSWORD}".encode()), private.encode()]
    for secret in secrets:
        assert secret.decode() not in signed_run.printed
    stored = dict(everything_stored(signed_run.repository))
    assert len(stored) > 12
    for name, data in stored.items():
        path = tmp_path / "blob"
        path.write_bytes(data)
        contents = [data]
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as tar:
                contents += [file.read() for member in tar if member.isfile() and (file := tar.extractfile(member))]
        assert not [secret for secret in secrets for content in contents if secret in content], name


def test_the_image_names_its_origin(signed_run: Run) -> None:
    image = signed_run.json("image/image.json")
    manifest, _ = signed_run.repository.get("manifests/v2")
    labels = image["labels"]
    assert (
        labels["kws.model.digest"]
        == f"sha256:{hashlib.sha256((signed_run.artifacts / FILES['model.onnx']).read_bytes()).hexdigest()}"
    )
    assert labels["org.opencontainers.image.base.digest"].startswith("sha256:")
    assert {name: manifest["annotations"][name] for name in labels} == labels
    assert [layer["name"] for layer in image["layers"]][-3:] == ["dependencies", "service", "model"]


def test_the_sbom_names_debian_packages_model_and_data(signed_run: Run) -> None:
    components = signed_run.json("image/sbom.cdx.json")["components"]
    kinds = {component["type"] for component in components}
    assert {"library", "machine-learning-model", "data"} <= kinds
    debian = [component for component in components if component.get("purl", "").startswith("pkg:deb/debian/")]
    assert {"libc6", "base-files"} <= {component["name"] for component in debian}
    assert len(debian) > 50
    listed = (signed_run.artifacts / "image/licences.tsv").read_text().splitlines()
    assert len(listed) == len(components)


def test_a_rebuild_from_nothing_gives_the_same_digest(first_run: Run, call: Call, tmp_path: Path) -> None:
    """Dependencies installed, compiled and laid out anew: another installer makes every cached step another one."""
    root = Path(__file__).parents[2]
    for name in ("pyproject.toml", "uv.lock", "tools/install.py", "tools/trim.py"):
        (tmp_path / "lock" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, tmp_path / "lock" / name)
    with (tmp_path / "lock" / "tools/install.py").open("a") as installer:
        installer.write(f"# {uuid.uuid4().hex}\n")
    model = f"--model={first_run.artifacts / FILES['model.onnx']}"
    origin = first_run.arguments[:2]
    call(*origin, "image-tar", model, "--output", str(tmp_path / "one.tar"))
    call(*origin, f"--dependencies={tmp_path / 'lock'}", "image-tar", model, "--output", str(tmp_path / "two.tar"))
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    assert oci.describe(tmp_path / "one.tar")["digest"] == digest(first_run)


def test_another_model_changes_the_last_layer_alone(first_run: Run, dataset: Path, call: Call, tmp_path: Path) -> None:
    call("train", f"--dataset={dataset}", "--profile=quick", "--epochs=1", "--output", str(tmp_path / "model"))
    call("image-tar", f"--model={tmp_path / 'model' / 'model.onnx'}", "--output", str(tmp_path / "image.tar"))
    now = [layer["digest"] for layer in oci.describe(tmp_path / "image.tar")["layers"]]
    before = [layer["digest"] for layer in first_run.json("image/image.json")["layers"]]
    assert now[:-1] == before[:-1]
    assert now[-1] != before[-1]


def test_an_edit_of_the_service_leaves_the_dependencies(first_run: Run, call: Call, tmp_path: Path) -> None:
    edited = tmp_path / "service"
    shutil.copytree(Path(__file__).parents[2] / "service", edited, ignore=shutil.ignore_patterns("__pycache__"))
    (edited / "app.py").write_text((edited / "app.py").read_text() + "\n# edited\n")
    model = f"--model={first_run.artifacts / FILES['model.onnx']}"
    call(f"--service-source={edited}", "image-tar", model, "--output", str(tmp_path / "image.tar"))
    now = oci.describe(tmp_path / "image.tar")["layers"]
    moved = [a["name"] for a, b in zip(now, first_run.json("image/image.json")["layers"], strict=True) if a != b]
    assert moved == ["service"]


@pytest.mark.parametrize("token", ["", "   "])
def test_keyless_signing_without_a_token_fails_at_once(
    first_run: Run, call: Call, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("KWS_TEST_OIDC", token)
    began = time.monotonic()
    secrets = ["--oidc-request-url=env:KWS_TEST_OIDC", "--oidc-request-token=env:KWS_TEST_OIDC"]
    failed = call(*releases(first_run, "sign", "--reference=v1", *secrets), fails=True, timeout=120)
    assert "--oidc-request-url" in failed.stderr
    assert time.monotonic() - began < 60


def own_address() -> str:
    """Where this machine's containers reach it, too."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect(("192.0.2.1", 9))  # an address of documentation: nothing is sent
        return str(asked.getsockname()[0])


def test_pruning_removes_what_no_tag_leads_to(
    repository: Repository, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitHub's API is a stand-in, the registry and its tools are real."""
    pusher = Pusher(repository.host, repository.name)
    empty = pusher.blob(b"{}", "application/vnd.oci.empty.v1+json")

    def image(tag: str = "", **more: Any) -> str:
        note = {"annotations": {"note": uuid.uuid4().hex}}
        content = {"schemaVersion": 2, "mediaType": MANIFEST, "config": empty, "layers": [empty], **note, **more}
        return str(pusher.manifest(content, tag)["digest"])

    def index(tag: str, child: str) -> str:
        listed = [{"mediaType": MANIFEST, "digest": child, "size": 1}]
        return str(pusher.manifest({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": listed}, tag)["digest"])

    child, unused = image(), image()
    release = index("v1", child)
    sbom = image(subject={"mediaType": oci.INDEX, "digest": release, "size": 1})
    listing = index(release.replace(":", "-"), sbom)
    monkeypatch.setenv("KWS_TEST_TOKEN", TOKEN)
    with serve(own_address()) as github:
        _, owner, name = repository.address.split("/")
        github.owners[owner] = "Organization"
        github.package = f"/orgs/{owner}/packages/container/{name}/versions"
        github.version(release, 90, "v1")
        github.version(listing, 90, release.replace(":", "-"))
        for digest in (child, sbom, unused):
            github.version(digest, 90)
        prune = ["releases", *repository.options, "prune", f"--api={github.url}", "--token=env:KWS_TEST_TOKEN"]
        told = call(*prune)
        assert told.stdout.splitlines()[-1].endswith("would remove 1, and does with --delete")
        assert len(github.versions) == 5
        done = call(*prune, "--delete")
        assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("removed")] == [unused]
        assert {version["name"] for version in github.versions} == {release, listing, child, sbom}
    for text in (told.stdout, told.stderr, done.stdout, done.stderr):
        assert TOKEN not in text


def test_a_loopback_registry_is_to_be_handed_over(call: Call) -> None:
    failed = call("releases", "--address=127.0.0.1:5000/me/name", "attachments", fails=True, timeout=120)
    assert "--registry=tcp://127.0.0.1:5000" in failed.stderr


def test_an_unknown_host_is_named(call: Call, first_run: Run) -> None:
    failed = call(
        "publish",
        f"--model={first_run.artifacts / FILES['model.onnx']}",
        "--address=no-such-host.invalid/me/name",
        fails=True,
    )
    assert "no-such-host.invalid is no host that can be found: check --address" in failed.stderr


@pytest.fixture(scope="session")
def both_platforms(registry: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base image for amd64 and arm64."""
    if shutil.which("mmdebstrap") is None:
        pytest.skip("no arm64 base image: mmdebstrap is not installed")
    try:
        root, environment = amd64_root(registry, "library/python", "3.13-slim")
    except (urllib.error.URLError, ValueError) as error:
        pytest.skip(f"the registry at {registry} mirrors no base image of one layer: {error}")
    roots = {"amd64": root, "arm64": arm64_root(tmp_path_factory.mktemp("arm64"))}
    return push(registry, "e2e/python", roots, environment)


def own_files(archive: oci.Archive, image: dict[str, Any]) -> dict[str, bytes]:
    """Name and content of the files in the project's own layers."""
    files: dict[str, bytes] = {}
    for layer in image["layers"]:
        if layer["name"] != "base":
            with archive.layer(layer["digest"]) as content, tarfile.open(fileobj=content) as tar:
                members = [member for member in tar if not member.issym()]  # some lead into the base image
                files |= {member.name: data.read() for member in members if (data := tar.extractfile(member))}
    return files


def test_two_platforms_under_one_index(first_run: Run, both_platforms: str, call: Call, tmp_path: Path) -> None:
    """No emulation: the foreign wheels are unpacked alone. All binaries are of the platform, all else is the same."""
    model = f"--model={first_run.artifacts / FILES['model.onnx']}"
    platforms = [f"--base-image={both_platforms}", "--platforms=linux/amd64,linux/arm64"]
    call(*platforms, "image-tar", model, "--output", str(tmp_path / "image.tar"))
    facts = oci.describe(tmp_path / "image.tar")
    assert facts["platforms"] == ["linux/amd64", "linux/arm64"]
    with oci.Archive(tmp_path / "image.tar") as archive:
        native, foreign = (own_files(archive, image) for image in facts["images"])
    binaries = {name: data for name, data in foreign.items() if data.startswith(b"\x7fELF")}
    assert len(binaries) > 20
    assert {struct.unpack("<H", data[18:20])[0] for data in binaries.values()} == {ELF_ARM64}
    assert native["app/model.onnx"] == foreign["app/model.onnx"]
    code = {name for name in native if name.startswith("app/")}
    assert code == {name for name in foreign if name.startswith("app/")}
    assert all(native[name] == foreign[name] for name in code)
    # Of a package for both platforms only what is compiled, and what records it, differs.
    plain = {name for name in native if name.endswith(".py")} & {name for name in foreign if name.endswith(".py")}
    assert len(plain) > 400
    assert (
        len({name for name in native if name.endswith(".py")} ^ {name for name in foreign if name.endswith(".py")}) < 20
    )
