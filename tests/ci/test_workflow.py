"""The workflow against the module: what it calls is there, and every mirror reaches every call."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml

from .conftest import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/pipeline.yml").read_text())
TRIGGERS = WORKFLOW[True]  # YAML 1.1 reads "on" as true
STEPS = [(name, step) for name, job in WORKFLOW["jobs"].items() for step in job["steps"]]
SCRIPTS = [(name, step["run"].replace("\\\n", " ")) for name, step in STEPS if "run" in step]
CALLS = [line.partition("dagger call")[2] for _, text in SCRIPTS for line in text.splitlines() if "dagger call" in line]
MIRRORS = {"base_image", "package_index", "torch_index", "tool_images", "dataset_url", "dataset_sha256", "speech_url"}
MIRRORS |= {"vulnerability_database"}


def options(text: str) -> set[str]:
    bare = re.sub(r"\$\([^)]*\)", "", text)  # without what another command says
    return {found.replace("-", "_") for found in re.findall(r"--([a-z][a-z0-9-]*)", bare)}


@pytest.fixture
def kws() -> Any:
    from kws_ci.main import Kws

    return Kws.__dagger_module__.get_object("Kws")  # type: ignore[attr-defined]


def test_every_call_gets_every_mirror_from_one_place(kws: Any) -> None:
    assert len(CALLS) == 9
    assert all(call.startswith(" $KWS_MIRRORS ") for call in CALLS)
    assert options(WORKFLOW["env"]["KWS_MIRRORS"]) == MIRRORS
    assert not [call for call in CALLS if options(call) & MIRRORS]
    # What the constructor calls a mirror, an index, an image or a database is one.
    named = re.compile(r"mirror|.* index\b|^Index|^Image|NAME=ADDRESS|osv|SHA-256", re.IGNORECASE)
    parameters = kws.get_constructor().parameters
    assert {name for name, each in parameters.items() if named.search(each.doc) and not each.default_path} == MIRRORS


def test_every_option_and_function_is_there(kws: Any) -> None:
    constructor = {name.replace("-", "_") for name in kws.get_constructor().parameters}
    assert MIRRORS | options(WORKFLOW["env"]["KWS_REGISTRY"]) <= constructor
    functions = {name.lstrip("_"): function for name, function in kws.functions.items()}
    for call in CALLS:
        words = [word for word in shlex.split(call.replace('"$@"', "")) if not word.startswith("$")]
        at = next((at for at, word in enumerate(words) if word.replace("-", "_") in functions), len(words))
        assert at < len(words) or "$check" in call, call
        assert options(" ".join(words[:at])) <= constructor, call
        for word in words[at : at + 1]:
            given = options(re.split(r"\b(?:export|sync|attestations)\b", " ".join(words[at + 1 :]))[0])
            assert given <= set(functions[word.replace("-", "_")].parameters), call


def test_any_default_branch_publishes_and_no_other() -> None:
    assert TRIGGERS["push"]["branches"] == ["**"]
    assert "github.ref_name == github.event.repository.default_branch" in WORKFLOW["jobs"]["deploy"]["if"]
    (deploy,) = [script for name, script in SCRIPTS if name == "deploy" and " pipeline " in script]
    assert '--default-branch="$DEFAULT_BRANCH"' in deploy
    assert "master" not in str(WORKFLOW)


def test_a_push_and_a_manual_run_wait_for_each_other() -> None:
    assert WORKFLOW["concurrency"]["group"].endswith("-${{ github.event_name == 'schedule' && 'audit' || github.ref }}")
    assert WORKFLOW["concurrency"]["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"


def test_the_changelog_is_asked_before_anything_is_published() -> None:
    deploy = " ".join(script for name, script in SCRIPTS if name == "deploy")
    assert deploy.index(" notes ") < deploy.index(" pipeline ")
    (release,) = [script for name, script in SCRIPTS if name == "release"]
    assert (
        release.index("create") < release.index("--draft ") < release.index("upload") < release.index("--draft=false")
    )


def test_who_signs_is_named_exactly() -> None:
    identities = [call.split("--identity=")[1].split('" ')[0] for call in CALLS if "--identity" in call]
    assert len(identities) == 2
    for identity in identities:
        assert identity.startswith('"^${KWS_WORKFLOW//./\\\\.}@refs/(heads/${DEFAULT_BRANCH//./\\\\.}|tags/v')
        assert identity.rstrip('"').endswith(r"\$")


def test_a_pull_request_gets_nothing_to_write_with() -> None:
    assert WORKFLOW["permissions"] == {}
    assert WORKFLOW["jobs"]["check"]["permissions"] == {"contents": "read"}
    assert not [step for name, step in STEPS if name == "comment" and "checkout" in str(step)]
    assert {name for name, step in STEPS if "secrets." in str(step)} == {"comment", "deploy", "release", "audit"}


def test_a_failed_training_is_shown_and_kept() -> None:
    kept = [step["if"] for _, step in STEPS if step["name"] in ("Show the report", "Keep the artefacts")]
    assert kept == ["${{ !cancelled() && hashFiles('artifacts/report.md') != '' }}"] * 4
    assert all("--wipe" in call for call in CALLS if "path=artifacts" in call)
