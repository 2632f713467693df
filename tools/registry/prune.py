"""Old images without a tag, removed from a repository on GitHub: mark what is in use, sweep the rest.

A registry does not list manifests without a tag: the list and the removal are GitHub's packages API. What a manifest
holds is read from the registry itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from tools.github import Api, GitHubError
from tools.registry.client import MissingError, Registry, RegistryError

# The index of a digest's referrers where a registry has no endpoint for them, and what cosign keeps beside a digest.
# Any other tag, also one that only begins so, was given by someone and keeps its image.
ATTACHED = re.compile(r"sha256-([0-9a-f]{64})(?:\.(?:sig|att|sbom))?")
READERS = 8
TAGGED, REACHED, YOUNG, UNREADABLE = "tagged", "reached from what is kept", "young", "unreadable"


@dataclass(frozen=True)
class Version:
    """A manifest as GitHub lists it; ``changed``: when it was made, or last got or lost a tag."""

    id: int
    digest: str
    tags: tuple[str, ...]
    changed: datetime

    @property
    def names(self) -> list[str]:
        """The tags that keep it."""
        return [tag for tag in self.tags if not ATTACHED.fullmatch(tag)]

    @property
    def subjects(self) -> list[str]:
        """The digests that its other tags attach it to."""
        return [f"sha256:{found[1]}" for tag in self.tags if (found := ATTACHED.fullmatch(tag))]


class Package:
    """A repository ``HOST/OWNER/NAME`` as GitHub's packages API knows it. Raises RegistryError where it does not."""

    def __init__(self, api: Api, address: str) -> None:
        self.api, self.address = api, address
        owner, _, name = address.partition("/")[2].partition("/")
        if not name:
            raise RegistryError(f"{address} is no package on GitHub: there --address is HOST/OWNER/NAME")
        with self._known():
            kind = api.request("GET", f"users/{quote(owner)}")["type"]
        owners = "orgs" if kind == "Organization" else "users"
        self.path = f"{owners}/{quote(owner)}/packages/container/{quote(name, safe='')}/versions"

    def versions(self) -> list[Version]:
        """All, each once: the pages move while others push."""
        with self._known():
            return list({entry["id"]: _version(entry) for entry in self.api.pages(self.path)}.values())

    def version(self, identity: int) -> Version:
        return _version(self.api.request("GET", f"{self.path}/{identity}"))

    def delete(self, version: Version) -> None:
        self.api.request("DELETE", f"{self.path}/{version.id}")

    @contextmanager
    def _known(self) -> Iterator[None]:
        try:
            yield
        except GitHubError as error:
            if error.code != 404:
                raise
            raise RegistryError(
                f"GitHub knows no package {self.address}, or the token must not see it: check --address, "
                "and that --token has read:packages"
            ) from None


def _version(entry: dict[str, Any]) -> Version:
    changed = max(datetime.fromisoformat(entry[key]) for key in ("created_at", "updated_at") if entry.get(key))
    return Version(entry["id"], entry["name"], tuple(entry["metadata"]["container"]["tags"]), changed)


@dataclass(frozen=True)
class Kept:
    """Why a manifest stays: its kind for the counts, and the words about it."""

    kind: str
    why: str


