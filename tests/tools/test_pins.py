"""The pins that must move together, and that the update bot finds every one of them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RENOVATE = json.loads((ROOT / "renovate.json").read_text())


def found(manager: dict[str, object]) -> list[tuple[str, str]]:
    """File and version of each place that a custom manager of the bot finds."""
    names = manager["managerFilePatterns"]
    patterns = manager["matchStrings"]
    assert isinstance(names, list)
    assert isinstance(patterns, list)
    files = [path for path in tracked() if any(re.search(name.strip("/"), path) for name in names)]
    return [
        (path, match["currentValue"])
        for path in files
        for pattern in patterns
        for match in re.finditer(pattern.replace("(?<", "(?P<"), (ROOT / path).read_text())
    ]


def tracked() -> list[str]:
    folders = [Path(), Path(".github/workflows"), Path("tools"), Path("ci/src/kws_ci")]
    return [str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).glob("*") if path.is_file()]


@pytest.mark.parametrize("manager", RENOVATE["customManagers"], ids=lambda manager: manager["description"])
def test_the_bot_finds_what_it_is_to_move(manager: dict[str, object]) -> None:
    assert found(manager)


def test_command_line_engine_and_documents_name_one_version_of_dagger() -> None:
    managers = [manager for manager in RENOVATE["customManagers"] if manager.get("depNameTemplate") == "dagger/dagger"]
    places = [place for manager in managers for place in found(manager)]
    assert {path for path, _ in places} == {"dagger.json", ".github/workflows/pipeline.yml", "README.md"}
    workflow = (ROOT / ".github/workflows/pipeline.yml").read_text()
    assert sum(path.endswith("pipeline.yml") for path, _ in places) == workflow.count("uses: dagger/dagger-for-github@")
    assert len({version for _, version in places}) == 1


def test_the_client_is_of_the_engines_series() -> None:
    engine = json.loads((ROOT / "dagger.json").read_text())["engineVersion"].removeprefix("v")
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    (client,) = [item.partition("==")[2] for item in groups["ci"] if item.startswith("dagger-io==")]
    assert client.split(".")[:2] == engine.split(".")[:2]


def test_pre_commit_runs_the_linters_of_the_check() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    checks = "".join(path.read_text() for path in sorted((ROOT / "ci/src/kws_ci").glob("*.py")))
    for linter in ("ruff", "mypy", "actionlint", "zizmor"):
        assert f"entry: .venv/bin/{linter}" in hooks or f"entry: {linter}" in hooks
        assert f'["{linter}"' in checks
