"""The workflow, and GitLab's pipeline that does the same: what they call is the module's, and in this order."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT, Given
from .graph import described, function_of

WORKFLOW: Any = yaml.safe_load((ROOT / ".github/workflows/pipeline.yml").read_text())
GITLAB: Given = yaml.safe_load((ROOT / "docs/.gitlab-ci.yml").read_text())
STEPS = [(name, step) for name, job in WORKFLOW["jobs"].items() for step in job["steps"]]
MIRRORS = {"base_image", "package_index", "torch_index", "tool_images", "dataset_url", "dataset_sha256", "speech_url"}
MIRRORS |= {"vulnerability_database"}
# Stand-ins for what a script would call; each call of dagger and gh is written down.
RECORD = 'printf "%s\\n" "${0##*/}" "$@" "" >>$HERE/calls\n[ "$2" != view ] || echo "$IS_DRAFT"'
STAND_INS = {"apk": "", "curl": "echo :", "git": "echo t", "dagger": RECORD, "gh": RECORD}
Job = tuple[str, str, dict[str, str]]  # a shell, a script for it, and its variables


def whole(name: str) -> Given:
    """A job of GitLab's with what it extends."""
    job = dict(GITLAB[name])
    bases = job.pop("extends", [])
    merged: Given = {}
    for base in [bases] if isinstance(bases, str) else bases:
        merged |= whole(base)
    return merged | job


def github(name: str) -> Job:
    """A job; what stands in its expressions is made up."""
    job = WORKFLOW["jobs"][name]
    told = {name: "x" for each in (job, *job["steps"]) for name in each.get("env", {})}
    told |= {"KWS_MIRRORS": "--torch-index= --base-image=m", "KWS_REGISTRY": "--registry=tcp://r:1", "KWS_ISSUER": "i"}
    told |= {"KWS_ADDRESS": "ghcr.io/Me/Kws", "DEFAULT_BRANCH": "ma.in", "GITHUB_REF_NAME": "v1.0.0", "GITHUB_SHA": "0"}
    told |= {"KWS_WORKFLOW": "https://github.com/me/kws/.github/workflows/pipeline.yml", "GITHUB_RUN_ID": "1"}
    told |= {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "me/kws", "GITHUB_STEP_SUMMARY": "s"}
    assert set(WORKFLOW["env"]) <= {*told, "DAGGER_NO_NAG", "DAGGER_PROGRESS"}
    return "bash", "\n".join(step["run"] for step in job["steps"] if "run" in step), told


def gitlab(name: str) -> Job:
    told = {key: each["value"] if isinstance(each, dict) else each for key, each in GITLAB["variables"].items()}
    told |= {"CI_PROJECT_URL": "https://gitlab.com/me/kws", "CI_SERVER_URL": "https://gitlab.com", "CI_JOB_URL": "u"}
    told |= {"CI_SERVER_HOST": "gitlab.com", "CI_DEFAULT_BRANCH": "ma.in", "CI_COMMIT_SHA": "0", "CI_COMMIT_TAG": ""}
    told |= {"CI_COMMIT_BRANCH": "", "CI_COMMIT_TIMESTAMP": "t", "KWS_MIRRORS": "--torch-index= --base-image=m"}
    return "sh", "\n".join([*whole(name)["before_script"], *whole(name)["script"]]), told


