"""Vulnerabilities: what osv-scanner is given, and what of its answers is an answer."""

import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from release.artifacts import InputError, ToolError
from release.vulnerabilities import as_matched, judge, read_accepted, scan

from .conftest import ROOT

TODAY = datetime.now(UTC).date()
OPENSSL = "pkg:deb/debian/libssl3t64@3.5.9-1%2Bb1?arch=amd64&distro=debian-13.8&upstream=openssl%403.5.9-1"
PURLS = {
    "pkg:pypi/Flask@3.0.3": "pkg:pypi/flask@3.0.3",  # REVIEW 1: names are compared letter by letter
    "pkg:pypi/typing_extensions@4.1": "pkg:pypi/typing-extensions@4.1",
    OPENSSL: "pkg:deb/debian/openssl@3.5.9-1?arch=source&distro=debian-13",
    "pkg:deb/debian/base-files@13?distro=debian-13": "pkg:deb/debian/base-files@13?arch=source&distro=debian-13",
}
PYTHON = {"type": "application", "name": "python", "version": "3.13.1", "purl": "pkg:generic/python@3.13.1"}
MODEL = {"type": "machine-learning-model", "name": "model.onnx"}


def sbom(*purls: str, others: tuple[dict[str, Any], ...] = (PYTHON, MODEL)) -> dict[str, Any]:
    return {"components": [*({"type": "library", "name": "x", "purl": purl} for purl in purls), *others]}


def test_packages_are_named_as_advisories_name_them() -> None:
    listed, unasked = as_matched(sbom(*PURLS))
    assert [str(purl) for purl in listed] == list(PURLS.values())
    assert unasked == ["python 3.13.1"]


PASSED_OVER = "pkg:apk/alpine/musl@1.2 pkg:rpm/fedora/bash@5 pkg:deb/ubuntu/bash@5?distro=ubuntu-24.04 pkg:pypi/flask"
PASSED_OVER += " pkg:deb/debian/bash@5 pkg:deb/debian/bash@5?distro=debian-sid pkg:deb/debian/bash?distro=debian-13"


def test_a_package_that_would_be_passed_over_is_no_clean_one() -> None:
    for purls in ([], [""], *([purl] for purl in PASSED_OVER.split())):
        with pytest.raises(InputError, match=r"tells no version|is of no release|lists no"):
            as_matched(sbom(*purls))


def answer(*holes: dict[str, Any], package: str = "flask", ecosystem: str = "PyPI") -> dict[str, Any]:
    packages = [{"package": {"name": package, "version": "1", "ecosystem": ecosystem}, "vulnerabilities": list(holes)}]
    return {"results": [{"packages": packages if holes else []}]}


def hole(name: str = "Flask", ecosystem: str = "PyPI", kind: str = "ECOSYSTEM", **event: str) -> dict[str, Any]:
    ranges = [{"type": kind, "events": [{"introduced": "0"}, event]}]
    return {"id": "CVE-1", "affected": [{"package": {"name": name, "ecosystem": ecosystem}, "ranges": ranges}]}


def of_openssl(ecosystem: str) -> dict[str, Any]:
    return answer(hole("openssl", ecosystem, fixed="9-1"), package="openssl", ecosystem="Debian:13")


FIXES = [
    (answer(hole(fixed="3.1.0")), "fixed in 3.1.0"),
    (answer(hole("typing_extensions", fixed="2"), package="Typing.Extensions"), "fixed in 2"),
    (answer(hole(last_affected="3.0")), "no fix"),
    (answer(hole(kind="GIT", fixed="0a1b2c")), "no fix"),
    (of_openssl("Debian:13"), "fixed in 9-1"),
    (of_openssl("Debian"), "fixed in 9-1"),
    # fixed in another release of Debian alone: of this one it says nothing, and that counts
    (of_openssl("Debian:12"), "fixed in ?"),
    (answer({"id": "CVE-1"}), "fixed in ?"),
]


def ended(code: int, stdout: str, stderr: str = "") -> CompletedProcess[str]:
    return CompletedProcess("osv-scanner", code, stdout, stderr)


@pytest.mark.parametrize(("found", "fixed"), FIXES)
def test_what_has_a_fix_counts(found: Any, fixed: str) -> None:
    failed, unfixed = judge(ended(1, json.dumps(found)))
    assert [line.partition(": ")[2] for line in (unfixed if fixed == "no fix" else failed)] == [fixed]
    assert len(failed + unfixed) == 1


NOTHING, HOLED = json.dumps(answer()), json.dumps(answer(hole(fixed="2")))
NO_DATABASE = "Error during extraction: (extracting as vulnmatch/osvlocal) no database"


