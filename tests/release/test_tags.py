"""Which tags a release may get, what an attestation says, the changelog's section."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from release.artifacts import InputError
from release.tags import attestation, notes, tags

from .conftest import DIGEST

COMMIT = "0123abcd" * 5
MAIN = {"revision": COMMIT, "branch": "main"}
TAGS: list[tuple[dict[str, Any], list[str]]] = [
    (MAIN, [COMMIT, "main", "latest"]),
    ({"branch": "master", "default_branch": "master"}, ["master", "latest"]),
    ({"branch": "master"}, ["master"]),
    ({"branch": "topic/new words"}, ["topic-new-words"]),
    ({"revision": COMMIT, "version": "v1.2.0"}, [COMMIT, "1.2.0"]),
    ({"version": "v1.2.0+b1"}, ["1.2.0-b1"]),
    ({**MAIN, "no_latest": "untested"}, [COMMIT, "main"]),
    ({**MAIN, "tag": ["try"]}, ["try"]),
    ({**MAIN, "tag": ["latest", "try", "try"]}, ["try", "latest"]),
    ({"branch": "topic", "cannot_sign": True}, ["topic"]),
]
# REVIEW 36: each of these moved `latest`, or another release's tag.
REFUSED: dict[str, list[dict[str, Any]]] = {
    "nothing says what is released": [{}],
    "--branch latest": [{"branch": "latest"}, {"branch": "latest", "default_branch": "latest"}],
    "would take a tag of another kind": [{"branch": name} for name in ("1.2.0", "v1.2.0", "0123abc")],
    "--version 'latest'": [{"version": "latest"}],
    "not the branch main": [{"branch": "topic", "tag": ["latest"]}, {"tag": ["latest"]}],
    "the data are synthetic": [{**MAIN, "tag": ["latest"], "no_latest": "the data are synthetic"}],
    "nothing to sign with": [{**MAIN, "cannot_sign": True}, {**MAIN, "tag": ["latest"], "cannot_sign": True}],
    "is not a tag": [{"tag": ["a b"]}, {"tag": ["x" * 129]}, {"tag": [""]}, {"branch": "-topic"}],
}


@pytest.mark.parametrize(("given", "expected"), TAGS)
def test_the_tags_of_a_release(capsys: pytest.CaptureFixture[str], given: dict[str, Any], expected: list[str]) -> None:
    tags(**given)
    assert capsys.readouterr().out.split() == expected


@pytest.mark.parametrize("message", REFUSED)
def test_tags_that_are_refused(message: str) -> None:
    for given in REFUSED[message]:
        with pytest.raises(InputError, match=message):
            tags(**given)


def line(predicate: Any, digest: str = DIGEST) -> str:
    """A line of what cosign verify-attestation prints."""
    statement = {"subject": [{"digest": {"sha256": digest.removeprefix("sha256:")}}], "predicate": predicate}
    return json.dumps({"payload": base64.b64encode(json.dumps(statement).encode()).decode()}) + "\n"


FOUND = [
    ("", None, None),
    ("\n", None, None),
    (line(1), None, 1),
    (line(1) + line(2), None, 2),
    (line(1, digest=f"sha256:{'e' * 64}"), None, None),
    (line({"a": 1}) + line(2), {"a": 1}, {"a": 1}),
    (line({"a": 1}), {"a": 2}, None),
]


@pytest.mark.parametrize(("found", "equals", "expected"), FOUND)
def test_an_attestation_about_an_image(tmp_path: Path, found: str, equals: Any, expected: Any) -> None:
    (tmp_path / "found").write_text(found)
    (tmp_path / "equals").write_text(json.dumps(equals))
    failed = attestation(tmp_path / "found", DIGEST, tmp_path / "written", equals and tmp_path / "equals")
    assert bool(failed) == (expected is None)
    assert expected is None or json.loads((tmp_path / "written").read_text()) == expected


@pytest.mark.parametrize("found", ["Error: no signatures", "{}", "[]", '{"payload": "x"}', '{"payload": "e30="}'])
def test_what_cosign_never_prints(tmp_path: Path, found: str) -> None:
    (tmp_path / "found").write_text(found)
    with pytest.raises(InputError, match="cosign"):
        attestation(tmp_path / "found", DIGEST, tmp_path / "written")


def test_the_section_of_a_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "CHANGELOG.md"
    path.write_text("# Changes\n\n## [1.2.0] - 2026-03-01\n\n- new\n\n## 1.1.0\n\n- old\n\n## 1.0.0\n")
    for tag in ("v1.2.0", "1.1.0"):
        notes(path, tag)
    assert capsys.readouterr().out == "- new\n- old\n"
    for tag in ("v1.2", "v1.2.0-rc1", "v1.0.0", "v9"):
        with pytest.raises(InputError, match="has no section"):
            notes(path, tag)
