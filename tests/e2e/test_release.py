"""What a release promises, on a real engine and registry: signatures, verdicts that fail closed, repeats, a login."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import uuid
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .conftest import PIPELINE, ROOT, Call, Run, advisory, dagger, database, free_port, wait_for
from .registry import Repository

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1800)]
USER, RIGHT, WRONG = "me", "the-right-password", "not-the-password"
HTPASSWD = f"{USER}:$2b$10$H3rCM1oS5lUiiNxUvQ3JEOEQx6zoijuQMEtfmYO.PzVuQtaYHPXnm\n"  # bcrypt of RIGHT


def releases(run: Run, key: Path, *arguments: str) -> list[str]:
    return [*run.repository.options, f"--public-key={key}", "releases", *arguments]


def test_a_release_verifies_and_gives_its_files_back(first_run: Run, keys: Path, call: Call, tmp_path: Path) -> None:
    said = call(*releases(first_run, keys / "cosign.pub", "verify", "--reference=v1")).stdout
    assert f"{first_run.repository.address}@{first_run.digest}" in said
    call(*releases(first_run, keys / "cosign.pub", "attestations", "export", f"--path={tmp_path}"))
    for name, path in {"sbom.cdx.json": "image/sbom.cdx.json", "gates.json": "gates.json"}.items():
        assert json.loads((tmp_path / name).read_text()) == first_run.json(path)
    stated = json.loads((tmp_path / "slsa.json").read_text())
    assert stated == first_run.json("image/slsa.json")
    assert stated["buildDefinition"]["externalParameters"]["revision"] == "0123abc"


def test_another_key_verifies_nothing_and_promotes_nothing(first_run: Run, keys: Path, call: Call) -> None:
    for verb in ("verify", "promote"):
        failed = call(*releases(first_run, keys / "other.pub", verb, "--reference=v1"), fails=True)
        assert "not verified: signature" in failed.stderr
    missing = f"--reference=sha256:{'0' * 64}"
    assert "holds nothing" in call(*releases(first_run, keys / "cosign.pub", "verify", missing), fails=True).stderr


def test_promotion_and_rollback_move_a_tag_alone(first_run: Run, keys: Path, call: Call) -> None:
    before = first_run.repository.get("manifests/v1")
    call(*releases(first_run, keys / "cosign.pub", "promote", "--reference=v1", "--tags=stable"))
    call(*releases(first_run, keys / "cosign.pub", "rollback", f"--reference={first_run.digest}"))
    for tag in ("stable", "latest"):
        assert first_run.repository.get(f"manifests/{tag}") == before


def test_a_repeated_release_changes_nothing_in_the_registry(first_run: Run, call: Call, tmp_path: Path) -> None:
    repository = first_run.repository
    before = {tag: repository.get(f"manifests/{tag}") for tag in repository.all_tags()}
    call(*first_run.shared, *PIPELINE, "--tags=latest,v1", "export", f"--path={tmp_path / 'again'}")
    assert {tag: repository.get(f"manifests/{tag}") for tag in repository.all_tags()} == before


def test_a_lost_attestation_no_longer_verifies(first_run: Run, keys: Path, call: Call, registry: str) -> None:
    """A copy of the image whose list of referrers has one less: in a registry without the referrers API."""
    repository = first_run.repository
    fallback = first_run.digest.replace(":", "-")
    try:
        index, _ = repository.get(f"manifests/{fallback}")
    except urllib.error.HTTPError:
        pytest.skip("this registry has the referrers API: its list cannot be written by hand")
    lost = [entry for entry in index["manifests"] if "cyclonedx" not in json.dumps(entry)][1:]
    repository.put_manifest({**index, "manifests": lost}, fallback)
    try:
        failed = call(*releases(first_run, keys / "cosign.pub", "verify", "--reference=v1"), fails=True)
        assert "not verified" in failed.stderr
    finally:
        repository.put_manifest(index, fallback)


def test_publish_takes_a_judged_run(first_run: Run, repository: Repository, keys: Path, call: Call) -> None:
    target = [*repository.options, f"--signing-key=file:{keys / 'cosign.key'}", "--branch=main", "--revision=0123abc"]
    target += [each for each in first_run.shared if each.startswith("--dataset")]
    judged = call(*target, "publish", f"--artifacts={first_run.artifacts}").stdout.strip()
    assert judged == f"{repository.address}@{first_run.digest}"
    assert repository.tags() == ["0123abc", "latest", "main", "model-0123abc"]
    assert repository.digest("latest") == first_run.digest


ANSWERS = {
    "a fix, in mixed case": ([advisory("GHSA-1", "Flask", "PyPI", "99.0")], "GHSA-1"),
    "a fix, in Debian": ([advisory("DEBIAN-CVE-1", "openssl", "Debian:13", "99.0-1")], "DEBIAN-CVE-1"),
    "no fix": ([advisory("GHSA-2", "numpy", "PyPI"), advisory("DEBIAN-CVE-2", "glibc", "Debian:13")], ""),
    "another release of Debian": ([advisory("DEBIAN-CVE-3", "openssl", "Debian:12", "99.0-1")], ""),
}
EXCEPTION = '[[IgnoredVulns]]\nid = "GHSA-1"\nignoreUntil = {day}\nreason = "tried in a test"\n'


@pytest.mark.parametrize(("records", "counts"), ANSWERS.values(), ids=ANSWERS)
def test_what_is_known_against_an_image(
    first_run: Run, call: Call, tmp_path: Path, records: list[dict[str, object]], counts: str
) -> None:
    sbom = f"--sbom={first_run.artifacts / 'image/sbom.cdx.json'}"
    done = call(database(tmp_path, *records), "audit", sbom, fails=bool(counts))
    assert counts in done.stderr


@pytest.mark.parametrize(("age", "fails"), [(30, False), (-1, True), (400, True)], ids=["open", "expired", "for ever"])
def test_an_exception_holds_until_its_day(first_run: Run, call: Call, tmp_path: Path, age: int, fails: bool) -> None:
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + age * 86400))
    (tmp_path / "exceptions.toml").write_text(EXCEPTION.format(day=day))
    known = database(tmp_path, advisory("GHSA-1", "flask", "PyPI", "99.0"))
    sbom = f"--sbom={first_run.artifacts / 'image/sbom.cdx.json'}"
    call(known, f"--exceptions={tmp_path / 'exceptions.toml'}", "audit", sbom, fails=fails)


def test_with_nobody_to_ask_nothing_is_published(
    shared: list[str], repository: Repository, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    output = tmp_path / "artifacts"
    asked = [*shared[:2], *shared[3:], f"--vulnerability-database={tmp_path / 'empty'}", *repository.options]
    call(*asked, "--unsigned", *PIPELINE, "--tags=latest", "export", f"--path={output}")
    assert repository.all_tags() == []
    assert "vulnerabilities" in (output / "report.md").read_text().splitlines()[0]
    assert "vulnerabilities" in call("gates", f"--artifacts={output}", fails=True).stderr


def own_address() -> str:
    """Where this machine's containers reach it, too."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect(("192.0.2.1", 9))  # an address of documentation: nothing is sent
        return str(asked.getsockname()[0])


