"""Which tags a release may get, what an attestation says, the changelog's section."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from release.artifacts import InputError
from release.tags import attestations, notes, release_tags

from .conftest import DIGEST

COMMIT = "0123abcd" * 5


def origin(revision: str = "", branch: str = "", version: str = "", **more: str) -> dict[str, str]:
    return {"revision": revision, "branch": branch, "version": version, **more}


@pytest.mark.parametrize(
    ("origin", "more", "expected"),
    [
        (origin(COMMIT, "main"), {}, [COMMIT, "main", "latest"]),
        (origin(COMMIT, "master", default_branch="master"), {}, [COMMIT, "master", "latest"]),
        (origin(COMMIT, "master"), {}, [COMMIT, "master"]),
        (origin(COMMIT, "topic/new words"), {}, [COMMIT, "topic-new-words"]),
        (origin(COMMIT, "", "v1.2.0"), {}, [COMMIT, "1.2.0"]),
        (origin(COMMIT, "", "v1.2.0+b1"), {}, [COMMIT, "1.2.0-b1"]),
        (origin(COMMIT, "main"), {"no_latest": "untested"}, [COMMIT, "main"]),
        (origin(COMMIT, "main"), {"given": ["try"]}, ["try"]),
        (origin(COMMIT, "main"), {"given": ["latest", "try", "try"]}, ["try", "latest"]),
        (origin(COMMIT, "topic"), {"cannot_sign": True}, [COMMIT, "topic"]),
    ],
)
def test_the_tags_of_a_release(origin: dict[str, str], more: dict[str, Any], expected: list[str]) -> None:
    assert release_tags(**{"given": [], **origin, **more}) == expected


@pytest.mark.parametrize(
    ("origin", "more", "message"),
    [  # REVIEW 36: each of these moved `latest`, or another release's tag
        (origin(), {}, "nothing says what is released"),
        (origin(COMMIT, "latest"), {}, "--branch latest"),
        (origin(COMMIT, "latest", default_branch="latest"), {}, "--branch latest"),
        (origin(COMMIT, "1.2.0"), {}, "--branch 1.2.0"),
        (origin(COMMIT, "v1.2.0"), {}, "--branch v1.2.0"),
        (origin(COMMIT, "0123abc"), {}, "--branch 0123abc"),
        (origin(COMMIT, "", "latest"), {}, "--version 'latest'"),
        (origin(COMMIT, "topic"), {"given": ["latest"]}, "not the branch main"),
        (origin(COMMIT), {"given": ["latest"]}, "not the branch main"),
        (
            origin(COMMIT, "main"),
            {"given": ["latest"], "no_latest": "the data are synthetic"},
            "the data are synthetic",
        ),
        (origin(COMMIT, "main"), {"cannot_sign": True}, "nothing to sign with"),
        (origin(COMMIT, "main"), {"given": ["latest"], "cannot_sign": True}, "nothing to sign with"),
        (origin(COMMIT, "main"), {"given": ["a b"]}, "'a b' is not a tag"),
        (origin(COMMIT, "main"), {"given": ["x" * 129]}, "is not a tag"),
        (origin(COMMIT, "-topic"), {}, "'-topic' is not a tag"),
    ],
)
def test_tags_that_are_refused(origin: dict[str, str], more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        release_tags(**{"given": [], **origin, **more})


def line(kind: str, predicate: Any, digest: str = DIGEST) -> str:
    statement = {
        "subject": [{"name": "r", "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": kind,
        "predicate": predicate,
    }
    return json.dumps({"payload": base64.b64encode(json.dumps(statement).encode()).decode()})


SLSA = "https://slsa.dev/provenance/v1"


@pytest.mark.parametrize(
    ("found", "kind", "expected"),
    [
        ("", "slsaprovenance1", []),
        ("\n", "slsaprovenance1", []),
        (line(SLSA, {"a": 1}), "slsaprovenance1", [{"a": 1}]),
        (line(SLSA, {"a": 1}), SLSA, [{"a": 1}]),
        (line(SLSA, {"a": 1}) + "\n" + line(SLSA, {"a": 2}) + "\n", SLSA, [{"a": 1}, {"a": 2}]),
        (line(SLSA, {"a": 1}), "cyclonedx", []),
        (line(SLSA, {"a": 1}, f"sha256:{'e' * 64}"), SLSA, []),
    ],
)
def test_attestations_of_a_type_about_an_image(found: str, kind: str, expected: list[Any]) -> None:
    assert attestations(found, kind, DIGEST) == expected


@pytest.mark.parametrize("found", ["Error: no signatures", "{}", "[]", '{"payload": "x"}', '{"payload": "e30="}'])
def test_what_cosign_never_prints(found: str) -> None:
    with pytest.raises(InputError, match="cosign"):
        attestations(found, SLSA, DIGEST)


CHANGELOG = "# Changes\n\n## [1.2.0] - 2026-03-01\n\n- new\n\n## 1.1.0\n\n- old\n\n## 1.0.0\n"


@pytest.mark.parametrize(("tag", "expected"), [("v1.2.0", "- new\n"), ("1.1.0", "- old\n")])
def test_the_section_of_a_version(tag: str, expected: str) -> None:
    assert notes(CHANGELOG, tag) == expected


@pytest.mark.parametrize("tag", ["v1.2", "v1.2.0-rc1", "v1.0.0", "v9"])
def test_a_version_without_a_section(tag: str) -> None:
    with pytest.raises(InputError, match="has no section"):
        notes(CHANGELOG, tag)