CHECK = ["pipeline", "gates", "lint", "workflows", "types", "unit-tests", "predict"]
DEPLOY, AUDIT = ["notes", "pipeline", "gates"], ["releases", "audit", "test-predict"]
ON_GITHUB = r"--identity=^https://github\.com/me/kws/\.github/workflows/pipeline\.yml@refs/(heads/ma\.in|tags/v.*)$"
ON_GITLAB = r"--identity=^https://gitlab\.com/me/kws//\.gitlab-ci\.yml@refs/(heads/ma\.in|tags/v.*)$"
OIDC = [f"--oidc-request-{name}=env:ACTIONS_ID_TOKEN_REQUEST_{name.upper()}" for name in ("url", "token")]
TAG, KEY = {"CI_COMMIT_TAG": "v1.0.0", "SIGSTORE_ID_TOKEN": "t"}, {"CI_COMMIT_BRANCH": "main", "KWS_SIGNING_KEY": "k"}
UP = ["release upload", "release edit"]
# Where, the job, what is given, what is called in which order, and words that must be among the calls.
JOBS: list[tuple[Any, str, dict[str, str], list[str], list[str]]] = [
    (github, "check", {}, CHECK, ["--profile=quick"]),
    (github, "deploy", {}, DEPLOY, [ON_GITHUB, "--default-branch=ma.in", "--address=ghcr.io/me/kws"]),
    (github, "deploy", {"ACTIONS_ID_TOKEN_REQUEST_URL": "u"}, DEPLOY, [ON_GITHUB, *OIDC, "--registry=tcp://r:1"]),
    (github, "audit", {}, AUDIT, [ON_GITHUB, "--address=ghcr.io/me/kws", "--registry=tcp://r:1"]),
    (github, "comment", {}, ["pr comment"], ["--edit-last"]),
    (github, "release", {}, ["release view", "release create", *UP], ["--draft", "--draft=false", "--verify-tag"]),
    (github, "release", {"IS_DRAFT": "true"}, ["release view", *UP], ["--draft=false"]),  # a run that is repeated
    (gitlab, "check", {}, CHECK, ["--profile=quick"]),
    (gitlab, "deploy", TAG, DEPLOY, [ON_GITLAB, "--default-branch=ma.in", "--id-token=env:SIGSTORE_ID_TOKEN"]),
    (gitlab, "deploy", KEY, DEPLOY[1:], ["--signing-key=env:KWS_SIGNING_KEY"]),
    (gitlab, "audit", {}, AUDIT, [ON_GITLAB]),
]


@pytest.mark.parametrize(("system", "job", "given", "expected", "words"), JOBS)
def test_a_jobs_scripts_call_what_the_module_has(
    system: Any, job: str, given: dict[str, str], expected: list[str], words: list[str], tmp_path: Path
) -> None:
    """REVIEW 11, 16: every call has every mirror; the changelog is asked first, a release is a draft until the end."""
    (tmp_path / "kept" / "artifacts").mkdir(parents=True)
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "report.md").touch()
    for program, does in STAND_INS.items():
        (tmp_path / program).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / program).chmod(0o755)
    shell, script, told = system(job)
    told |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HERE": str(tmp_path), "IS_DRAFT": "false", **given}
    subprocess.run([shell, "-euc", script], cwd=tmp_path, env=told, check=True, timeout=60)
    calls = [call.splitlines() for call in (tmp_path / "calls").read_text().strip("\n").split("\n\n")]
    assert [function_of(call[2:]) if call[0] == "dagger" else " ".join(call[1:3]) for call in calls] == expected
    assert all(call[2:4] == ["--torch-index=", "--base-image=m"] for call in calls if call[0] == "dagger")
    found = {word for call in calls for word in call}
    assert set(words) <= found
    assert found & {ON_GITHUB, ON_GITLAB} == {*words} & {ON_GITHUB, ON_GITLAB}  # REVIEW 37


def test_mirrors_are_named_in_one_place() -> None:
    named = re.findall(r"--([a-z0-9-]+)=", WORKFLOW["env"]["KWS_MIRRORS"])
    assert {name.replace("-", "_") for name in named} == MIRRORS
    # What the constructor calls a mirror, an index, an image or a database is one.
    known = re.compile(r"mirror|.* index\b|^Index|^Image|NAME=ADDRESS|osv|SHA-256", re.IGNORECASE)
    parameters = described().get_constructor().parameters
    assert {name for name, each in parameters.items() if known.search(each.doc) and not each.default_path} == MIRRORS


def test_what_starts_a_job_and_what_it_may() -> None:
    """REVIEW 37: any default branch publishes and no other, one run after the other; a check can write nothing."""
    assert WORKFLOW[True]["push"]["branches"] == ["**"]  # YAML 1.1 reads "on" as true
    assert "github.ref_name == github.event.repository.default_branch" in WORKFLOW["jobs"]["deploy"]["if"]
    assert "master" not in str(WORKFLOW)
    assert WORKFLOW["concurrency"]["group"].endswith("-${{ github.event_name == 'schedule' && 'audit' || github.ref }}")
    assert WORKFLOW["concurrency"]["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"
    assert WORKFLOW["permissions"] == {}
    assert WORKFLOW["jobs"]["check"]["permissions"] == {"contents": "read"}
    assert {name for name, step in STEPS if "secrets." in str(step)} == {"comment", "deploy", "release", "audit"}
    assert not [step for name, step in STEPS if name == "comment" and "checkout" in str(step)]
    kept = [step["if"] for _, step in STEPS if step["name"] in ("Show the report", "Keep the artefacts")]
    assert kept == ["${{ !cancelled() && hashFiles('artifacts/report.md') != '' }}"] * 4  # REVIEW 14