BREAKS = """
import urllib.request

if urllib.request.urlopen("{url}", timeout=30).read() == b"yes":
    raise SystemExit("the registry has me: I break")
"""


def test_a_service_that_breaks_only_after_the_push_is_never_tagged(
    first_run: Run, repository: Repository, call: Call, tmp_path: Path
) -> None:
    pushed: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Whether the registry has the image already."""
            with suppress(urllib.error.HTTPError):
                pushed.append(repository.digest(digest))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"yes" if pushed else b"no")

    with ThreadingHTTPServer(("0.0.0.0", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        broken = tmp_path / "service"
        shutil.copytree(ROOT / "service", broken, ignore=shutil.ignore_patterns("__pycache__"))
        with (broken / "app.py").open("a") as source:
            source.write(BREAKS.format(url=f"http://{own_address()}:{server.server_port}/"))
        shared = [each for each in first_run.shared if not each.startswith("--address")]
        arguments = [*shared, f"--service-source={broken}"]
        call(*arguments, "sbom", first_run.model, "export", f"--path={tmp_path / 'image'}")
        digest = json.loads((tmp_path / "image" / "image.json").read_text())["digest"]
        output = tmp_path / "artifacts"
        call(*arguments, f"--address={repository.address}", *PIPELINE, "--tags=a", "export", f"--path={output}")
        server.shutdown()
    assert pushed
    assert repository.all_tags() == []
    assert "/predict" in call("gates", f"--artifacts={output}", fails=True).stderr


@pytest.mark.parametrize(("given", "why"), [("--synthetic", "voices"), ("--profile=quick", "trained"), ("", "to sign")])
def test_a_toy_and_an_unsigned_image_do_not_become_latest(
    repository: Repository, keys: Path, call: Call, tmp_path: Path, given: str, why: str
) -> None:
    shared = [given, f"--signing-key=file:{keys / 'cosign.key'}"] if given else []
    asked = [*shared, "--branch=main", *repository.options, "publish", "--tags=latest", f"--artifacts={tmp_path}"]
    assert why in call(*asked, fails=True).stderr
    assert repository.all_tags() == []


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """A repository in a registry of the test's own that lets USER in with RIGHT alone."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed: no registry of the test's own")
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    (folder / "htpasswd").write_text(HTPASSWD)
    (folder / "registry.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\nauth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n"
    )
    login = {"Authorization": f"Basic {base64.b64encode(f'{USER}:{RIGHT}'.encode()).decode()}"}
    with subprocess.Popen(["docker-registry", "serve", str(folder / "registry.yml")]) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/v2/", 401, server)
            yield Repository(f"e2e/{uuid.uuid4().hex}", f"127.0.0.1:{port}", login, folder / "data")
        finally:
            server.terminate()


