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


def revision() -> str:
    provenance.revision.cache_clear()
    return provenance.revision()


def test_it_is_the_commit_and_says_where_files_differ(
    repository: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clean = revision()
    assert re.fullmatch("[0-9a-f]{40}", clean)
    (repository / "new.txt").write_text("not the source's")
    assert revision() == clean
    (repository / "model/code.py").write_text("two")
    assert revision() == f"{clean}+dirty"
    monkeypatch.setenv("KWS_REVISION", "v1")
    assert revision() == "v1"
    assert caplog.messages == []


@pytest.mark.parametrize("trouble", ["another user's", "no git", "damaged", "none"])
def test_a_repository_that_cannot_be_asked_is_one_line_with_the_remedy(
    repository: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    if trouble == "another user's":
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own tests do it so
    elif trouble == "no git":
        monkeypatch.setenv("PATH", "")
    elif trouble == "damaged":
        (repository / ".git/HEAD").unlink()
    else:  # a copy inside another repository is not that repository's commit
        monkeypatch.setattr(provenance, "__file__", str(repository / "vendored/model/provenance.py"))
    with caplog.at_level(logging.WARNING):
        assert revision() == ""
    told = "\n".join(caplog.messages)
    assert told.count("set KWS_REVISION") == len(told.splitlines()) == (trouble != "none")
    assert (f"`git config --global --add safe.directory {repository}`" in told) == (trouble != "none")
    assert ("dubious ownership" in told) == (trouble == "another user's")
