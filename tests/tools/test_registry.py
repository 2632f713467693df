"""How the registry's tools are run: login, retries, errors. Their work itself is tested on the engine (tests/e2e)."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tools.registry import client, signing
from tools.registry.attachments import TYPES
from tools.registry.client import MissingError, Registry, RegistryError, explained


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for oras: a line of ``answers`` a run, ``CODE WORDS``; what it was given is kept beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "oras"
    script.write_text(
        f'#!/bin/sh\ncd {folder}\necho "$@" >>calls\ncp "$DOCKER_CONFIG/config.json" config.json 2>/dev/null\n'
        'answer=$(head -n 1 answers)\nsed -i 1d answers\necho "${answer#* }"\n'
        'echo "${answer#* }" >&2\nexit ${answer%% *}\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def answers(tool: Path, *lines: str) -> None:
    (tool / "answers").write_text("".join(f"{line}\n" for line in lines))


def calls(tool: Path) -> list[str]:
    return (tool / "calls").read_text().splitlines()


@pytest.mark.parametrize(
    "failure",
    [
        "Error: failed to perform GET: response status code 503: Service Unavailable",
        "Error: Get https://ghcr.io/v2/: 502 Bad Gateway",
        "Error: read tcp 10.0.0.1:1->10.0.0.2:443: connection reset by peer",
        "Error: toomanyrequests: slow down",
        "Error: net/http: TLS handshake timeout",
    ],
)
def test_what_may_pass_is_tried_again_and_not_for_ever(
    tool: Path, failure: str, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry("ghcr.io/me/name", pause=0)
    answers(tool, f"1 {failure}", f"1 {failure}", "0 1.0")
    assert registry.tags() == ["1.0"]
    assert len(calls(tool)) == 3
    assert capsys.readouterr().err == f"registry: ghcr.io: {failure}; again in 0 s\n" * 2
    answers(tool, *[f"1 {failure}"] * 9)
    with pytest.raises(RegistryError, match=f"after {client.ATTEMPTS} attempts"):
        registry.tags()
    assert len(calls(tool)) == 3 + client.ATTEMPTS


def test_what_will_not_pass_is_tried_once(tool: Path) -> None:
    answers(tool, "1 Error: response status code 403: denied: permission_denied: write_package")
    with pytest.raises(RegistryError, match="packages: write"):
        Registry("ghcr.io/me/name", pause=0).tags()
    assert len(calls(tool)) == 1


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("dial tcp: lookup ghcr.io: no such host", "ghcr.io is no host that can be found: check --address"),
        (
            "dial tcp: lookup ghcr.io. on [::1]:53: no such host",
            "ghcr.io is no host that can be found: check --address",
        ),
        (
            'Get "https://blobs.example/a": dial tcp: lookup blobs.example on 10.0.0.1:53: no such host',
            "blobs.example is no host that can be found, and oras push needs it",
        ),
        (
            'Get "https://tuf-repo-cdn.sigstore.dev/1": dial tcp: lookup tuf-repo-cdn.sigstore.dev: no such host',
            "oras push without a key asks tuf-repo-cdn.sigstore.dev, which cannot be found: give a key",
        ),
        ("GET https://ghcr.io/token: unexpected status code 401 Unauthorized", "check --username and --password"),
        ("unauthorized: authentication required", "check --username and --password"),
        ("denied: requested access to the resource is denied", "packages: write"),
        ("http: server gave HTTP response to HTTPS client", "--registry=tcp://"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "the CA"),
    ],
)
def test_an_error_names_the_setting_to_change_in_one_line(said: str, meant: str) -> None:
    error = explained(f"time=now level=info\n{said}\n", "ghcr.io/me/name", "oras push")
    assert meant in str(error)
    assert "\n" not in str(error)


def test_what_is_not_there_is_told_apart(tool: Path) -> None:
    answers(tool, "1 Error: ghcr.io/me/name: not found", "1 Error: ghcr.io/me/name:1: not found")
    assert Registry("ghcr.io/me/name").tags() == []
    with pytest.raises(MissingError):
        Registry("ghcr.io/me/name").digest("1")


def fetched(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """``fetch`` of the last release's evaluation as its users run it."""
    command = [sys.executable, "-m", "tools.registry", "--address=ghcr.io/me/name", "fetch", "latest"]
    return subprocess.run(
        [*command, "--kinds", "figures", "evaluation", "--output", str(tmp_path / "out"), *options],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (["1 Error: ghcr.io/me/name:latest: not found"], "ghcr.io/me/name holds nothing under latest"),
        (
            ['0 {"digest": "sha256:1"}', "1 Error: ghcr.io/me/name:sha256-1: not found"],
            "ghcr.io/me/name@sha256:1 has no figures and no evaluation attached",
        ),
    ],
)
def test_an_optional_attachment_that_is_not_there_is_said(
    tool: Path, tmp_path: Path, found: list[str], said: str
) -> None:
    answers(tool, *found, *found)
    done = fetched(tmp_path, "--optional")
    assert (done.returncode, done.stdout) == (0, f"{said}\n")
    done = fetched(tmp_path)
    assert (done.returncode, done.stderr) == (2, f"registry: {said}\n")


