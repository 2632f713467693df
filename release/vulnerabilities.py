"""Known vulnerabilities of what an SBOM lists, asked by osv-scanner: ``osv.json``.

Two ways in which the scanner would find too little without a word are mended on the way: it knows Debian's packages by
their source packages and release number alone, and offline it compares Python's names letter by letter.
"""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from packageurl import PackageURL

from release.artifacts import InputError, ToolError, last_line, package_name, read_json, read_toml, run_tool

MOST_DAYS = 90
FOLDER = "osv-scalibr"  # where osv-scanner 2.6 looks for a local database
# Of other distributions there are advisories that would not be looked for.
UNCOVERED = {"apk", "rpm", "alpm", "deb"}


def read_accepted(path: Path, today: date) -> list[dict[str, Any]]:
    """The entries of ``osv-scanner.toml``. Raises InputError on one without reason or day, or over 90 days ahead.

    The scanner itself takes an entry without either, for ever, and knows other ways to leave packages out.
    """
    content = read_toml(path)
    if others := set(content) - {"IgnoredVulns"}:
        raise InputError(f"{path}: {', '.join(sorted(others))} is not taken, [[IgnoredVulns]] alone")
    entries: list[dict[str, Any]] = content.get("IgnoredVulns", [])
    for entry in entries:
        until = entry.get("ignoreUntil")
        if set(entry) != {"id", "ignoreUntil", "reason"} or not str(entry["reason"]).strip() or type(until) is not date:
            raise InputError(f"{path}: each [[IgnoredVulns]] has id, reason and ignoreUntil (a day), not {entry}")
        if until > today + timedelta(days=MOST_DAYS):
            raise InputError(f"{path}: {entry['id']} is accepted until {until}; at most {MOST_DAYS} days ahead")
    return [{**entry, "ignoreUntil": str(entry["ignoreUntil"])} for entry in entries]


def scan_copy(sbom: dict[str, Any]) -> tuple[list[dict[str, str]], list[str]]:
    """The SBOM's packages as osv-scanner matches them, and the names of what no advisory is looked for.

    Raises InputError where it lists no package, or one that the scanner would pass over.
    """
    listed, unasked = [], []
    for component in sbom.get("components", []):
        text = str(component.get("purl") or "")
        purl = _as_matched(PackageURL.from_string(text)) if text else None
        if purl is not None:
            if not purl.version:
                raise InputError(f"{text} tells no version: scan the image again")
            listed.append({"type": "library", "name": purl.name, "version": purl.version, "purl": str(purl)})
        elif component.get("type") in ("application", "library"):
            unasked.append(f"{component.get('name')} {component.get('version', '')}".strip())
    if not listed:
        raise InputError("the SBOM lists no Python or Debian package: scan the image again")
    return listed, unasked


def _as_matched(purl: PackageURL) -> PackageURL | None:
    """Python by the normal name, Debian by the source package and the number of the release; None: not asked for."""
    if purl.type == "pypi":
        return PackageURL("pypi", None, package_name(purl.name), purl.version)
    if purl.type not in UNCOVERED:
        return None
    release = re.fullmatch(r"debian-(\d+)(\.\d+)*", str(purl.qualifiers.get("distro", "")))
    if (purl.type, purl.namespace) != ("deb", "debian") or release is None:
        raise InputError(f"{purl} is of no release of Debian, and other distributions are not scanned")
    source, _, version = str(purl.qualifiers.get("upstream", "")).partition("@")
    qualifiers = {"arch": "source", "distro": f"debian-{release[1]}"}
    return PackageURL("deb", "debian", source or purl.name, version or purl.version, qualifiers)


