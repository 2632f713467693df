"""The vulnerability audit against a server that speaks OSV's API, and its allow-list that expires."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tools import audit
from tools.audit import Allowed, AuditError, Source

SBOM = {
    "components": [
        {"type": "library", "name": "flask", "version": "3.0.0", "purl": "pkg:pypi/flask@3.0.0"},
        {
            "type": "library",
            "name": "libssl3t64",
            "version": "3.5.1-1",
            "purl": "pkg:deb/debian/libssl3t64@3.5.1-1?arch=amd64&distro=debian-13",
            "properties": [
                {"name": "debian:source", "value": "openssl"},
                {"name": "debian:source:version", "value": "3.5.1-1"},
            ],
        },
        {"type": "machine-learning-model", "name": "model.onnx", "version": "1"},
    ]
}


def known(identity: str, name: str, ecosystem: str, fixed: str = "", **more: Any) -> dict[str, Any]:
    events = [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else [])]
    affected = {"package": {"name": name, "ecosystem": ecosystem}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    return {"id": identity, "affected": [affected], "summary": "a hole", **more}


KNOWN = [
    known("GHSA-1", "flask", "PyPI", "3.0.1", aliases=["CVE-2030-1"]),
    known("GHSA-2", "flask", "PyPI"),
    known("GHSA-3", "flask", "PyPI", "3.0.1", withdrawn="2030-01-01T00:00:00Z"),
    known("DEBIAN-CVE-2030-2", "openssl", "Debian:13", "3.5.2-1", upstream=["CVE-2030-2"]),
]


class Server(ThreadingHTTPServer):
    """Answers a page of one vulnerability a query; fails as often as ``failures`` says before."""

    failures = 0

    class Handler(BaseHTTPRequestHandler):
        server: Server

        def log_message(self, *_: Any) -> None:
            pass

        def _send(self, content: Any) -> None:
            if self.server.failures:
                self.server.failures -= 1
                self.send_error(503)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def do_GET(self) -> None:
            self._send(next(entry for entry in KNOWN if self.path == f"/v1/vulns/{entry['id']}"))

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            self._send({"results": [self._answer(query) for query in asked]})

        def _answer(self, query: dict[str, Any]) -> dict[str, Any]:
            hits = [entry["id"] for entry in KNOWN if entry["affected"][0]["package"] == query["package"]]
            page = int(query.get("page_token", 0))
            more = {"next_page_token": str(page + 1)} if page + 1 < len(hits) else {}
            return {"vulns": [{"id": hits[page]}], **more} if hits else {}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Server.Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def source(server: Server) -> Source:
    return Source(f"http://127.0.0.1:{server.server_port}", pause=0)


def ids(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["id"] for entry in entries]


def test_what_has_a_fix_counts_and_what_has_none_is_listed_apart(server: Server) -> None:
    result = audit.audit(SBOM, source(server), [], date(2030, 1, 1))
    assert ids(result["vulnerabilities"]) == ["GHSA-1", "DEBIAN-CVE-2030-2"]
    assert [entry["package"] for entry in result["vulnerabilities"]] == ["flask", "libssl3t64"]
    assert result["vulnerabilities"][1]["fixed"] == ["3.5.2-1"]
    assert ids(result["unfixed"]) == ["GHSA-2"]
    assert result["checked"] == 2


@pytest.mark.parametrize(("today", "counted"), [(date(2030, 6, 30), 1), (date(2030, 7, 1), 2)])
def test_an_allowance_holds_by_an_alias_until_its_day(server: Server, today: date, counted: int) -> None:
    allowed = [Allowed("CVE-2030-1", "flask", "never called", date(2030, 6, 30))]
    result = audit.audit(SBOM, source(server), allowed, today)
    assert len(result["vulnerabilities"]) == counted
    assert ids(result["allowed"]) == (["GHSA-1"] if counted == 1 else [])
    assert result["expired"] == ([] if counted == 1 else ["CVE-2030-1 in flask"])


def test_an_allowance_of_another_package_does_not_hold(server: Server) -> None:
    allowed = [Allowed("CVE-2030-1", "libssl3t64", "never called", date(2040, 1, 1))]
    assert len(audit.audit(SBOM, source(server), allowed, date(2030, 1, 1))["vulnerabilities"]) == 2


def test_a_source_that_stumbles_is_asked_again(server: Server) -> None:
    server.failures = audit.ATTEMPTS - 1
    assert len(audit.audit(SBOM, source(server), [], date(2030, 1, 1))["vulnerabilities"]) == 2
    server.failures = audit.ATTEMPTS
    with pytest.raises(AuditError, match="--vulnerability-source"):
        audit.audit(SBOM, source(server), [], date(2030, 1, 1))


def test_an_empty_bill_is_no_clean_one(server: Server) -> None:
    with pytest.raises(AuditError, match="lists no Python or Debian package"):
        audit.audit({"components": []}, source(server), [], date(2030, 1, 1))


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ('id = "X"\npackage = "p"\nexpires = 2030-01-01', "reason"),
        ('id = "X"\npackage = "p"\nreason = "r"', "expires"),
        ('id = "X"\npackage = "p"\nreason = "r"\nexpires = "soon"', "expires"),
        ('id = "X"\npackage = "p"\nreason = " "\nexpires = 2030-01-01', "reason"),
        ('id = "X"\npackage = "p"\nreason = "r"\nexpires = 2030-01-01\nforever = true', "forever"),
    ],
)
def test_an_allowance_that_lacks_a_part_is_named(tmp_path: Path, entry: str, named: str) -> None:
    (tmp_path / "audit.toml").write_text(f"[[allow]]\n{entry}\n")
    with pytest.raises(AuditError, match=named):
        audit.allow_list(tmp_path / "audit.toml")


def test_the_projects_own_list_can_be_read() -> None:
    audit.allow_list(Path(__file__).parents[2] / "audit.toml")


def test_from_the_command_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "sbom.json").write_text(json.dumps(SBOM))
    (tmp_path / "audit.toml").write_text("")
    command = [sys.executable, "-m", "tools.audit", str(tmp_path / "sbom.json"), f"--allow={tmp_path / 'audit.toml'}"]
    command += [f"--output={tmp_path / 'audit.json'}"]
    done = subprocess.run([*command, f"--source={source(server).url}"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "GHSA-1 in flask 3.0.0: fixed in 3.0.1" in done.stdout
    assert len(json.loads((tmp_path / "audit.json").read_text())["vulnerabilities"]) == 2
    assert subprocess.run([*command, f"--source={source(server).url}", "--fail"]).returncode == audit.FAILED
    failed = subprocess.run([*command, "--source=http://127.0.0.1:1"], capture_output=True, text=True)
    assert failed.returncode == 2
    assert "--vulnerability-source" in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
