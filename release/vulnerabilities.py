"""Known vulnerabilities of what an SBOM lists, asked by osv-scanner so that it misses none in silence: ``osv.json``."""

import json
import re
import tempfile
import tomllib
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from packageurl import PackageURL
from packaging.utils import canonicalize_name

from release.artifacts import InputError, Output, ToolError, read_file, run_tool, write_json

MOST = timedelta(days=90)
ECOSYSTEMS = {"pypi": "PyPI", "deb": "Debian"}
DISTRIBUTIONS = ("deb", "apk", "rpm", "alpm")  # with advisories that the scan does not ask for


def vulnerabilities(
    document: Path, output: Output, config: Path = Path("osv-scanner.toml"), database: Path | None = None
) -> list[str]:
    """Ask osv-scanner about an SBOM; write osv.json, also where it could not be asked. 3: something counts.

    With DATABASE, a copy of OSV's, nothing is asked outside. CONFIG lists what is accepted, each until a day.
    """
    try:
        accepted = read_accepted(config, datetime.now(UTC).date())
        listed, unasked = as_matched(read_file(document))
        failed, unfixed = judge(scan(listed, config, database))
    except (InputError, ToolError, AttributeError, TypeError, ValueError) as error:
        write_json(output, {"error": str(error)})
        raise error if isinstance(error, ToolError) else InputError(f"{error} (of {document} or {config})") from error
    found = {"failed": failed, "unfixed": unfixed, "accepted": accepted, "packages": len(listed), "unasked": unasked}
    write_json(output, found | {"asked": "local database" if database else "api.osv.dev"})
    print(f"{len(listed)} packages: {len(failed)} with a fix, {len(unfixed)} without")
    return failed


def scan(listed: list[PackageURL], config: Path, database: Path | None) -> CompletedProcess[str]:
    """What osv-scanner says of packages. Raises InputError, ToolError."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "scan.cdx.json"
        components = [{"type": "library", "name": one.name, "version": one.version, "purl": str(one)} for one in listed]
        write_json(copy, {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components})
        command = ["osv-scanner", "scan", "source", "-L", str(copy), "--config", str(config), "--format", "json"]
        if database is not None:
            command += ["--offline", "--local-db-path", folder]
            for kind in sorted({one.type for one in listed}):
                name = f"osv-scalibr/{ECOSYSTEMS[kind]}/all.zip"  # where osv-scanner 2.6 looks for it
                mirror(database / name, Path(folder) / name)
        return run_tool(*command, codes=(0, 1))


def read_accepted(path: Path, today: date) -> list[dict[str, Any]]:
    """The entries of ``osv-scanner.toml`` that are in force ``today``. Raises InputError on any other than these.

    The scanner itself takes an entry without a reason and for ever, and knows other ways to leave packages out.
    """
    content = read_file(path, tomllib.loads)
    entries: list[dict[str, Any]] = content.pop("IgnoredVulns", [])
    for entry in [content, *entries] if content else entries:
        whole = set(entry) == {"id", "ignoreUntil", "reason"} and str(entry["reason"]).strip()
        if not whole or type(entry["ignoreUntil"]) is not date or entry["ignoreUntil"] > today + MOST:
            wanted = f"id, reason and ignoreUntil, a day at most {MOST.days} days ahead"
            raise InputError(f"{path}: only [[IgnoredVulns]] with {wanted}, are taken, not {entry}")
    return [entry | {"ignoreUntil": str(entry["ignoreUntil"])} for entry in entries if entry["ignoreUntil"] >= today]


def as_matched(sbom: dict[str, Any]) -> tuple[list[PackageURL], list[str]]:
    """Packages as the scanner knows them (Debian's by source and release number alone), and names of what it does not.

    Raises InputError where the SBOM lists no package, or one that the scanner would pass over.
    """
    listed, unasked = [], []
    for component in sbom.get("components", []):
        purl = PackageURL.from_string(component.get("purl") or "pkg:none/none")
        release = re.fullmatch(r"debian-(\d+)(\.\d+)*", str(purl.qualifiers.get("distro", "")))
        source, _, version = str(purl.qualifiers.get("upstream", "")).partition("@")
        if purl.type in ("pypi", *DISTRIBUTIONS) and not purl.version:
            raise InputError(f"{purl} tells no version: scan the image again")
        if purl.type == "pypi":
            listed.append(PackageURL("pypi", None, canonicalize_name(purl.name), purl.version))
        elif (purl.type, purl.namespace) == ("deb", "debian") and release:
            about = {"arch": "source", "distro": f"debian-{release[1]}"}
            listed.append(PackageURL("deb", "debian", source or purl.name, version or purl.version, about))
        elif purl.type in DISTRIBUTIONS:
            raise InputError(f"{purl} is of no release of Debian, and other distributions are not scanned")
        elif component.get("type") in ("application", "library"):
            unasked.append(f"{component.get('name')} {component.get('version', '')}".strip())
    if not listed:
        raise InputError("the SBOM lists no Python or Debian package: scan the image again")
    return listed, unasked


def mirror(source: Path, copy: Path) -> None:
    """Copy advisories, Python's names in normal form: the scanner compares them by letter. Raises InputError."""
    copy.parent.mkdir(parents=True)
    try:
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(copy, "w") as new:
            for name in old.namelist():
                record = json.loads(old.read(name))
                for package in [affected.get("package", {}) for affected in record.get("affected", [])]:
                    if str(package.get("ecosystem", "")).startswith("PyPI"):
                        package["name"] = canonicalize_name(package["name"])
                new.writestr(name, json.dumps(record))
            if not old.namelist():
                raise ValueError("it is empty")
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{source} cannot be read ({error}): mirror OSV's database") from error


def judge(done: CompletedProcess[str]) -> tuple[list[str], list[str]]:
    """What the scanner found, a line each: with a fix, and without. Raises ToolError where that is no whole answer."""
    found: dict[bool, list[str]] = {True: [], False: []}
    try:
        for one in [package for result in json.loads(done.stdout)["results"] for package in result["packages"]]:
            for hole in one.get("vulnerabilities") or []:
                fixes = _fixes(one["package"], hole)
                line = f"{hole['id']} in {one['package']['name']} {one['package']['version']}"
                found[bool(fixes)].append(f"{line}: {f'fixed in {fixes}' if fixes else 'no fix'}")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ToolError(f"osv-scanner's answer cannot be read ({error!r})") from error
    # An extractor that stumbled leaves its packages out, at times with the exit code of a whole answer.
    holes = len(found[True] + found[False])
    if "extracting as vulnmatch/" in done.stderr or done.returncode != bool(holes):
        told = f"osv-scanner ended with {done.returncode} and lists {holes} vulnerabilities"
        raise ToolError(f"{told}: {' '.join(done.stderr.split())}")
    return sorted(found[True]), sorted(found[False])


def _fixes(package: dict[str, str], hole: dict[str, Any]) -> str:
    """The versions that fix it; "?" where the advisory says nothing of this very package."""
    name, ecosystem = canonicalize_name(package["name"]), package["ecosystem"]
    same = [(name, ecosystem), (name, ecosystem.partition(":")[0])]
    told = [(one["package"], one.get("ranges") or []) for one in hole.get("affected") or []]
    about = [ranges for named, ranges in told if (canonicalize_name(named["name"]), named["ecosystem"]) in same]
    events = [event for ranges in about for one in ranges if one.get("type") != "GIT" for event in one["events"]]
    return ", ".join(sorted({event["fixed"] for event in events if "fixed" in event})) if about else "?"
