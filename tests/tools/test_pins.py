"""The pins that must move together, and that the update bot finds every one of them."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MANAGERS = json.loads((ROOT / "renovate.json").read_text())["customManagers"]
WORKFLOW = ".github/workflows/pipeline.yml"


def found(manager: dict[str, Any]) -> list[tuple[str, str]]:
    """File and version of each place that a custom manager of the bot finds."""
    folders = [ROOT, ROOT / ".github/workflows", ROOT / "docs", ROOT / "ci/src/kws_ci"]
    paths = [str(path.relative_to(ROOT)) for folder in folders for path in folder.glob("*") if path.is_file()]
    files = [path for path in paths if any(re.search(name.strip("/"), path) for name in manager["managerFilePatterns"])]
    patterns = [re.compile(pattern.replace("(?<", "(?P<")) for pattern in manager["matchStrings"]]
    texts = [(path, pattern, (ROOT / path).read_text()) for path in files for pattern in patterns]
    return [(path, each["currentValue"]) for path, pattern, text in texts for each in pattern.finditer(text)]


def test_every_tool_of_a_release_is_an_image_by_tag_and_digest() -> None:
    (manager,) = [manager for manager in MANAGERS if manager.get("datasourceTemplate") == "docker"]
    assert len(found(manager)) == 5  # the pattern asks for a digest


def test_command_line_engine_client_and_documents_name_one_version_of_dagger() -> None:
    managers = [manager for manager in MANAGERS if manager.get("depNameTemplate") == "dagger/dagger"]
    places = [place for manager in managers for place in found(manager)]
    assert {path for path, _ in places} == {"dagger.json", WORKFLOW, "docs/.gitlab-ci.yml", "README.md"}
    calls = (ROOT / WORKFLOW).read_text().count("uses: dagger/dagger-for-github@")
    assert sum(path == WORKFLOW for path, _ in places) == calls
    (engine,) = {version.removeprefix("v") for _, version in places}
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    (client,) = [item.partition("==")[2] for item in groups["ci"] if item.startswith("dagger-io==")]
    assert client.split(".")[:2] == engine.split(".")[:2]
