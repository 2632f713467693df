"""The small commands as tables: their options, the exit code, and what is printed."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import DIGEST, run

COMMIT = "0123abcd" * 5
MAIN = f"--revision {COMMIT} --branch main"
NEITHER, OTHER = "--no-latest untested", "--default-branch master"
TAGS = {
    MAIN: f"{COMMIT} main latest",
    f"--branch master {OTHER}": "master latest",
    "--branch master": "master",
    "--branch topic/new~words": "topic-new-words",
    f"--revision {COMMIT} --version v1.2.0": f"{COMMIT} 1.2.0",
    "--version v1.2.0+b1": "1.2.0-b1",
    f"{MAIN} {NEITHER}": f"{COMMIT} main",
    f"{MAIN} --tag try": "try",
    f"{MAIN} --tag latest --tag try --tag try": "try latest",
    "--branch topic --cannot-sign": "topic",
}
# REVIEW 36: each of these moved `latest`, or another release's tag.
REFUSED = {
    "nothing says what is released": [""],
    "--branch latest would take a tag of another kind": ["--branch latest", "--branch latest --default-branch latest"],
    "would take a tag of another kind": ["--branch 1.2.0", "--branch v1.2.0", "--branch 0123abc"],
    "--version 'latest' is not a version": ["--version latest"],
    "this is not the branch main": ["--branch topic --tag latest", "--tag latest"],
    "--tag latest: untested": [f"{MAIN} {NEITHER} --tag latest"],
    "nothing to sign with": [f"{MAIN} --cannot-sign", f"{MAIN} --tag latest --cannot-sign"],
    "is not a tag": ["--tag a:b", f"--tag {'x' * 129}", "--branch=-topic"],
}


def test_the_tags_of_a_release() -> None:
    for options, expected in TAGS.items():
        code, printed, _ = run("tags", *options.split())
        assert (code, printed.split()) == (0, expected.split()), options
    for options, message in ((options, message) for message, calls in REFUSED.items() for options in calls):
        code, printed, said = run("tags", *options.split())
        assert (code, printed, message in said) == (2, "", True), options


def line(predicate: Any, digest: str = DIGEST) -> str:
    """A line of what cosign verify-attestation prints."""
    statement = {"subject": [{"digest": {"sha256": digest.removeprefix("sha256:")}}], "predicate": predicate}
    return json.dumps({"payload": base64.b64encode(json.dumps(statement).encode()).decode()}) + "\n"


FOUND: list[tuple[str, Any, int, Any]] = [
    ("\n", None, 3, None),
    (line(1) + line(2), None, 0, 2),
    (line(1, digest=f"sha256:{'e' * 64}"), None, 3, None),
    (line({"a": 1}) + line(2), {"a": 1}, 0, {"a": 1}),
    (line({"a": 1}), {"a": 2}, 3, None),
    # what cosign never prints
    *((text, None, 2, None) for text in ("Error: no signatures", "{}", '{"payload": "x"}', '{"payload": "e30="}')),
]


@pytest.mark.parametrize(("found", "equals", "code", "expected"), FOUND)
def test_an_attestation_about_an_image(tmp_path: Path, found: str, equals: Any, code: int, expected: Any) -> None:
    (tmp_path / "found").write_text(found)
    (tmp_path / "equals").write_text(json.dumps(equals))
    same = [f"--equals={tmp_path / 'equals'}"] if equals else []
    output = tmp_path / "written"
    assert run("attestation", tmp_path / "found", "--digest", DIGEST, "--output", output, *same)[0] == code
    assert (json.loads(output.read_text()) if output.exists() else None) == expected


CHANGES = "# Changes\n\n## [1.2.0] - 2026-03-01\n\n- new\n\n## 1.1.0\n\n- old\n\n## 1.0.0\n"
NOTES = {"v1.2.0": "- new\n", "1.1.0": "- old\n", "v1.2": "", "v1.2.0-rc1": "", "v1.0.0": "", "v9": ""}


def test_the_section_of_a_version(tmp_path: Path) -> None:
    (tmp_path / "CHANGELOG.md").write_text(CHANGES)
    for tag, text in NOTES.items():
        code, printed, said = run("notes", tmp_path / "CHANGELOG.md", "--tag", tag)
        assert (code, printed, "has no section" in said) == (0 if text else 2, text, not text), tag
    assert run("notes", tmp_path / "nowhere", "--tag", "v1")[0] == 2


WHOLE: dict[str, Any] = {"passed": True, "failed": [], "without": [], "run": {"digest": DIGEST}}
VERDICTS: dict[int, list[Any]] = {
    0: [WHOLE],
    2: [{}, [], *({name: value for name, value in WHOLE.items() if name != left_out} for left_out in WHOLE)],
    3: [WHOLE | {"passed": False}, WHOLE | {"passed": "yes"}, WHOLE | {"failed": ["x"]}],
}


def test_what_is_a_verdict(tmp_path: Path) -> None:
    for code, verdicts in VERDICTS.items():
        for verdict in verdicts:
            (tmp_path / "gates.json").write_text(json.dumps(verdict))
            found, _, said = run("verdict", tmp_path)
            assert (found, said.count("\n")) == (code, int(code > 0)), verdict
