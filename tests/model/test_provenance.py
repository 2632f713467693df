"""The revision that artefacts carry, and what is said where it cannot be told."""

import logging
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from model import provenance

COMMIT = "[0-9a-f]{40}"


@pytest.mark.parametrize("trouble", ["", "another user's", "no git", "damaged", "a copy inside"])
def test_the_commit_or_one_line_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    """In a repository of one commit, in which the package seems to lie."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    package = tmp_path / ("vendored/model" if trouble == "a copy inside" else "model")
    package.mkdir(parents=True)
    (package / "code.py").write_text("one")
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    for arguments in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -q -m one"):
        subprocess.run(["git", "-C", tmp_path, *arguments.split()], check=True)
    if trouble == "another user's":
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own tests do it so
    elif trouble == "no git":
        monkeypatch.setenv("PATH", "")
    elif trouble == "damaged":
        (tmp_path / ".git/HEAD").unlink()
    found = []
    with caplog.at_level(logging.WARNING):
        for changed in ("new.txt", f"{package}/code.py", ""):  # the first is not the source's
            if changed:
                (tmp_path / changed).write_text("two")
            else:
                monkeypatch.setenv("KWS_REVISION", "v1")
            provenance.revision.cache_clear()
            found.append(provenance.revision())
    expected = ("", "", "v1") if trouble else (COMMIT, rf"{COMMIT}\+dirty", "v1")
    assert all(re.fullmatch(pattern, each) for pattern, each in zip(expected, found, strict=True))
    remedy = f"`git config --global --add safe.directory {tmp_path}`"
    assert [remedy in line for line in caplog.messages] == [True] * 2 * (trouble not in ("", "a copy inside"))
    assert all(("dubious ownership" in line) == (trouble == "another user's") for line in caplog.messages)
