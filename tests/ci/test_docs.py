"""README and docs/ are true as far as a program can see: links, commands, manifests."""

import re
import shlex

from .conftest import ROOT
from .graph import function_of

DOCS = ROOT / "docs"
TEXTS = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
ELSEWHERE = {"LICENSE", ".ci/run"}  # not among what the module's own checks look at
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
    calls += re.findall(
        r"^\| [^|]+ \| `((?:--\S+ )*[a-z][a-z-]+(?: [^`]*)?)` \|(?: `make[^|]*| )\|$", texts, re.MULTILINE
    )
    called = {function_of(words) for call in calls if (words := shlex.split(call)) and "…" not in call}
    assert called >= set(VERBS.split()), called
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = set(re.findall(r"(?:^|`|&& )make ([a-z][a-z0-9-]*)", texts, re.MULTILINE))
    assert {"pipeline", "test", "serve"} <= made <= {*targets}
