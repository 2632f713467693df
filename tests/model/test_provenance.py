"""The revision that artefacts carry, and what is said where it cannot be told."""

import logging
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from model import provenance


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one commit, in which the package seems to lie."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/code.py").write_text("one")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "model/provenance.py"))
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True)
    return tmp_path


@pytest.mark.parametrize("trouble", ["", "another user's", "no git", "damaged", "none"])
def test_the_commit_or_one_line_with_the_remedy(
    repository: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    if trouble == "another user's":
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own tests do it so
    elif trouble == "no git":
        monkeypatch.setenv("PATH", "")
    elif trouble == "damaged":
        (repository / ".git/HEAD").unlink()
    elif trouble:  # a copy inside another repository is not that repository's commit
        monkeypatch.setattr(provenance, "__file__", str(repository / "vendored/model/provenance.py"))
    found = []
    with caplog.at_level(logging.WARNING):
        for change in ("new.txt", "model/code.py", ""):  # the first is not the source's
            if change:
                (repository / change).write_text("two")
            else:
                monkeypatch.setenv("KWS_REVISION", "v1")
            provenance.revision.cache_clear()
            found.append(provenance.revision())
    expected = ("", "", "v1") if trouble else ("[0-9a-f]{40}", r"[0-9a-f]{40}\+dirty", "v1")
    assert all(re.fullmatch(pattern, each) for pattern, each in zip(expected, found, strict=True))
    remedy = f"`git config --global --add safe.directory {repository}`"
    assert [remedy in line for line in caplog.messages] == [True] * 2 * (trouble not in ("", "none"))
    assert all(("dubious ownership" in line) == (trouble == "another user's") for line in caplog.messages)