def mirror(database: Path, target: Path, ecosystem: str) -> None:
    """Copy a local database with Python's names in their normal form. Raises InputError where it is not whole."""
    source, copy = (folder / FOLDER / ecosystem / "all.zip" for folder in (database, target))
    copy.parent.mkdir(parents=True)
    try:
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(copy, "w") as new:
            for name in old.namelist():
                record = json.loads(old.read(name))
                for package in [affected.get("package", {}) for affected in record.get("affected", [])]:
                    if str(package.get("ecosystem", "")).startswith("PyPI"):
                        package["name"] = package_name(package["name"])
                new.writestr(name, json.dumps(record))
            if not old.namelist():
                raise ValueError("it is empty")
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{source} cannot be read ({error}): mirror OSV's database of {ecosystem}") from error


def scan(sbom: dict[str, Any], config: Path, database: Path | None = None) -> dict[str, Any]:
    """``osv.json``: ``counts`` has a fix and is not accepted, ``unfixed`` has none, ``accepted`` is by the config.

    Raises InputError on an SBOM, a config or a database that cannot be used, ToolError where the scanner fails.
    """
    today = datetime.now(UTC).date()
    accepted = read_accepted(config, today)
    listed, unasked = scan_copy(sbom)
    with tempfile.TemporaryDirectory() as folder:
        copy, written = Path(folder) / "scan.cdx.json", Path(folder) / "osv.json"
        document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": listed}
        copy.write_text(json.dumps(document))
        command = ["osv-scanner", "scan", "source", "-L", str(copy), "--config", str(config)]
        command += ["--format", "json", "--output-file", str(written)]
        if database is not None:
            for kind, ecosystem in {"pkg:pypi/": "PyPI", "pkg:deb/": "Debian"}.items():
                if any(package["purl"].startswith(kind) for package in listed):
                    mirror(database, Path(folder), ecosystem)
            command += ["--offline", "--local-db-path", folder]
        done = run_tool(*command)
        found = judge(done.returncode, done.stderr, written)
    return {
        "error": "",
        "asked": "local database" if database else "api.osv.dev",
        "packages": len(listed),
        "unasked": unasked,
        "counts": [hole for hole in found if hole["fixed"]],
        "unfixed": [hole for hole in found if not hole["fixed"]],
        "accepted": [entry for entry in accepted if entry["ignoreUntil"] >= str(today)],
        "expired": [entry for entry in accepted if entry["ignoreUntil"] < str(today)],
    }


def judge(code: int, stderr: str, written: Path) -> list[dict[str, Any]]:
    """What the scanner found. Raises ToolError where that is not a whole answer."""
    # An extractor that stumbled leaves its packages out, at times with the exit code of a whole answer.
    if code not in (0, 1) or "extracting as vulnmatch/" in stderr:
        raise ToolError(f"osv-scanner ended with {code}: {last_line(stderr)}")
    try:
        packages = [package for result in read_json(written)["results"] or [] for package in result["packages"]]
        found = [_hole(one["package"], hole) for one in packages for hole in one.get("vulnerabilities") or []]
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise ToolError(f"osv-scanner's answer cannot be read ({error!r})") from error
    if (code == 1) != bool(found):
        raise ToolError(f"osv-scanner ended with {code} and lists {len(found)} vulnerabilities")
    return sorted(found, key=lambda hole: (hole["package"], hole["id"]))


def _hole(package: dict[str, str], hole: dict[str, Any]) -> dict[str, Any]:
    """A vulnerability with the versions that fix it; "?" where the advisory says nothing of this very package."""
    ecosystems = (package["ecosystem"], package["ecosystem"].partition(":")[0])
    about = [
        affected
        for affected in hole.get("affected") or []
        if package_name(affected["package"]["name"]) == package_name(package["name"])
        and affected["package"]["ecosystem"] in ecosystems
    ]
    ranges = [one for affected in about for one in affected.get("ranges") or [] if one.get("type") != "GIT"]
    fixed = sorted({event["fixed"] for one in ranges for event in one.get("events") or [] if "fixed" in event})
    return {
        "id": hole["id"],
        "package": package["name"],
        "version": package["version"],
        "fixed": fixed if about else ["?"],
    }
