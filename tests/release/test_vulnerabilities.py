"""Vulnerabilities: what osv-scanner is given, and what of its answers is an answer."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from release.artifacts import InputError, ToolError
from release.vulnerabilities import judge, mirror, read_accepted, scan, scan_copy

from .conftest import ROOT

TODAY = datetime.now(UTC).date()
SBOM = {
    "components": [
        {"type": "library", "name": "Flask", "purl": "pkg:pypi/Flask@3.0.3"},
        {"type": "library", "name": "typing_extensions", "purl": "pkg:pypi/typing_extensions@4.1"},
        {
            "type": "library",
            "name": "libssl3t64",
            "purl": "pkg:deb/debian/libssl3t64@3.5.9-1%2Bb1?arch=amd64&distro=debian-13.8&upstream=openssl%403.5.9-1",
        },
        {"type": "library", "name": "base-files", "purl": "pkg:deb/debian/base-files@13.8?arch=amd64&distro=debian-13"},
        {"type": "application", "name": "python", "version": "3.13.1", "purl": "pkg:generic/python@3.13.1"},
        {"type": "machine-learning-model", "name": "model.onnx"},
    ]
}


def test_packages_are_named_as_advisories_name_them() -> None:
    listed, unasked = scan_copy(SBOM)
    assert [package["purl"] for package in listed] == [
        "pkg:pypi/flask@3.0.3",  # REVIEW 1: names are compared letter by letter
        "pkg:pypi/typing-extensions@4.1",
        "pkg:deb/debian/openssl@3.5.9-1?arch=source&distro=debian-13",
        "pkg:deb/debian/base-files@13.8?arch=source&distro=debian-13",
    ]
    assert unasked == ["python 3.13.1"]


@pytest.mark.parametrize(
    "purl",
    [
        "pkg:apk/alpine/musl@1.2",
        "pkg:rpm/fedora/bash@5",
        "pkg:deb/ubuntu/bash@5?distro=ubuntu-24.04",
        "pkg:deb/debian/bash@5",
        "pkg:deb/debian/bash@5?distro=debian-sid",
        "pkg:deb/debian/bash?distro=debian-13",
        "pkg:pypi/flask",
    ],
)
def test_a_package_that_would_be_passed_over_is_no_clean_one(purl: str) -> None:
    with pytest.raises(InputError):
        scan_copy({"components": [{"type": "library", "name": "x", "purl": purl}]})


def test_an_sbom_without_packages_is_no_clean_one() -> None:
    empty: list[dict[str, Any]] = [{}, {"components": []}, {"components": [{"type": "library", "name": "flask"}]}]
    for sbom in empty:
        with pytest.raises(InputError, match="lists no"):
            scan_copy(sbom)


def answer(*holes: dict[str, Any], package: str = "flask", ecosystem: str = "PyPI") -> dict[str, Any]:
    packages = [{"package": {"name": package, "version": "1", "ecosystem": ecosystem}, "vulnerabilities": list(holes)}]
    return {"results": [{"packages": packages if holes else []}]}


def hole(name: str = "Flask", ecosystem: str = "PyPI", kind: str = "ECOSYSTEM", **event: str) -> dict[str, Any]:
    ranges = [{"type": kind, "events": [{"introduced": "0"}, event]}]
    return {"id": "CVE-1", "affected": [{"package": {"name": name, "ecosystem": ecosystem}, "ranges": ranges}]}


@pytest.mark.parametrize(
    ("found", "fixed"),
    [
        (answer(hole(fixed="3.1.0")), ["3.1.0"]),
        (answer(hole(fixed="3.1.0"), package="Flask"), ["3.1.0"]),
        (answer(hole("typing_extensions", fixed="2"), package="Typing.Extensions"), ["2"]),
        (answer(hole(last_affected="3.0")), []),
        (answer(hole(kind="GIT", fixed="0a1b2c")), []),
        (answer(hole("openssl", "Debian:13", fixed="9-1"), package="openssl", ecosystem="Debian:13"), ["9-1"]),
        (answer(hole("openssl", "Debian", fixed="9-1"), package="openssl", ecosystem="Debian:13"), ["9-1"]),
        # fixed in another release of Debian alone: of this one it says nothing, and that counts
        (answer(hole("openssl", "Debian:12", fixed="9-1"), package="openssl", ecosystem="Debian:13"), ["?"]),
        (answer({"id": "CVE-1"}), ["?"]),
    ],
)
def test_what_has_a_fix_counts(tmp_path: Path, found: dict[str, Any], fixed: list[str]) -> None:
    (tmp_path / "osv.json").write_text(json.dumps(found))
    assert [one["fixed"] for one in judge(1, "", tmp_path / "osv.json")] == [fixed]


HOLED = answer(hole(fixed="2"))


@pytest.mark.parametrize(
    ("code", "stderr", "written"),
    [
        *((code, "", answer()) for code in (2, 126, 127, 128, 130, -9, 1)),
        (127, "", HOLED),
        (0, "", HOLED),
        (0, "Error during extraction: (extracting as vulnmatch/osvlocal) no database", answer()),
        (1, "Error during extraction: (extracting as vulnmatch/osvlocal) no database", HOLED),
        *((0, "", text) for text in (None, "", "[]", "{}", '{"results": 1}', '{"results": [{}]}')),
        (1, "", '{"results": [{"packages": [{"vulnerabilities": [{"id": "CVE-1"}]}]}]}'),
    ],
)
def test_only_a_whole_answer_is_one(tmp_path: Path, code: int, stderr: str, written: Any) -> None:
    if written is not None:
        (tmp_path / "osv.json").write_text(written if isinstance(written, str) else json.dumps(written))
    with pytest.raises(ToolError, match="osv-scanner"):
        judge(code, stderr, tmp_path / "osv.json")


def test_nothing_found_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "osv.json").write_text('{"results": []}')
    assert judge(0, "", tmp_path / "osv.json") == []


def entry(until: str, *lines: str) -> str:
    return "\n".join(["[[IgnoredVulns]]", 'id = "CVE-1"', f"ignoreUntil = {until}", 'reason = "so"', *lines])


@pytest.mark.parametrize(
    "text",
    [
        entry(str(TODAY + timedelta(days=91))),
        entry('"2026-01-01"'),
        entry("2026-01-01T00:00:00Z"),
        entry(str(TODAY), 'package = "x"'),
        '[[IgnoredVulns]]\nid = "CVE-1"',
        f'[[IgnoredVulns]]\nid = "CVE-1"\nignoreUntil = {TODAY}\nreason = " "',
        '[[PackageOverrides]]\nname = "flask"\nignore = true',
        "[",
    ],
)
def test_an_exception_needs_a_reason_and_a_day_at_most_90_ahead(tmp_path: Path, text: str) -> None:
    (tmp_path / "osv-scanner.toml").write_text(text)
    with pytest.raises(InputError, match=r"osv-scanner\.toml"):
        read_accepted(tmp_path / "osv-scanner.toml", TODAY)


def test_exceptions_of_this_project_are_in_order() -> None:
    read_accepted(ROOT / "osv-scanner.toml", TODAY)


def database(folder: Path, ecosystem: str, *records: dict[str, Any]) -> None:
    path = folder / "osv-scalibr" / ecosystem / "all.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for number, record in enumerate(records):
            archive.writestr(f"{number}.json", json.dumps(record))


def test_a_mirrored_database_has_normal_names(tmp_path: Path) -> None:
    database(
        tmp_path / "from",
        "PyPI",
        {"id": "1", "affected": [{"package": {"name": "Typing_Extensions", "ecosystem": "PyPI"}}]},
    )
    mirror(tmp_path / "from", tmp_path / "to", "PyPI")
    with zipfile.ZipFile(tmp_path / "to/osv-scalibr/PyPI/all.zip") as archive:
        assert json.loads(archive.read("0.json"))["affected"][0]["package"]["name"] == "typing-extensions"


STAND_IN = """#!/bin/sh
for word; do case $before in --output-file) printf '%s' '{"results": []}' > "$word";; esac; before=$word; done
echo "$@" > "$CALLED"
"""


@pytest.fixture
def scanner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An osv-scanner that finds nothing and says how it was called."""
    path = tmp_path / "bin" / "osv-scanner"
    path.parent.mkdir()
    path.write_text(STAND_IN)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    monkeypatch.setenv("CALLED", str(tmp_path / "called"))
    return tmp_path / "called"


