"""What is removed from a repository on GitHub and what never is, against an API and a registry in memory."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tools import github
from tools.github import Api, GitHubError
from tools.registry import __main__ as command
from tools.registry.client import MissingError, Registry, RegistryError
from tools.registry.prune import Package, prune

from .github_api import TOKEN, GitHub, serve

ADDRESS = "ghcr.io/me/words"


class Manifests(Registry):
    """A registry of the manifests given; ``broken`` ones cannot be read."""

    content: dict[str, dict[str, Any]]
    broken: set[str]
    named: list[str]

    def manifest(self, reference: str) -> dict[str, Any]:
        if reference in self.broken:
            raise RegistryError("ghcr.io: oras manifest failed after 4 attempts: 503")
        if reference not in self.content:
            raise MissingError(f"{reference} is not there")
        return self.content[reference]

    def tags(self) -> list[str]:
        return self.named


class Shelf:
    """Manifests in the registry, and the same as GitHub lists them."""

    def __init__(self, api: GitHub) -> None:
        self.api = api
        self.registry = Manifests(ADDRESS)
        self.registry.content, self.registry.broken, self.registry.named = {}, set(), []

    def put(self, days: int, *tags: str, **content: Any) -> str:
        content["layers"] = [len(self.registry.content)]
        digest = f"sha256:{hashlib.sha256(json.dumps(content).encode()).hexdigest()}"
        self.registry.content[digest] = content
        self.registry.named += tags
        self.api.version(digest, days, *tags)
        return digest

    def index(self, days: int, *tags: str, of: list[str]) -> str:
        return self.put(days, *tags, manifests=[{"digest": digest} for digest in of])

    def referrer(self, days: int, subject: str, *tags: str) -> str:
        return self.put(days, *tags, subject={"digest": subject})

    def prune(self, *, delete: bool = True, older_than: int = 30) -> list[str]:
        package = Package(Api(TOKEN, self.api.url), ADDRESS)
        return list(prune(self.registry, package, older_than, datetime.now(UTC), delete=delete))

    @property
    def left(self) -> set[str]:
        return {version["name"] for version in self.api.versions}


def attached(digest: str, suffix: str = "") -> str:
    return digest.replace(":", "-") + suffix


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    monkeypatch.setattr(github, "PAUSE", 0)
    with serve() as running:
        yield running


@pytest.fixture
def shelf(api: GitHub) -> Shelf:
    """With one release, made long ago, so that there is something in use."""
    made = Shelf(api)
    made.put(400, "latest", "v1")
    return made


def test_what_is_old_and_has_no_tag_goes_and_nothing_else(shelf: Shelf) -> None:
    before = shelf.left
    old, young = shelf.put(31), shelf.put(29)
    lines = shelf.prune()
    assert shelf.left == before | {young}
    assert f"removed      {old}   31 d  no tag, in no use" in lines
    assert [line for line in lines if young in line and line.startswith("keep") and line.endswith("young")]
    assert [line for line in lines if line.endswith("tagged latest, v1")]
    assert lines[-1] == "3 versions: kept 2 (1 tagged, 1 young); removed 1, refused 0, left 0"


def test_without_delete_it_is_only_told(shelf: Shelf, api: GitHub) -> None:
    old, before = shelf.put(31), shelf.left | {"x"}
    lines = shelf.prune(delete=False)
    assert shelf.left | {"x"} == before
    assert {method for method, _ in api.requests} == {"GET"}
    assert [line for line in lines if line.startswith(f"would remove {old}")]
    assert lines[-1] == "2 versions: kept 1 (1 tagged); would remove 1, and does with --delete"


def test_what_a_release_reaches_stays_whatever_its_age(shelf: Shelf) -> None:
    children = [shelf.put(400), shelf.put(400)]
    image = shelf.index(400, "v2", of=children)
    sbom = shelf.referrer(300, image)
    shelf.index(300, attached(image), of=[sbom])
    shelf.put(300, attached(image, ".sig"))
    shelf.put(300, attached(children[0], ".att"))
    shelf.put(300, attached(children[1], ".sbom"))
    signature = shelf.referrer(200, sbom)  # of the SBOM: a referrer's own referrer
    shelf.index(200, attached(sbom), of=[signature])
    before = shelf.left
    old = shelf.index(200, of=[sbom])  # the SBOM's index as it was before something was attached
    assert shelf.prune()[-1].endswith("removed 1, refused 0, left 0")
    assert old not in shelf.left
    assert shelf.left == before


def test_what_an_unused_image_had_goes_with_it(shelf: Shelf) -> None:
    before = shelf.left
    child = shelf.put(90)
    image = shelf.index(90, of=[child])
    sbom = shelf.referrer(90, image)
    listing = shelf.index(90, attached(image), of=[sbom])
    signature = shelf.put(90, attached(image, ".sig"))
    lines = [line for line in shelf.prune() if line.startswith("removed")]
    assert shelf.left == before
    order = [line.split()[1] for line in lines]
    assert set(order) == {child, image, sbom, listing, signature}
    assert set(order[:2]) == {image, listing}  # an index goes before its children
    assert next(line for line in lines if signature in line).endswith(f"attached to {image[:19]}, in no use")


def test_what_is_young_keeps_all_that_it_reaches(shelf: Shelf) -> None:
    child = shelf.put(90)
    shelf.index(3, of=[child])
    signed = shelf.put(90)  # the signature of yesterday says that somebody uses it
    shelf.put(1, attached(signed, ".sig"))
    described = shelf.put(90)
    shelf.referrer(1, described)
    before = shelf.left
    shelf.prune()
    assert shelf.left == before


def test_a_referrer_that_its_index_has_lost_stays(shelf: Shelf) -> None:
    image = shelf.put(90, "v2")
    child = shelf.put(90)
    lost = shelf.put(90, subject={"digest": image}, manifests=[{"digest": child}])
    lines = shelf.prune()
    assert {lost, child} <= shelf.left
    assert [line for line in lines if lost in line and line.endswith(f"refers to {image[:19]}")]


@pytest.mark.parametrize("tag", ["sha256-notes", "sha256-" + "a" * 64 + ".backup", "v0"])
def test_a_tag_that_someone_gave_keeps_its_image(shelf: Shelf, tag: str) -> None:
    kept = shelf.put(400, tag, attached("sha256:" + "b" * 64))
    shelf.prune()
    assert kept in shelf.left


def test_an_image_that_lost_its_tag_yesterday_is_young(shelf: Shelf, api: GitHub) -> None:
    image = shelf.put(1)
    api.versions[-1]["created_at"] = "2020-01-01T00:00:00Z"
    shelf.prune()
    assert image in shelf.left


@pytest.mark.parametrize("which", ["release", "child", "referrer", "young"])
def test_what_is_in_use_and_cannot_be_read_stops_it_before_anything_is_deleted(shelf: Shelf, which: str) -> None:
    child = shelf.put(90)
    release = shelf.index(90, "v2", of=[child])
    there = {
        "child": child,
        "release": release,
        "referrer": shelf.put(90, attached(release)),
        "young": shelf.put(1),
    }
    shelf.put(90)
    before = shelf.left
    shelf.registry.broken = {there[which]}
    with pytest.raises(RegistryError, match="nothing was deleted"):
        shelf.prune()
    del shelf.registry.content[there[which]]
    shelf.registry.broken = set()
    with pytest.raises(RegistryError, match="nothing was deleted"):
        shelf.prune()
    assert shelf.left == before


def test_a_child_that_was_never_pushed_is_no_hindrance(shelf: Shelf) -> None:
    shelf.index(90, "v2", of=["sha256:" + "0" * 64])
    old = shelf.put(90)
    shelf.prune()
    assert old not in shelf.left


def test_what_is_unused_and_cannot_be_read_stays(shelf: Shelf) -> None:
    old = shelf.put(90)
    shelf.registry.broken = {old}
    lines = shelf.prune()
    assert old in shelf.left
    assert "1 unreadable" in lines[-1]


def test_a_list_that_lacks_a_tag_of_the_registry_is_not_trusted(shelf: Shelf) -> None:
    shelf.put(90)
    shelf.registry.named.append("v9")
    with pytest.raises(RegistryError, match="lacks the tag v9"):
        shelf.prune()


def test_where_nothing_has_a_tag_nothing_is_removed(api: GitHub) -> None:
    shelf = Shelf(api)
    image = shelf.put(90)
    shelf.put(90, attached(image, ".sig"))
    with pytest.raises(RegistryError, match="no image has a tag"):
        shelf.prune()
    assert len(shelf.left) == 2


def test_what_github_refuses_is_told_and_the_rest_goes_on(shelf: Shelf, api: GitHub) -> None:
    first, second = shelf.put(90), shelf.put(90)
    api.popular = {version["id"] for version in api.versions if version["name"] == first}
    lines = shelf.prune()
    assert first in shelf.left
    assert second not in shelf.left
    assert next(line for line in lines if line.startswith("refused")).endswith(
        "Contact GitHub support for further assistance."
    )
    assert lines[-1].endswith("removed 1, refused 1, left 0")


def test_what_got_a_tag_meanwhile_is_left(shelf: Shelf, api: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    old = shelf.put(90)
    listed = Package.versions

    def then_promoted(package: Package) -> Any:
        found = listed(package)
        api.versions[-1]["metadata"]["container"]["tags"] = ["stable"]
        return found

    monkeypatch.setattr(Package, "versions", then_promoted)
    lines = shelf.prune()
    assert old in shelf.left
    assert next(line for line in lines if line.startswith("left")).endswith("tagged stable meanwhile")


def test_a_token_that_may_not_delete_ends_it(shelf: Shelf, api: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.put(90)

    def forbidden(package: Package, _: Any) -> None:
        api.stumbles = [(403, {})]
        package.api.request("DELETE", package.path)

    monkeypatch.setattr(Package, "delete", forbidden)
    with pytest.raises(GitHubError, match="delete:packages"):
        shelf.prune()


def test_more_than_a_page_is_read(shelf: Shelf) -> None:
    old = [shelf.put(90) for _ in range(250)]
    assert f"removed {len(old)}, " in shelf.prune()[-1]


def test_an_organizations_package_with_a_slash_in_its_name(api: GitHub) -> None:
    api.package = "/orgs/us/packages/container/team%2Fwords/versions"
    api.version("sha256:" + "a" * 64, 1, "v1")
    (version,) = Package(Api(TOKEN, api.url), "ghcr.io/us/team/words").versions()
    assert version.names == ["v1"]


@pytest.mark.parametrize("address", ["ghcr.io/nobody/words", "ghcr.io/me/other", "ghcr.io/us/words", "ghcr.io/me"])
def test_a_package_that_is_not_there_is_one_clear_line(api: GitHub, address: str) -> None:
    with pytest.raises(RegistryError, match="--address"):
        Package(Api(TOKEN, api.url), address).versions()


@pytest.mark.parametrize(
    ("token", "options", "named"),
    [(TOKEN, ["--older-than=0"], "--older-than"), ("", [], "GITHUB_TOKEN is empty"), ("wrong", [], "run out")],
)
def test_from_the_command_line(
    api: GitHub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    token: str,
    options: list[str],
    named: str,
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", token)
    monkeypatch.setattr(sys, "argv", ["registry", f"--address={ADDRESS}", "prune", f"--api={api.url}", *options])
    assert command.main() == 2
    assert named in (said := capsys.readouterr().err)
    assert said.count("\n") == 1
