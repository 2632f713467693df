"""README and docs/ are true as far as a program can see: links, commands, manifests."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from .calls import function_of
from .conftest import ROOT

DOCS = ROOT / "docs"
TEXTS = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
# What README's shell blocks do, and where the same is done: a file, and what stands there.
RUN_BY = {
    "make pipeline": (".ci/run", "make pipeline"),
    "make test": (".ci/run", "make test"),
    "make env": (".ci/run", "make test"),
    "make serve": (".ci/run", "make pipeline"),  # which starts the same server
    "dagger call --synthetic pipeline": ("tests/e2e/conftest.py", '"pipeline"'),
    "dagger call --address": ("README.md", "published"),  # needs the internet: GHCR
    "dagger call gates": ("tests/e2e/test_pipeline.py", 'call("gates"'),
    ".venv/bin/python -m model check": ("tests/model/test_cli.py", '"check"'),
    "curl -F": ("tests/service", "files="),
    "curl --data-binary": ("tests/service", "content="),
}
ELSEWHERE = {"LICENSE", ".ci/run"}  # not among what the module's own checks look at


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", TEXTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<img src="([^"]+)"', text)
    for link in links:
        path, _, anchor = link.partition("#")
        if "://" not in link and link not in ELSEWHERE:
            there = (page.parent / path) if path else page
            assert there.exists(), link
            assert not anchor or anchor in anchors(there.read_text()), link


def test_every_place_where_a_change_goes_is_there() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Where a change goes")[2].partition("\n## ")[0]
    named = re.findall(r"`([\w.-]+/[\w./-]*)`", table)
    assert len(named) > 25
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_pages_are_short() -> None:
    made = "options.md"
    assert {path.name: lines for path in TEXTS if (lines := len(path.read_text().splitlines())) > 150} == {
        made: len((DOCS / made).read_text().splitlines())
    }


def test_every_command_of_the_readme_is_run_somewhere() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    commands = [part.strip() for line in lines for part in re.sub(r" #.*", "", line).split(" && ")]
    assert len(commands) >= 10
    unknown = [command for command in commands if not command.startswith(tuple(RUN_BY))]
    assert unknown == []
    assert [start for start in RUN_BY if not any(command.startswith(start) for command in commands)] == []
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {command.split()[1] for command in commands if command.startswith("make ")} <= set(targets)
    for path, text in RUN_BY.values():
        if path not in ELSEWHERE or (ROOT / path).exists():
            files = [ROOT / path] if (ROOT / path).is_file() else [*(ROOT / path).glob("*.py")]
            assert any(text in file.read_text() for file in files), f"{path}: {text}"


@pytest.mark.parametrize("release", ["1.29", "1.37"])
def test_the_manifests_are_what_kubernetes_takes(release: str) -> None:
    kinds = ["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"]
    found = list(yaml.safe_load_all((DOCS / "kubernetes.yaml").read_text()))
    assert [each["kind"] for each in found] == kinds
    (container,) = found[0]["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate (100 MB) is not installed")
    for each in found:
        validate.validate(each, release, strict=True)


def test_every_call_in_the_documents_is_the_modules() -> None:
    texts = "\n".join(path.read_text() for path in TEXTS if path.name != "options.md").replace("\\\n", " ")
    calls = re.findall(r"dagger call ((?:[a-z-].*?)?)(?: +#.*|`.*)?$", texts, re.MULTILINE)
    calls += re.findall(
        r"^\| [^|]+ \| `((?:--\S+ )*[a-z][a-z-]+(?: [^`]*)?)` \|(?: `make[^|]*| )\|$", texts, re.MULTILINE
    )
    called = {function_of(words) for call in calls if (words := shlex.split(call)) and "…" not in call}
    verbs = "train build image-tar test-predict serve gates publish releases sweep audit shell doctor pipeline"
    assert called >= set(verbs.split()), called


def test_every_artefact_in_the_readme_is_written_by_a_program() -> None:
    table = (ROOT / "README.md").read_text().partition("## The artefacts")[2].partition("\n## ")[0]
    names = re.findall(r"`([\w/.]+\.\w+|[\w/]+/)`", "\n".join(line.rpartition(" | ")[0] for line in table.splitlines()))
    rooms = [
        path for room in ("model", "release", "service", "tools", "ci/src") for path in (ROOT / room).rglob("*.py")
    ]
    code = "\n".join(path.read_text() for path in [*rooms, ROOT / "Makefile"])
    assert len(names) > 15
    assert [name for name in names if name.rstrip("/").rpartition("/")[2] not in code] == []


def test_a_checkout_has_the_same_bytes_everywhere() -> None:
    """Whatever git is told to do with line ends: in the index and by .gitattributes every text has LF."""
    if not shutil.which("git") or subprocess.run(["git", "rev-parse"], cwd=ROOT, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this is no checkout, or git is not installed")
    listed = subprocess.run(["git", "ls-files", "--eol"], cwd=ROOT, capture_output=True, text=True, check=True)
    kinds = {" ".join(line.partition("\t")[0].split()) for line in listed.stdout.splitlines()}
    texts = re.compile(r"i/(lf|none) w/\S+ attr/text=auto eol=lf")
    assert [kind for kind in kinds if "attr/-text" not in kind and not texts.fullmatch(kind)] == []
    assert len(kinds) > 1