class Marker:
    """What is in use. Raises RegistryError where a manifest that is in use cannot be read: nobody knows what it holds.

    A manifest in use reaches the children of an index, what refers to it, and what it refers to itself.
    """

    def __init__(self, registry: Registry, versions: list[Version]) -> None:
        self.registry = registry
        self.versions = {version.digest: version for version in versions}
        self.kept: dict[str, Kept] = {}
        self.manifests: dict[str, dict[str, Any]] = {}
        self._attached: dict[str, list[str]] = {}
        for version in versions:
            for subject in version.subjects:
                self._attached.setdefault(subject, []).append(version.digest)

    def mark(self, youngest: datetime) -> None:
        """Mark what has a tag or was changed after ``youngest``, and all that it reaches."""
        versions = self.versions.values()
        tagged = {version.digest: version.names for version in versions if version.names}
        if not tagged:
            raise RegistryError(
                f"{self.registry.address}: no image has a tag, so nothing tells what is in use; "
                "the whole package is deleted in its settings on GitHub"
            )
        self._spread({digest: Kept(TAGGED, f"tagged {', '.join(names)}") for digest, names in tagged.items()})
        self._spread({version.digest: Kept(YOUNG, YOUNG) for version in versions if version.changed > youngest})
        # One that refers to a manifest in use, but got lost from the index of those that do.
        while lost := self._lost():
            self._spread(lost)

    def _lost(self) -> dict[str, Kept]:
        others = [digest for digest in self.versions if digest not in self.kept]
        lost = {}
        for digest, manifest in zip(others, self._read(others), strict=True):
            if isinstance(manifest, RegistryError):
                lost[digest] = Kept(UNREADABLE, f"cannot be read ({manifest})")
            elif (subject := _subject(manifest)) in self.kept:
                lost[digest] = Kept(REACHED, f"refers to {_short(subject)}")
        return lost

    def _spread(self, found: dict[str, Kept]) -> None:
        while found := {digest: kept for digest, kept in found.items() if digest not in self.kept}:
            self.kept |= found
            known = [digest for digest, kept in found.items() if kept.kind != UNREADABLE]
            reached: dict[str, Kept] = {}
            for digest, manifest in zip(known, self._read(known), strict=True):
                if isinstance(manifest, MissingError) and digest not in self.versions:
                    continue  # an index may name a child that was never pushed, a referrer what is gone
                if isinstance(manifest, RegistryError):
                    raise RegistryError(f"nothing was deleted: {digest} is in use and cannot be read: {manifest}")
                for other, why in self._neighbours(digest, manifest):
                    reached.setdefault(other, Kept(REACHED, f"{why} {_short(digest)}"))
            found = reached

    def _neighbours(self, digest: str, manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
        version = self.versions.get(digest)
        for child in manifest.get("manifests") or []:
            yield child["digest"], "listed by"
        for referrer in self._attached.get(digest, []):
            yield referrer, "attached to"
        for subject in [_subject(manifest), *(version.subjects if version else [])]:
            if subject:
                yield subject, "subject of"

    def _read(self, digests: list[str]) -> list[dict[str, Any] | RegistryError]:
        def read(digest: str) -> dict[str, Any] | RegistryError:
            try:
                return self.registry.manifest(digest)
            except RegistryError as error:
                return error
            except ValueError as error:
                return RegistryError(f"not JSON: {error}")

        unread = [digest for digest in digests if digest not in self.manifests]
        failed: dict[str, RegistryError] = {}
        with ThreadPoolExecutor(READERS) as pool:
            for digest, found in zip(unread, pool.map(read, unread), strict=True):
                if isinstance(found, RegistryError):
                    failed[digest] = found
                else:
                    self.manifests[digest] = found
        return [failed.get(digest) or self.manifests[digest] for digest in digests]


def prune(registry: Registry, package: Package, older_than: int, now: datetime, *, delete: bool) -> Iterator[str]:
    """Remove what is older than so many days and in no use; a line a version, then the counts.

    Without ``delete`` it is only told. Raises RegistryError, before anything is deleted, where the use of something
    cannot be told, and GitHubError where the token does not suffice.
    """
    versions = package.versions()
    listed = {tag for version in versions for tag in version.tags}
    if missing := [tag for tag in registry.tags() if tag not in listed]:
        raise RegistryError(
            f"{registry.address}: GitHub's list lacks the tag {missing[0]}, it was pushed just now; run it again"
        )
    marker = Marker(registry, versions)
    marker.mark(now - timedelta(days=older_than))
    counts = Counter(kept.kind for digest, kept in marker.kept.items() if digest in marker.versions)
    for version in versions:
        if version.digest in marker.kept:
            yield _line("keep", version, now, marker.kept[version.digest].why)
    # An index before its children: what is left of a broken run holds together.
    old = [version for version in versions if version.digest not in marker.kept]
    old.sort(key=lambda version: "manifests" not in marker.manifests[version.digest])
    done: Counter[str] = Counter()
    for version in old:
        word, why = _remove(package, version) if delete else ("would remove", "")
        done[word] += 1
        yield _line(word, version, now, why or _unused(version))
    details = ", ".join(f"{counts[kind]} {kind}" for kind in (TAGGED, REACHED, YOUNG, UNREADABLE) if counts[kind])
    verdict = ", ".join(f"{word} {done[word]}" for word in ("removed", "refused", "left"))
    if not delete:
        verdict = f"would remove {len(old)}, and does with --delete"
    yield f"{len(versions)} versions: kept {sum(counts.values())} ({details}); {verdict}"


def _remove(package: Package, version: Version) -> tuple[str, str]:
    """``removed``, ``refused`` (GitHub's rules) or ``left`` (it got a tag meanwhile), and why."""
    try:
        if names := package.version(version.id).names:
            return "left", f"tagged {', '.join(names)} meanwhile"
        package.delete(version)
    except GitHubError as error:
        if error.code == 404:
            return "removed", "was gone already"
        # More than 5000 downloads of a public image, or the last version with a tag; not a right that is missing.
        if error.code in (400, 422) or "cannot" in error.said.lower():
            return "refused", error.said or str(error)
        raise
    return "removed", ""


def _line(word: str, version: Version, now: datetime, why: str) -> str:
    return f"{word:<12} {version.digest} {(now - version.changed).days:>4} d  {why}"


def _unused(version: Version) -> str:
    return (
        f"attached to {', '.join(map(_short, version.subjects))}, in no use"
        if version.subjects
        else "no tag, in no use"
    )


def _subject(manifest: dict[str, Any]) -> str:
    return str((manifest.get("subject") or {}).get("digest", ""))


def _short(digest: str) -> str:
    return digest[:19]
