"""A registry that asks for a user name and a password."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import record
from .conftest import ROOT, Call, Repository, Run, dagger
from .test_stages import noise_clips

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1800)]
USER, RIGHT, WRONG = "me", "the-right-password", "not-the-password"
HTPASSWD = f"{USER}:$2b$10$H3rCM1oS5lUiiNxUvQ3JEOEQx6zoijuQMEtfmYO.PzVuQtaYHPXnm\n"  # bcrypt of RIGHT


@pytest.fixture(autouse=True)
def passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KWS_TEST_RIGHT", RIGHT)
    monkeypatch.setenv("KWS_TEST_WRONG", WRONG)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """A repository in a registry of the test's own that lets USER in with RIGHT alone."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed: no registry of the test's own")
    folder = tmp_path_factory.mktemp("registry")
    port = int(subprocess.check_output(["python", "-m", "tools.free_port"], cwd=ROOT))
    (folder / "htpasswd").write_text(HTPASSWD)
    (folder / "registry.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\nauth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n"
    )
    basic = base64.b64encode(f"{USER}:{RIGHT}".encode()).decode()
    with subprocess.Popen(["docker-registry", "serve", str(folder / "registry.yml")]) as server:
        try:
            wait_for_401(f"http://127.0.0.1:{port}/v2/", server)
            yield Repository(f"e2e/{uuid.uuid4().hex}", f"127.0.0.1:{port}", {"Authorization": f"Basic {basic}"})
        finally:
            server.terminate()


def wait_for_401(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert server.poll() is None, "docker-registry ended"
        assert time.monotonic() < deadline, "docker-registry does not answer"
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError as answer:
            if answer.code == 401:
                return
            raise
        except OSError:
            time.sleep(0.2)


def test_refused_credentials_stop_the_pipeline_before_any_training(
    dataset: Path, guarded: Repository, call: Call
) -> None:
    login = [f"--username={USER}", "--password=env:KWS_TEST_WRONG"]
    seed = f"--seed={uuid.uuid4().int % 10_000 + 1}"  # this training is in no cache
    failed = call("pipeline", f"--dataset={dataset}", "--profile=quick", seed, *guarded.options, *login, fails=True)
    assert "refuses these credentials" in failed.stderr.splitlines()[-1]
    assert "Traceback" not in failed.stderr
    seen = record.read(failed.stderr)
    assert "model train" not in seen.ran | seen.cached


def test_publish_and_pull_back_with_a_user_name_and_password(
    first_run: Run, guarded: Repository, call: Call, tmp_path: Path
) -> None:
    login = [*guarded.options, f"--username={USER}", "--password=env:KWS_TEST_RIGHT"]
    done = call("publish", f"--model={first_run.artifacts / 'model/model.onnx'}", *login, "--tags=a")
    reference = done.stdout.strip()
    assert guarded.tags() == ["a"]
    clips = noise_clips(tmp_path / "clips")
    pulled = call(
        *("test-predict", f"--reference={reference}", f"--clips={clips}", *login[1:]),
        *("--bounds=min_clip_accuracy=false", "--output", str(tmp_path / "inference")),
    )
    assert (tmp_path / "inference" / "response.json").is_file()
    for text in (done.stdout, done.stderr, pulled.stdout, pulled.stderr):
        assert RIGHT not in text


@pytest.mark.parametrize("login", [[], [f"--username={USER}", "--password=env:KWS_TEST_WRONG"]], ids=["none", "wrong"])
def test_wrong_credentials_publish_nothing_and_say_so(first_run: Run, guarded: Repository, login: list[str]) -> None:
    other = Repository(f"e2e/{uuid.uuid4().hex}", guarded.host, guarded.headers)
    model = first_run.artifacts / "model" / "model.onnx"
    done = dagger("call", "publish", f"--model={model}", *other.options, *login)
    assert done.returncode != 0
    assert f"{guarded.host} refuses these credentials" in done.stderr
    assert "--username" in done.stderr
    assert WRONG not in done.stdout + done.stderr
    assert other.tags() == []


def test_an_interrupted_run_leaves_nothing_behind_and_can_be_repeated(
    dataset: Path, repository: Repository, call: Call, tmp_path: Path
) -> None:
    output = tmp_path / "artifacts"
    # A seed of its own: this training is in no cache.
    seed = f"--seed={uuid.uuid4().int % 10_000 + 1}"
    arguments = ["pipeline", f"--dataset={dataset}", "--profile=quick", "--epochs=6", seed, *repository.options]
    arguments += ["--bounds=min_accuracy=false,min_accuracy_lower=false,min_recall=false", "--output", str(output)]
    environment = {**os.environ, "DAGGER_NO_NAG": "1", "DAGGER_PROGRESS": "plain"}
    log = tmp_path / "log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            ["dagger", "call", *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=stderr
        ) as first,
    ):
        deadline = time.monotonic() + 600
        while "epoch" not in log.read_text():
            assert first.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, "no training was seen"
            time.sleep(0.2)
        first.send_signal(signal.SIGINT)
        assert first.wait(timeout=120) != 0
    assert repository.tags() == []
    assert not output.exists()
    call(*arguments)
    assert repository.tags() == ["latest"]
    assert (output / "report.md").is_file()
