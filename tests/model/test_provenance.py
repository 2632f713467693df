"""The revision that artefacts carry."""

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


def test_it_is_the_commit_and_says_where_files_differ(repository: Path) -> None:
    clean = provenance.revision()
    assert re.fullmatch("[0-9a-f]{40}", clean)
    (repository / "new.txt").write_text("not the source's")
    assert provenance.revision() == clean
    (repository / "model/code.py").write_text("two")
    assert provenance.revision() == f"{clean}+dirty"


def test_the_environment_goes_before(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KWS_REVISION", "v1")
    assert provenance.revision() == "v1"


def test_without_a_repository_or_git_there_is_none(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = repository / "vendored/model"  # inside another repository, of which it is no part
    inside.mkdir(parents=True)
    monkeypatch.setattr(provenance, "__file__", str(inside / "provenance.py"))
    assert provenance.revision() == ""
    monkeypatch.setattr(provenance, "__file__", str(repository / "model/provenance.py"))
    monkeypatch.setenv("PATH", "")
    assert provenance.revision() == ""


def test_versions_name_what_results_depend_on() -> None:
    assert {"python", "torch", "onnxruntime", "soxr"} <= set(provenance.versions())
