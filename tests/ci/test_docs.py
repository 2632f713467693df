"""What documents and pins say is true, as far as a program can see: links, commands, versions."""

import json
import re
import shlex
import tomllib
from typing import Any

from .conftest import ROOT
from .graph import function_of

MANAGERS = json.loads((ROOT / "renovate.json").read_text())["customManagers"]
WORKFLOW = ".github/workflows/pipeline.yml"
TEXTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
ELSEWHERE = {"LICENSE", ".ci/run"}  # not among what the module's own checks look at
ROW = r"^\| [^|]+ \| `((?:--\S+ )*[a-z][a-z-]+(?: [^`]*)?)` \|(?: `make[^|]*| )\|$"  # of a table: a call, make's target
VERBS = "train build image-tar test-predict serve gates publish releases sweep audit shell doctor pipeline"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_somewhere() -> None:
    for page in TEXTS:
        text = page.read_text()
        for link in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<img src="([^"]+)"', text):
            path, _, anchor = link.partition("#")
            if "://" not in link and link not in ELSEWHERE:
                there = (page.parent / path) if path else page
                assert there.exists(), f"{page.name}: {link}"
                assert not anchor or anchor in anchors(there.read_text()), f"{page.name}: {link}"


def test_every_place_where_a_change_goes_is_there() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Where a change goes")[2].partition("\n## ")[0]
    places = re.findall(r"`([\w.-]+/[\w./-]*)`", table)
    assert len(places) > 25
    assert [path for path in places if not (ROOT / path).exists()] == []


def test_every_call_in_the_documents_is_the_modules() -> None:
    texts = "\n".join(path.read_text() for path in TEXTS if path.name != "options.md").replace("\\\n", " ")
    calls = re.findall(r"dagger call ((?:[a-z-].*?)?)(?: +#.*|`.*)?$", texts, re.MULTILINE)
    calls += re.findall(ROW, texts, re.MULTILINE)
    called = {function_of(words) for call in calls if (words := shlex.split(call)) and "…" not in call}
    assert called >= set(VERBS.split()), called
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = set(re.findall(r"(?:^|`|&& )make ([a-z][a-z0-9-]*)", texts, re.MULTILINE))
    assert {"pipeline", "test", "serve"} <= made <= {*targets}


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
