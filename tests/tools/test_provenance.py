"""The provenance statement: what went in and came out, by digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tools import provenance, seal

from .test_seal import BASE, CREATED, OWN, exported, packed

LABELS = {
    "org.opencontainers.image.source": "https://example.org/kws",
    "org.opencontainers.image.revision": "0123abc",
    "org.opencontainers.image.base.name": "python:3.13-slim",
    "org.opencontainers.image.base.digest": "sha256:ba5e",
    "kws.data.digest": "da7a",
}


def test_a_statement_names_subject_inputs_and_byproducts(tmp_path: Path) -> None:
    archive = exported(tmp_path / "in.tar", [packed(BASE), packed(OWN)])
    root = seal.seal([archive], ["service"], CREATED, LABELS, tmp_path / "cache", tmp_path / "image.tar")
    (tmp_path / "sbom").write_text("{}")
    lock = {"name": "uv.lock", "digest": {"sha256": "10c4"}}
    made = {"sbom.cdx.json": tmp_path / "sbom"}
    stated = [
        provenance.statement(tmp_path / "image.tar", "ghcr.io/me/name", "https://b", {"seed": "1"}, [lock], made)
        for _ in range(2)
    ]
    assert stated[0] == stated[1]  # no time, no run's number
    assert stated[0]["subject"] == [{"name": "ghcr.io/me/name", "digest": {"sha256": root["digest"].partition(":")[2]}}]
    build = stated[0]["predicate"]["buildDefinition"]
    assert build["externalParameters"] == {"seed": "1"}
    assert [entry["digest"] for entry in build["resolvedDependencies"]] == [
        {"gitCommit": "0123abc"},
        {"sha256": "ba5e"},
        {"sha256": "da7a"},
        {"sha256": "10c4"},
    ]
    run = stated[0]["predicate"]["runDetails"]
    assert run["builder"] == {"id": "https://b"}
    assert run["byproducts"] == [{"name": "sbom.cdx.json", "digest": {"sha256": hashlib.sha256(b"{}").hexdigest()}}]
