"""The module on a real engine; everything here is skipped, with the reason, where there is none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = os.environ.get("KWS_TEST_REGISTRY", "127.0.0.1:5000")
DATASET = Path(os.environ.get("KWS_TEST_DATASET", ROOT.parent / "shared" / "data" / "speech_commands_subset.tar.gz"))
PASSWORD = f"secret-{uuid.uuid4().hex}"

Call = Callable[..., subprocess.CompletedProcess[str]]


def dagger(*arguments: str, timeout: float = 1500, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the dagger CLI in the project's root, or in a copy of it."""
    environment = {**os.environ, "DAGGER_NO_NAG": "1", "DAGGER_PROGRESS": "plain", "KWS_TEST_PASSWORD": PASSWORD}
    return subprocess.run(
        ["dagger", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout
    )


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """Skip where no engine answers."""
    if shutil.which("dagger") is None:
        pytest.skip("no Dagger engine: the dagger CLI is not installed")
    answered = dagger("core", "version", timeout=300)
    if answered.returncode:
        pytest.skip(f"no Dagger engine: {answered.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="session")
def call() -> Call:
    """``call("train", "--synthetic")``: a ``dagger call`` that must succeed; its output on failure."""

    def run(*arguments: str, fails: bool = False, timeout: float = 1500) -> subprocess.CompletedProcess[str]:
        done = dagger("call", *arguments, timeout=timeout)
        assert (done.returncode != 0) == fails, f"dagger call {' '.join(arguments)}\n{done.stderr[-6000:]}"
        return done

    return run


@pytest.fixture(scope="session")
def dataset() -> Path:
    if not DATASET.is_file():
        pytest.skip(f"no real data: {DATASET} is missing (KWS_TEST_DATASET names another archive)")
    return DATASET


@dataclass(frozen=True)
class Repository:
    """A repository in the test registry."""

    name: str
    host: str = REGISTRY
    headers: dict[str, str] = field(default_factory=dict)  # of the tests' own look at it

    @property
    def address(self) -> str:
        return f"{self.host}/{self.name}"

    @property
    def options(self) -> list[str]:
        """How a call finds it: the registry is one that only the caller reaches."""
        return [f"--address={self.address}", f"--registry=tcp://{self.host}"]

    def get(self, path: str) -> tuple[dict[str, Any], str]:
        """JSON of ``/v2/NAME/path`` and the digest that the registry gives with it."""
        accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"
        request = urllib.request.Request(
            f"http://{self.host}/v2/{self.name}/{path}", headers={"Accept": accept, **self.headers}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response), response.headers.get("Docker-Content-Digest", "")

    def tags(self) -> list[str]:
        """The tags of releases: without those that hold an image's signatures and attachments."""
        return [tag for tag in self.all_tags() if not tag.startswith("sha256-")]

    def all_tags(self) -> list[str]:
        try:
            return list(self.get("tags/list")[0]["tags"] or [])
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return []
            raise


@pytest.fixture(scope="session")
def registry() -> str:
    try:
        urllib.request.urlopen(f"http://{REGISTRY}/v2/", timeout=5).close()
    except OSError as error:
        pytest.skip(f"no registry at {REGISTRY} ({error}); KWS_TEST_REGISTRY names another")
    return REGISTRY


@pytest.fixture
def repository(registry: str) -> Repository:
    """A repository that no one has pushed to."""
    return Repository(f"e2e/{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
def first_run(registry: str, dataset: Path, call: Call, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The whole way once on real data, published."""
    repository = Repository(f"e2e/{uuid.uuid4().hex}")
    output = tmp_path_factory.mktemp("pipeline") / "artifacts"
    arguments = [
        *("--repository=https://example.org/kws", "--revision=0123abc", "pipeline"),
        *(f"--dataset={dataset}", "--profile=quick", *repository.options, "--tags=latest,v1"),
        *("--username=me", "--password=env:KWS_TEST_PASSWORD"),
    ]
    done = call(*arguments, "--output", str(output))
    return Run(output, repository, arguments, done.stdout + done.stderr)


@dataclass(frozen=True)
class Run:
    """A run of the pipeline: its artefacts, where it published, how it was called and what it printed."""

    artifacts: Path
    repository: Repository
    arguments: list[str]
    printed: str

    def json(self, path: str) -> dict[str, Any]:
        return dict(json.loads((self.artifacts / path).read_text()))
