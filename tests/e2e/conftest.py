"""The module on a real engine; everything here is skipped, with the reason, where there is none."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .registry import Repository

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = os.environ.get("KWS_TEST_REGISTRY", "127.0.0.1:5000")
DATASET = Path(os.environ.get("KWS_TEST_DATASET", ROOT.parent / "shared" / "data" / "speech_commands_subset.tar.gz"))
PASSWORD = f"secret-{uuid.uuid4().hex}"
DAY = "2026-03-01T12:00:00Z"
TOOLS = ("regctl", "syft", "osv-scanner", "cosign")

# What a busy machine cannot hold is not what these tests are about.
PIPELINE = ("pipeline", "--bounds=max_p95_ms=false")
# The recipe of the profile quick, which is not to be called latest.
QUICK = "epochs=36,ema-decay=0.96,dropout=0.2,mixup=0,label-smoothing=0.1,width=1,noise-probability=0.5"
QUICK += ",band-probability=0"

Call = Callable[..., subprocess.CompletedProcess[str]]


def dagger(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the dagger CLI in the project's root, or in a copy of it."""
    environment = {**os.environ, "DAGGER_NO_NAG": "1", "DAGGER_PROGRESS": "plain", "KWS_TEST_PASSWORD": PASSWORD}
    told = ["dagger", *arguments]
    return subprocess.run(told, cwd=folder, env=environment, capture_output=True, text=True, timeout=1500)


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """Skip where no engine answers."""
    if shutil.which("dagger") is None:
        pytest.skip("no Dagger engine: the dagger CLI is not installed")
    answered = dagger("core", "version")
    if answered.returncode:
        pytest.skip(f"no Dagger engine: {answered.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="session")
def registry() -> str:
    try:
        urllib.request.urlopen(f"http://{REGISTRY}/v2/", timeout=5).close()
    except OSError as error:
        pytest.skip(f"no registry at {REGISTRY} ({error}); KWS_TEST_REGISTRY names another")
    return REGISTRY


def regctl(registry: str, *arguments: str) -> None:
    subprocess.run(["regctl", "--host", f"reg={registry},tls=disabled", *arguments], check=True)


def push_image(registry: str, name: str, folder: Path, platform: str = "linux/amd64") -> str:
    """An image of one layer, each time the same; its address."""
    image = f"{registry}/e2e/{name}"
    regctl(registry, "image", "create", image, f"--platform={platform}", f"--created={DAY}")
    regctl(registry, "image", "mod", image, "--replace", f"--layer-add=dir={folder}", f"--time=set={DAY}")
    return image


@pytest.fixture(scope="session")
def tools(registry: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Where the tools' images are: made of this machine's own programs, where it has them all, each time the same."""
    sys.path.insert(0, str(ROOT / "ci" / "src"))
    from kws_ci.containers import BINARIES

    found = {name: shutil.which(name) for name in TOOLS}
    if not all(found.values()):
        return []
    for name, path in found.items():
        folder = tmp_path_factory.mktemp(name)
        target = folder / BINARIES.get(name, name).lstrip("/")
        target.parent.mkdir(exist_ok=True)
        shutil.copy(str(path), target)
        push_image(registry, f"tools/{name}:here", folder)
    return ["--tool-images=" + ",".join(f"{name}={registry}/e2e/tools/{name}:here" for name in TOOLS)]


@pytest.fixture(scope="session")
def call(tools: list[str]) -> Call:
    """``call("--synthetic", "train")``: a ``dagger call`` that must succeed; its output on failure."""

    def run(*arguments: str, fails: bool = False, folder: Path = ROOT) -> Any:
        done = dagger("call", *tools, *arguments, folder=folder)
        assert (done.returncode != 0) == fails, f"dagger call {' '.join(arguments)}\n{done.stderr[-6000:]}"
        return done

    return run


@pytest.fixture(scope="session")
def dataset() -> Path:
    if not DATASET.is_file():
        pytest.skip(f"no real data: {DATASET} is missing (KWS_TEST_DATASET names another archive)")
    return DATASET


@pytest.fixture
def repository(registry: str) -> Repository:
    """A repository that no one has pushed to."""
    return Repository(f"e2e/{uuid.uuid4().hex}", registry)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(url: str, status: int, server: subprocess.Popen[bytes]) -> None:
    """Until a server that was started answers with this status."""
    deadline = time.monotonic() + 240
    while True:
        assert server.poll() is None, f"{server.args!r} ended"
        assert time.monotonic() < deadline, f"{url} does not answer"
        try:
            found = urllib.request.urlopen(url, timeout=5).status
        except OSError as error:
            found = getattr(error, "code", None)
        if found == status:
            return
        time.sleep(0.5)


def advisory(name: str, package: str, ecosystem: str, fixed: str = "") -> dict[str, Any]:
    """A known vulnerability in OSV's form."""
    events = [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else [])]
    affected: dict[str, Any] = {"package": {"name": package, "ecosystem": ecosystem}}
    affected["ranges"] = [{"type": "ECOSYSTEM", "events": events}]
    return {"schema_version": "1.6.0", "id": name, "modified": DAY, "published": DAY, "affected": [affected]}


def database(folder: Path, *records: dict[str, Any]) -> str:
    """The option that names a vulnerability database of these records alone."""
    for ecosystem in ("PyPI", "Debian"):
        path = folder / "osv-scalibr" / ecosystem / "all.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("NONE-1.json", json.dumps(advisory("NONE-1", "no-such-package", ecosystem)))
            for record in records:
                if record["affected"][0]["package"]["ecosystem"].startswith(ecosystem):
                    packed.writestr(f"{record['id']}.json", json.dumps(record))
    return f"--vulnerability-database={folder}"


@pytest.fixture(scope="session")
def keys(call: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cosign.key and cosign.pub, and another pair: other.key and other.pub; without a passphrase."""
    folder = tmp_path_factory.mktemp("keys")
    call(
        *("shell", "--stage=RELEASE", "with-env-variable", "--name=COSIGN_PASSWORD", "--value="),
        *("with-env-variable", "--name=ONCE", f"--value={uuid.uuid4().hex}", "with-workdir", "--path=/keys"),
        *("with-exec", "--args=cosign,generate-key-pair"),
        *("with-exec", "--args=cosign,generate-key-pair,--output-key-prefix=other"),
        *("directory", "--path=/keys", "export", f"--path={folder}"),
    )
    return folder


@dataclass(frozen=True)
class Run:
    """A run of the pipeline: its artefacts, where it published, the constructor's arguments, what it printed."""

    artifacts: Path
    repository: Repository
    shared: list[str]
    printed: str

    def json(self, path: str) -> dict[str, Any]:
        return dict(json.loads((self.artifacts / path).read_text()))

    @property
    def digest(self) -> str:
        return str(self.json("image/image.json")["digest"])

    @property
    def model(self) -> str:
        return f"--model={self.artifacts / 'model/model.onnx'}"


@pytest.fixture(scope="session")
def shared(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The constructor's arguments of a quick run on real data, where nothing is known against the image."""
    named = [f"--dataset={dataset}", f"--training={QUICK}", database(tmp_path_factory.mktemp("osv"))]
    for name, file in {"speech": "training.tar", "speech-evaluation": "evaluation.tar"}.items():
        named.append(f"--{name}={dataset.parent / 'speech' / file}")
    return [*named, "--repository=https://example.org/kws", "--revision=0123abc", "--branch=main", f"--created={DAY}"]


@pytest.fixture(scope="session")
def first_run(shared: list[str], keys: Path, call: Call, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The whole way once on real data, signed and published."""
    repository = Repository(f"e2e/{uuid.uuid4().hex}", REGISTRY)
    output = tmp_path_factory.mktemp("pipeline") / "artifacts"
    arguments = [*shared, *repository.options, f"--signing-key=file:{keys / 'cosign.key'}"]
    arguments += ["--username=me", "--password=env:KWS_TEST_PASSWORD"]
    done = call(*arguments, *PIPELINE, "--tags=latest,v1", "export", f"--path={output}")
    run = Run(output, repository, arguments, done.stdout + done.stderr)
    assert run.json("gates.json")["passed"], (output / "report.md").read_text()[:3000]
    return run