NO_ANSWERS: list[tuple[int, str, str]] = [
    *((code, NOTHING, "") for code in (2, 126, 127, 128, 130, -9, 1)),
    *((code, HOLED, "") for code in (0, 127)),
    *((code, written, NO_DATABASE) for code, written in ((0, NOTHING), (1, HOLED))),
    *((0, text, "") for text in ("", "[]", "{}", '{"results": 1}', '{"results": [{}]}')),
    (1, '{"results": [{"packages": [{"vulnerabilities": [{"id": "CVE-1"}]}]}]}', ""),
]


@pytest.mark.parametrize(("code", "stdout", "stderr"), NO_ANSWERS)
def test_only_a_whole_answer_is_one(code: int, stdout: str, stderr: str) -> None:
    with pytest.raises(ToolError, match="osv-scanner"):
        judge(ended(code, stdout, stderr))


def entry(until: Any, reason: str = "so", *lines: str) -> str:
    return "\n".join(["[[IgnoredVulns]]", 'id = "CVE-1"', f"ignoreUntil = {until}", f'reason = "{reason}"', *lines])


NO_EXCEPTIONS = [entry(TODAY + timedelta(days=91)), entry('"2026-01-01"'), entry("2026-01-01T00:00:00Z"), "["]
NO_EXCEPTIONS += [entry(TODAY, "so", 'package = "x"'), entry(TODAY, " "), '[[IgnoredVulns]]\nid = "CVE-1"']
NO_EXCEPTIONS += ['[[PackageOverrides]]\nname = "flask"\nignore = true']


def test_an_exception_needs_a_reason_and_a_day_at_most_90_ahead(tmp_path: Path) -> None:
    for text in NO_EXCEPTIONS:
        (tmp_path / "osv-scanner.toml").write_text(text)
        with pytest.raises(InputError, match=r"osv-scanner\.toml"):
            read_accepted(tmp_path / "osv-scanner.toml", TODAY)
    read_accepted(ROOT / "osv-scanner.toml", TODAY)  # this project's own are in order


@pytest.fixture
def scanner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An osv-scanner that finds nothing and leaves its command line, and PyPI's database."""
    path, called = tmp_path / "bin" / "osv-scanner", tmp_path / "called"
    path.parent.mkdir()
    path.write_text(
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do echo $1 >> called; case $1 in\n"
        "--local-db-path) cp $2/osv-scalibr/PyPI/all.zip .;; esac; shift; done; echo '{\"results\": []}'\n"
    )
    path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    return called


@pytest.mark.parametrize(("until", "accepted"), [(TODAY, ["CVE-1"]), (TODAY - timedelta(days=1), [])])
def test_a_scan(tmp_path: Path, scanner: Path, until: Any, accepted: list[str]) -> None:
    (tmp_path / "osv-scanner.toml").write_text(entry(until))
    found = scan(sbom(*PURLS), tmp_path / "osv-scanner.toml")
    assert (found["packages"], found["failed"], found["asked"]) == (4, [], "api.osv.dev")
    assert [one["id"] for one in found["accepted"]] == accepted
    assert "--config" in scanner.read_text()
    assert "--offline" not in scanner.read_text()


def write_database(folder: Path, ecosystems: tuple[str, ...], records: int) -> Path:
    record = {"id": "1", "affected": [{"package": {"name": "Typing_Extensions", "ecosystem": "PyPI"}}]}
    for ecosystem in ecosystems:
        path = folder / "osv-scalibr" / ecosystem / "all.zip"
        path.parent.mkdir(parents=True)
        with zipfile.ZipFile(path, "w") as archive:
            for _ in range(records):
                archive.writestr("1.json", json.dumps(record))
    return folder


def test_a_database_is_asked_by_normal_names(tmp_path: Path, scanner: Path) -> None:
    path = write_database(tmp_path / "db", ("PyPI", "Debian"), 1)
    assert scan(sbom(*PURLS), ROOT / "osv-scanner.toml", path)["asked"] == "local database"
    assert "--offline\n" in scanner.read_text()
    with zipfile.ZipFile("all.zip") as copy:
        assert "typing-extensions" in copy.read("1.json").decode()


@pytest.mark.parametrize(("names", "records"), [(["PyPI"], 1), (["Debian"], 1), ([], 1), (["PyPI", "Debian"], 0)])
def test_a_database_has_every_ecosystem(tmp_path: Path, scanner: Path, names: list[str], records: int) -> None:
    with pytest.raises(InputError, match="mirror OSV's database"):
        scan(sbom(*PURLS), ROOT / "osv-scanner.toml", write_database(tmp_path / "db", (*names,), records))
    assert not scanner.exists()


def test_no_scanner_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="cannot be run"):
        scan(sbom(*PURLS), ROOT / "osv-scanner.toml")
