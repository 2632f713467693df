"""The installer's choices; the commands themselves are recorded, not run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tools import install

LOCKED = [
    "torch==2.13.0 --hash=sha256:00",
    "torchaudio==2.11.0 --hash=sha256:00",
    "nvidia-cublas==13.1.1.3 ; sys_platform == 'linux' --hash=sha256:00",
    "cuda-toolkit==13.0.3.0 ; sys_platform == 'linux' --hash=sha256:00",
    "triton==3.7.0 ; sys_platform == 'linux' --hash=sha256:00",
    "torchmetrics==1.0 --hash=sha256:00",
    "numpy==2.4.6 --hash=sha256:00",
]
Ran = list[tuple[list[str], str, list[str]]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """Commands, the index they were given, and the requirements they would install."""
    commands: Ran = []

    def record(command: list[str], package_index: str = "", *, capture: bool = False) -> str:
        listed = command[command.index("--requirement") + 1] if "--requirement" in command else ""
        commands.append((command, package_index, Path(listed).read_text().splitlines() if listed else []))
        if command[1] == "venv":
            Path(command[-1]).mkdir()
        return "\n".join(LOCKED) if capture else ""

    monkeypatch.setattr(install, "run", record)
    monkeypatch.setattr("sys.platform", "linux")
    return commands


def call(monkeypatch: pytest.MonkeyPatch, venv: Path, *options: str) -> None:
    monkeypatch.setattr(install, "find_uv", lambda _: "uv")
    monkeypatch.setattr("sys.argv", ["install.py", "--venv", str(venv), *options, "model"])
    assert install.main() == 0


def test_the_cpu_build_where_its_index_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "index_answers", lambda index: index == "http://i/whl/cpu")
    call(monkeypatch, tmp_path / "venv", "--torch-index", "http://i/whl/cpu")
    (_, _, locked), (torch, torch_index, _) = ran[-2:]
    assert [line.split("==")[0] for line in locked] == ["torchmetrics", "numpy"]
    assert torch[-3:] == ["--no-deps", "torch==2.13.0", "torchaudio==2.11.0"]
    assert torch_index == "http://i/whl/cpu"
    assert "the lock has no hash of it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("index", "said"), [("http://127.0.0.1:9/whl/cpu", True), ("not an address", True), ("", False)]
)
def test_the_package_index_s_build_where_it_does_not_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    ran: Ran,
    capsys: pytest.CaptureFixture[str],
    index: str,
    said: bool,
) -> None:
    call(monkeypatch, tmp_path / "venv", "--torch-index", index, "--package-index", "https://mirror/simple")
    command, package_index, locked = ran[-1]
    assert locked == LOCKED
    assert "--require-hashes" in command
    assert package_index == "https://mirror/simple"
    assert ("cannot be reached" in capsys.readouterr().out) == said


def test_nothing_is_done_twice_but_a_changed_choice_installs_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ran: Ran
) -> None:
    call(monkeypatch, tmp_path / "venv", "--torch-index", "")
    before = len(ran)
    call(monkeypatch, tmp_path / "venv", "--torch-index", "")
    assert len(ran) == before
    (tmp_path / "venv" / ".kws-installed").write_text("another lock")
    (tmp_path / "venv").rename(tmp_path / "old")
    call(monkeypatch, tmp_path / "venv", "--torch-index", "")
    assert len(ran) > before


def uv(path: Path, version: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho 'uv {version} (somewhere)'\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A project whose lock names uv 9.9.9, on a machine without uv."""
    lock = '[[package]]\nname = "uv"\nversion = "9.9.9"\nwheels = [{ hash = "sha256:ab" }, { hash = "sha256:cd" }]\n'
    (tmp_path / "uv.lock").write_text(lock)
    monkeypatch.setattr(install, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "machine"))
    return tmp_path


@pytest.mark.parametrize("there", ["machine/uv", ".uv/bin/uv"])
def test_the_uv_of_the_lock_s_version_is_taken(project: Path, ran: Ran, there: str) -> None:
    there = uv(project / there, "9.9.9")
    assert install.find_uv("") == there
    assert ran == []


def test_another_uv_is_replaced_and_by_its_hash(project: Path, ran: Ran) -> None:  # REVIEW 10, 44
    for there in ("machine/uv", ".uv/bin/uv"):
        uv(project / there, "9.9.8")
    assert install.find_uv("https://mirror/simple") == str(project / ".uv/bin/uv")
    ((command, index, locked),) = ran
    assert "--require-hashes" in command
    assert index == "https://mirror/simple"
    assert locked == ["uv==9.9.9 --hash=sha256:ab --hash=sha256:cd"]


def test_the_lock_of_this_project_names_uv() -> None:
    version, requirement = install.locked_uv()
    assert re.fullmatch(rf"uv=={version}( --hash=sha256:[0-9a-f]{{64}})+", requirement)


def test_a_failing_installer_ends_with_one_line() -> None:
    with pytest.raises(SystemExit, match="ended with exit code"):
        install.run([sys.executable, "-c", "raise SystemExit(1)"], capture=True)