def config(tmp_path: Path, until: date = TODAY) -> Path:
    path = tmp_path / "osv-scanner.toml"
    path.write_text(entry(str(until)))
    return path


def test_a_scan(tmp_path: Path, scanner: Path) -> None:
    found = scan(SBOM, config(tmp_path))
    assert (found["error"], found["packages"], found["counts"]) == ("", 4, [])
    assert [one["id"] for one in found["accepted"]] == ["CVE-1"]
    assert scan(SBOM, config(tmp_path, TODAY - timedelta(days=1)))["expired"]
    assert "--config" in scanner.read_text()
    assert "--offline" not in scanner.read_text()


@pytest.mark.parametrize(
    ("ecosystems", "whole"), [(["PyPI", "Debian"], True), (["PyPI"], False), (["Debian"], False), ([], False)]
)
def test_a_database_has_every_ecosystem(tmp_path: Path, scanner: Path, ecosystems: list[str], whole: bool) -> None:
    for ecosystem in ecosystems:
        database(tmp_path / "db", ecosystem, {"id": "1"})
    if whole:
        assert scan(SBOM, config(tmp_path), tmp_path / "db")["asked"] == "local database"
        assert "--offline --local-db-path" in scanner.read_text()
        return
    with pytest.raises(InputError, match="mirror OSV's database"):
        scan(SBOM, config(tmp_path), tmp_path / "db")
    assert not scanner.exists()


def test_an_empty_database_is_none(tmp_path: Path, scanner: Path) -> None:
    database(tmp_path / "db", "PyPI")
    database(tmp_path / "db", "Debian", {"id": "1"})
    with pytest.raises(InputError, match="it is empty"):
        scan(SBOM, config(tmp_path), tmp_path / "db")


def test_no_scanner_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="cannot be run"):
        scan(SBOM, config(tmp_path))
