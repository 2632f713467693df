"""Known vulnerabilities of what an SBOM lists: ``python -m tools.audit SBOM``. Standard library only.

Asks OSV (https://osv.dev), or a server that speaks its API, for every Python and Debian package by its exact version.
What has a fix counts, unless ``audit.toml`` allows it until a day that has not passed; what has none is listed apart.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

SOURCE = "https://api.osv.dev"
BATCH = 500  # of the API's 1000 queries a request
ATTEMPTS = 3
FAILED = 3


class AuditError(ValueError):
    """The SBOM, the allow-list or the source of vulnerabilities is not what it should be."""


@dataclass(frozen=True)
class Package:
    """As OSV names it; ``component``: as the SBOM does."""

    component: str
    name: str
    ecosystem: str
    version: str


@dataclass(frozen=True)
class Vulnerability:
    id: str
    aliases: list[str]
    package: str
    version: str
    fixed: list[str]
    summary: str


@dataclass(frozen=True)
class Allowed:
    id: str
    package: str
    reason: str
    expires: date

    def covers(self, found: Vulnerability) -> bool:
        return self.package == found.package and self.id in (found.id, *found.aliases)


def packages(sbom: dict[str, Any]) -> list[Package]:
    """The Python and Debian packages of a CycloneDX document; Debian's go by their source package."""
    found = []
    for component in sbom.get("components", []):
        purl = str(component.get("purl", ""))
        name, version = component["name"], str(component.get("version", ""))
        if purl.startswith("pkg:pypi/"):
            found.append(Package(name, name, "PyPI", version))
        elif purl.startswith("pkg:deb/debian/"):
            said = {entry["name"]: entry["value"] for entry in component.get("properties", [])}
            release = purl.rpartition("distro=debian-")[2]
            source, source_version = said.get("debian:source", name), said.get("debian:source:version", version)
            found.append(Package(name, source, f"Debian:{release}", source_version))
    if not found:
        raise AuditError("the SBOM lists no Python or Debian package")
    return found


def allow_list(path: Path) -> list[Allowed]:
    """Raises AuditError on an entry that lacks a part: each needs a reason and a day."""
    try:
        entries = tomllib.loads(path.read_text()).get("allow", [])
        allowed = [Allowed(**entry) for entry in entries]
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise AuditError(f"{path} cannot be read: {error}") from error
    except TypeError as error:
        raise AuditError(f"{path}: each [[allow]] has id, package, reason, expires, and no more ({error})") from error
    for entry in allowed:
        if type(entry.expires) is not date or not entry.reason.strip():
            raise AuditError(f"{path}: {entry.id} needs a reason, and in `expires` a day such as 2030-06-30")
    return allowed


class Source:
    """A server with OSV's API."""

    def __init__(self, url: str, pause: float = 1.0) -> None:
        self.url = url.rstrip("/")
        self.pause = pause

    def affecting(self, asked: list[Package]) -> Iterable[tuple[Package, str]]:
        """Each package with the id of each vulnerability of its version."""
        pending: list[tuple[Package, str]] = [(package, "") for package in asked]
        while pending:
            batch, pending = pending[:BATCH], pending[BATCH:]
            queries = [
                {
                    "package": {"name": package.name, "ecosystem": package.ecosystem},
                    "version": package.version,
                    **({"page_token": token} if token else {}),
                }
                for package, token in batch
            ]
            answers = self._ask("/v1/querybatch", {"queries": queries})["results"]
            if len(answers) != len(batch):
                raise AuditError(f"{self.url} answered {len(answers)} of {len(batch)} queries")
            for (package, _), answer in zip(batch, answers, strict=True):
                for entry in answer.get("vulns", []):
                    yield package, entry["id"]
                if answer.get("next_page_token"):
                    pending.append((package, answer["next_page_token"]))

    def details(self, identity: str) -> dict[str, Any]:
        return self._ask(f"/v1/vulns/{identity}")

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": "application/json"})  # noqa: S310
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310 (the user's own URL)
                    return dict(json.load(response))
            except (OSError, ValueError) as error:
                if (isinstance(error, urllib.error.HTTPError) and error.code < 500) or attempt == ATTEMPTS:
                    raise AuditError(
                        f"{self.url} does not answer as OSV does ({error}): --vulnerability-source names another server"
                    ) from error
                time.sleep(self.pause * attempt)
        raise AssertionError


def audit(sbom: dict[str, Any], source: Source, allowed: list[Allowed], today: date) -> dict[str, Any]:
    """``vulnerabilities`` (they count), ``allowed``, ``unfixed``, ``expired`` entries and how many were ``checked``."""
    asked = packages(sbom)
    details: dict[str, dict[str, Any]] = {}
    found = []
    for package, identity in source.affecting(asked):
        if identity not in details:
            details[identity] = source.details(identity)
        if not details[identity].get("withdrawn"):
            found.append(_vulnerability(package, details[identity]))
    found.sort(key=lambda entry: (entry.package, entry.id))
    valid = [entry for entry in allowed if entry.expires >= today]
    accepted = [entry for entry in found if any(allow.covers(entry) for allow in valid)]
    others = [entry for entry in found if entry not in accepted]
    return {
        "source": source.url,
        "checked": len(asked),
        "vulnerabilities": [asdict(entry) for entry in others if entry.fixed],
        "unfixed": [asdict(entry) for entry in others if not entry.fixed],
        "allowed": [asdict(entry) for entry in accepted],
        "expired": [f"{entry.id} in {entry.package}" for entry in allowed if entry.expires < today],
    }


def _vulnerability(package: Package, details: dict[str, Any]) -> Vulnerability:
    fixed = {
        event["fixed"]
        for affected in details.get("affected", [])
        if affected.get("package", {}).get("name") == package.name
        and affected.get("package", {}).get("ecosystem") == package.ecosystem
        for interval in affected.get("ranges", [])
        if interval.get("type") == "ECOSYSTEM"
        for event in interval.get("events", [])
        if "fixed" in event
    }
    aliases = [*details.get("aliases", []), *details.get("upstream", [])]
    summary = details.get("summary") or details.get("details", "")[:120]
    return Vulnerability(details["id"], aliases, package.component, package.version, sorted(fixed), summary)


def main() -> int:
    """Exit code 0: asked and written; 3: something counts, with ``--fail``; 2: it could not be asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sbom", type=Path, help="CycloneDX, as tools.sbom writes it")
    parser.add_argument("--allow", type=Path, required=True, help="audit.toml")
    parser.add_argument("--source", default=SOURCE, help="a server with OSV's API (%(default)s)")
    parser.add_argument("--fail", action="store_true", help="end with exit code 3 where a vulnerability counts")
    parser.add_argument("--output", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    try:
        allowed = allow_list(options.allow)
        sbom = json.loads(options.sbom.read_text())
        result = audit(sbom, Source(options.source), allowed, date.today())
    except (AuditError, OSError, ValueError, KeyError) as error:
        print(f"audit: {error}", file=sys.stderr)
        return 2
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    for entry in result["vulnerabilities"]:
        print(f"{entry['id']} in {entry['package']} {entry['version']}: fixed in {', '.join(entry['fixed'])}")
    for entry in result["expired"]:
        print(f"the allowance of {entry} has expired")
    print(f"{result['checked']} packages: {len(result['vulnerabilities'])} vulnerabilities with a fix")
    return FAILED if options.fail and result["vulnerabilities"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
