"""Known vulnerabilities of what an SBOM lists, asked by osv-scanner: ``osv.json``.

Two ways in which the scanner would silently find too little are mended on the way: it knows Debian's packages by
their source packages and release number alone, and offline it compares Python's names letter by letter.
"""

import json
import re
import tempfile
import tomllib
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from packageurl import PackageURL
from packaging.utils import canonicalize_name

from release.artifacts import InputError, Output, ToolError, read_file, run_tool, write_json

MOST = timedelta(days=90)
ECOSYSTEMS = {"pkg:pypi": "PyPI", "pkg:deb": "Debian"}
# Other distributions have advisories too, which would not be looked for.
DISTRIBUTIONS = {"apk", "rpm", "alpm", "deb"}


def vulnerabilities(
    document: Path, output: Output, config: Path = Path("osv-scanner.toml"), database: Path | None = None
) -> list[str]:
    """Ask osv-scanner about an SBOM; write osv.json, also where it could not be asked. 3: something counts.

    With DATABASE, a copy of OSV's, nothing is asked outside. CONFIG lists what is accepted, each until a day.
    """
    try:
        found = scan(read_file(document), config, database)
    except (InputError, ToolError) as error:
        write_json(output, {"error": str(error)})
        raise
    write_json(output, found)
    print(f"{found['packages']} packages: {len(found['counts'])} with a fix, {len(found['unfixed'])} without")
    return [f"{hole['id']} in {hole['package']}: fixed in {', '.join(hole['fixed'])}" for hole in found["counts"]]