def test_the_whole_road_with_a_login_and_a_changed_blob(
    first_run: Run, guarded: Repository, keys: Path, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KWS_TEST_RIGHT", RIGHT)
    login = [*guarded.options, f"--username={USER}", "--password=env:KWS_TEST_RIGHT"]
    shared = [each for each in first_run.shared if not each.startswith(("--address", "--registry", "--user", "--pass"))]
    done = call(*shared, *login, *PIPELINE, "--tags=a", "export", f"--path={tmp_path / 'artifacts'}")
    assert guarded.tags() == ["a", "model-a"]
    verify = [*login, f"--public-key={keys / 'cosign.pub'}", "releases", "verify", "--reference=a"]
    verified = call(*verify)
    assert RIGHT not in done.stdout + done.stderr + verified.stdout + verified.stderr
    for blob in guarded.storage.glob("**/blobs/sha256/*/*/data"):  # of what is signed one byte is another
        blob.write_bytes(blob.read_bytes().replace(b"dsseEnvelope", b"dsseEnvelopf"))
    assert "not verified: signature" in call(*verify, fails=True).stderr


@pytest.mark.parametrize("login", [[], [f"--username={USER}", "--password=env:KWS_TEST_WRONG"]], ids=["none", "wrong"])
def test_refused_credentials_stop_before_any_training(
    dataset: Path, guarded: Repository, login: list[str], tools: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KWS_TEST_WRONG", WRONG)
    seed = f"--seed={uuid.uuid4().int % 10_000 + 1}"  # this training is in no cache
    arguments = [f"--dataset={dataset}", seed, *guarded.options, *login, "--unsigned", *PIPELINE, "--tags=b", "sync"]
    done = dagger("call", *tools, *arguments)
    assert done.returncode != 0
    assert "cannot be pushed to" in done.stderr
    assert "model train" not in done.stderr
    assert WRONG not in done.stdout + done.stderr
    assert "b" not in guarded.all_tags()


def test_an_interrupted_run_leaves_nothing_behind_and_can_be_repeated(
    first_run: Run, repository: Repository, tools: list[str], call: Call, tmp_path: Path
) -> None:
    output = tmp_path / "artifacts"
    shared = [each for each in first_run.shared if not each.startswith("--address")]
    seed = f"--seed={uuid.uuid4().int % 10_000 + 1}"  # this training is in no cache
    arguments = [*shared, seed, f"--address={repository.address}", *PIPELINE, "--tags=a", "export", f"--path={output}"]
    environment, log = {**os.environ, "DAGGER_PROGRESS": "plain", "KWS_TEST_PASSWORD": "x"}, tmp_path / "log"
    command = ["dagger", "call", *tools, *arguments]
    with log.open("w") as stderr, subprocess.Popen(command, cwd=ROOT, env=environment, stderr=stderr) as first:
        while "image import" not in log.read_text():
            assert first.poll() is None, log.read_text()[-3000:]
            time.sleep(0.2)
        first.send_signal(signal.SIGINT)
        assert first.wait() != 0
    assert repository.tags() == []
    assert not output.exists()
    call(*arguments)
    assert repository.tags() == ["a", "model-a"]
