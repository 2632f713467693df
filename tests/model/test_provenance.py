"""The revision that artefacts carry, and what is said where it cannot be told."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from model import provenance

COMMIT = "[0-9a-f]{40}"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("trouble", ["", "another user's", "no git", "damaged", "vendored"])
def test_the_commit_or_one_line_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    """In a repository of one commit, in which the package seems to lie."""
    package = tmp_path / ("vendored/model" if trouble == "vendored" else "model")
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
    expected = ["", ""] if trouble else [COMMIT, rf"{COMMIT}\+dirty"]
    for changed, pattern in zip((tmp_path / "new.txt", package / "code.py"), expected, strict=True):
        changed.write_text("two")  # the first is not the source's
        provenance.revision.cache_clear()
        assert re.fullmatch(pattern, provenance.revision())
    remedy = f"`git config --global --add safe.directory {tmp_path}`"
    assert [remedy in line for line in caplog.messages] == [True] * 2 * (trouble not in ("", "vendored"))
    assert all(("dubious ownership" in line) == (trouble == "another user's") for line in caplog.messages)