def test_of_optional_attachments_those_there_are_come(tool: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"").hexdigest()
    referrer = {"digest": "sha256:2", "artifactType": TYPES["evaluation"]}
    manifest = {"subject": {"digest": "sha256:1"}, "layers": [{"digest": f"sha256:{digest}", "size": 0}]}
    others = {"digest": "sha256:3", "artifactType": TYPES["model"]}
    index = {"manifests": [others, referrer]}
    answers(tool, '0 {"digest": "sha256:1"}', f"0 {json.dumps(index)}", f"0 {json.dumps(manifest)}", "0 fetched")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "evaluation.json").touch()  # as oras would have written it
    done = fetched(tmp_path, "--optional")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'out' / 'evaluation.json'}\n")
    assert len(calls(tool)) == 4


def test_refused_credentials_are_an_error_where_nothing_need_be_there(tool: Path, tmp_path: Path) -> None:
    answers(tool, "1 Error: response status code 401: unauthorized: authentication required")
    done = fetched(tmp_path, "--optional")
    assert done.returncode == 2
    assert "check --username and --password" in done.stderr


def test_the_password_goes_to_the_login_alone_and_into_no_message(tool: Path) -> None:
    token = base64.b64encode(b"me:hunter2").decode()
    answers(tool, f"1 Error: GET with Basic {token} and hunter2 went wrong")
    registry = Registry("ghcr.io/me/name", username="me", password="hunter2")  # noqa: S106 (no real one)
    with pytest.raises(RegistryError) as error:
        registry.tags()
    assert "hunter2" not in str(error.value)
    assert token not in str(error.value)
    assert "hunter2" not in "".join(calls(tool))
    assert "hunter2" not in repr(error.value.said)
    assert json.loads((tool / "config.json").read_text()) == {"auths": {"ghcr.io": {"auth": token}}}


def test_plain_http_is_spoken_only_where_it_was_asked_for(tool: Path) -> None:
    answers(tool, "0 1.0", "0 1.0")
    Registry("ghcr.io/me/name").tags()
    Registry("ghcr.io/me/name", "registry:5000/me/name", plain_http=True).tags()
    assert calls(tool) == ["repo tags ghcr.io/me/name", "repo tags registry:5000/me/name --plain-http"]


@pytest.mark.parametrize("missing", signing.OIDC)
def test_keyless_signing_names_what_it_lacks(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in signing.OIDC:
        monkeypatch.setenv(name, "" if name == missing else "x")
    with pytest.raises(RegistryError, match=missing):
        signing.Signer().options()


def test_a_missing_tool_is_one_clear_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.registry", "--address=ghcr.io/me/name", "list", "latest"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": str(tmp_path)})
    assert done.returncode == 2
    assert "oras is not installed" in done.stderr
    assert len(done.stderr.splitlines()) == 1