def scan(sbom: dict[str, Any], config: Path, database: Path | None = None) -> dict[str, Any]:
    """``osv.json``: ``counts`` has a fix and is not accepted, ``unfixed`` has none, ``accepted`` is by the config.

    Raises InputError on an SBOM, a config or a database that cannot be used, ToolError where the scanner fails.
    """
    accepted = read_accepted(config, datetime.now(UTC).date())
    listed, unasked = scan_copy(sbom)
    with tempfile.TemporaryDirectory() as folder:
        copy, written = Path(folder) / "scan.cdx.json", Path(folder) / "osv.json"
        write_json(copy, {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": listed})
        command = ["osv-scanner", "scan", "source", "-L", str(copy), "--config", str(config)]
        command += ["--format", "json", "--output-file", str(written)]
        if database is not None:
            for kind in {package["purl"].partition("/")[0] for package in listed}:
                # The folder in which osv-scanner 2.6 looks for a local database.
                name = f"osv-scalibr/{ECOSYSTEMS[kind]}/all.zip"
                mirror(database / name, Path(folder) / name)
            command += ["--offline", "--local-db-path", folder]
        done = run_tool(*command, codes=(0, 1))
        found = judge(done.returncode, done.stderr, written)
    about = {"error": "", "asked": "local database" if database else "api.osv.dev", "packages": len(listed)}
    counts, unfixed = ([hole for hole in found if bool(hole["fixed"]) == fixed] for fixed in (True, False))
    return {**about, "unasked": unasked, "counts": counts, "unfixed": unfixed, "accepted": accepted}


def read_accepted(path: Path, today: date) -> list[dict[str, Any]]:
    """The entries of ``osv-scanner.toml`` that hold ``today``.

    Raises InputError on one without a reason or a day, or with one over 90 days ahead: the scanner itself takes an
    entry without either, for ever, and knows other ways to leave packages out.
    """
    content = read_file(path, tomllib.loads)
    if others := set(content) - {"IgnoredVulns"}:
        raise InputError(f"{path}: {', '.join(sorted(others))} is not taken, [[IgnoredVulns]] alone")
    entries: list[dict[str, Any]] = content.get("IgnoredVulns", [])
    for entry in entries:
        whole = set(entry) == {"id", "ignoreUntil", "reason"} and str(entry["reason"]).strip()
        if not whole or type(entry["ignoreUntil"]) is not date or entry["ignoreUntil"] > today + MOST:
            wanted = f"id, reason and ignoreUntil, a day at most {MOST.days} days ahead"
            raise InputError(f"{path}: each [[IgnoredVulns]] has {wanted}, not {entry}")
    return [entry | {"ignoreUntil": str(entry["ignoreUntil"])} for entry in entries if entry["ignoreUntil"] >= today]


def scan_copy(sbom: dict[str, Any]) -> tuple[list[dict[str, str]], list[str]]:
    """The SBOM's packages as osv-scanner matches them, and the names of what no advisory is looked for.

    Raises InputError where it lists no package, or one that the scanner would pass over.
    """
    listed, unasked = [], []
    for component in sbom.get("components", []):
        purl = PackageURL.from_string(component["purl"]) if component.get("purl") else None
        if purl and purl.type in ("pypi", *DISTRIBUTIONS):
            named = _as_matched(purl)
            if not named.version:
                raise InputError(f"{purl} tells no version: scan the image again")
            listed.append({"type": "library", "name": named.name, "version": named.version, "purl": str(named)})
        elif component.get("type") in ("application", "library"):
            unasked.append(f"{component.get('name')} {component.get('version', '')}".strip())
    if not listed:
        raise InputError("the SBOM lists no Python or Debian package: scan the image again")
    return listed, unasked


def _as_matched(purl: PackageURL) -> PackageURL:
    """Python by the normal name, Debian by the source package and the number of the release."""
    if purl.type == "pypi":
        return PackageURL("pypi", None, canonicalize_name(purl.name), purl.version)
    release = re.fullmatch(r"debian-(\d+)(\.\d+)*", str(purl.qualifiers.get("distro", "")))
    if (purl.type, purl.namespace) != ("deb", "debian") or release is None:
        raise InputError(f"{purl} is of no release of Debian, and other distributions are not scanned")
    source, _, version = str(purl.qualifiers.get("upstream", "")).partition("@")
    about = {"arch": "source", "distro": f"debian-{release[1]}"}
    return PackageURL("deb", "debian", source or purl.name, version or purl.version, about)


def mirror(source: Path, copy: Path) -> None:
    """Copy an ecosystem's advisories with Python's names in normal form. Raises InputError where they are not whole."""
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


def judge(code: int, stderr: str, written: Path) -> list[dict[str, Any]]:
    """What the scanner found. Raises ToolError where that is not a whole answer."""
    # An extractor that stumbled leaves its packages out, at times with the exit code of a whole answer.
    if "extracting as vulnmatch/" in stderr:
        raise ToolError(f"osv-scanner left packages out, as it ended with {code}: {' '.join(stderr.split())}")
    try:
        packages = [package for result in read_file(written)["results"] or [] for package in result["packages"]]
        found = [_hole(one["package"], hole) for one in packages for hole in one.get("vulnerabilities") or []]
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise ToolError(f"osv-scanner's answer cannot be read ({error!r})") from error
    if code != bool(found):
        raise ToolError(f"osv-scanner ended with {code} and lists {len(found)} vulnerabilities")
    return sorted(found, key=lambda hole: (hole["package"], hole["id"]))


def _hole(package: dict[str, str], hole: dict[str, Any]) -> dict[str, Any]:
    """A vulnerability with the versions that fix it; "?" where the advisory says nothing of this very package."""
    name, ecosystem = canonicalize_name(package["name"]), package["ecosystem"]
    same = [(name, ecosystem), (name, ecosystem.partition(":")[0])]
    told = [(one["package"], one.get("ranges") or []) for one in hole.get("affected") or []]
    about = [ranges for named, ranges in told if (canonicalize_name(named["name"]), named["ecosystem"]) in same]
    events = [event for ranges in about for one in ranges if one.get("type") != "GIT" for event in one["events"]]
    fixed = sorted({event["fixed"] for event in events if "fixed" in event}) if about else ["?"]
    return {"id": hole["id"], "package": package["name"], "version": package["version"], "fixed": fixed}
