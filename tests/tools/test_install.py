"""The installer's choices; the commands themselves are recorded, not run."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import install

NAMES = ("torch==2.13.0", "torchaudio==2.11.0", "nvidia-cublas==13", "cuda-toolkit==13", "triton==3", "torchmetrics==1")
LOCKED = [f"{name} ; sys_platform == 'linux' --hash=sha256:00" for name in (*NAMES, "numpy==2.4.6")]
Ran = list[tuple[list[str], str, list[str]]]
Call = Callable[..., Path]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """Commands, the index they were given, and the requirements they would install."""
    commands: Ran = []

    def record(command: list[str], package_index: str = "", *, capture: bool = False) -> str:
        listed = command[command.index("--requirement") + 1] if "--requirement" in command else ""
        commands.append((command, package_index, Path(listed).read_text().splitlines() if listed else []))
        if command[1] == "venv":
            Path(command[-1]).mkdir(exist_ok=True)
        return "\n".join(LOCKED) if capture else ""

    monkeypatch.setattr(install, "run", record)
    monkeypatch.setattr("sys.platform", "linux")
    return commands


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ran: Ran) -> Call:
    """``call("--platform", …)`` installs the group model; returns the environment's stamp."""

    def run(*options: str) -> Path:
        monkeypatch.setattr(install, "find_uv", lambda _: "uv")
        monkeypatch.setattr("sys.argv", ["install.py", "--venv", str(tmp_path / "venv"), *options, "model"])
        install.main()
        return tmp_path / "venv" / ".kws-installed"

    return run


def test_the_cpu_build_where_its_index_answers(call: Call, ran: Ran, capsys: pytest.CaptureFixture[str]) -> None:
    index = "data:,index"  # it answers, whatever page is asked for
    call("--torch-index", index, "--platform", "linux/arm64")
    (command, _, locked), (torch, torch_index, _) = ran[-2:]
    assert [line.split("==")[0] for line in locked] == ["torchmetrics", "numpy"]
    assert (torch[-3:], torch_index) == (["--no-deps", "torch==2.13.0", "torchaudio==2.11.0"], index)
    assert "aarch64-unknown-linux-gnu" in command
    assert "the lock has no hash of it" in capsys.readouterr().out


@pytest.mark.parametrize(("index", "said"), [("http://127.0.0.1:9/cpu", True), ("not an address", True), ("", False)])
def test_the_package_index_s_build_where_it_does_not_and_says_so(
    call: Call, ran: Ran, capsys: pytest.CaptureFixture[str], index: str, said: bool
) -> None:
    call("--torch-index", index, "--package-index", "https://mirror/simple")
    command, package_index, locked = ran[-1]
    assert (package_index, locked) == ("https://mirror/simple", LOCKED)
    assert "--require-hashes" in command
    assert ("cannot be reached" in capsys.readouterr().out) == said


def test_nothing_is_done_twice_but_a_changed_choice_installs_anew(call: Call, ran: Ran) -> None:
    commands = []
    for change in (False, False, True):
        stamp = call("--torch-index", "")
        commands.append(len(ran))
        if change or len(commands) == 2:
            stamp.write_text("another lock")
    assert commands[0] == commands[1] < commands[2]


UVS = [
    ("machine/uv", "9.9.9", True),
    (".uv/bin/uv", "9.9.9", True),
    ("machine/uv", "9.9.8", False),  # REVIEW 10, 44: another uv is replaced, by its hash
    (".uv/bin/uv", "", False),
]


@pytest.mark.parametrize(("there", "version", "taken"), UVS)
def test_the_uv_of_the_lock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ran: Ran, there: str, version: str, taken: bool
) -> None:
    lock = '[[package]]\nname = "uv"\nversion = "9.9.9"\nwheels = [{ hash = "sha256:ab" }, { hash = "sha256:cd" }]\n'
    (tmp_path / "uv.lock").write_text(lock)
    monkeypatch.setattr(install, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "machine"))
    path, brought = tmp_path / there, tmp_path / ".uv/bin/uv"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'uv {version} (somewhere)'\n" if version else "of another machine")
    path.chmod(0o755)
    assert install.find_uv("https://mirror/simple") == str(path if taken else brought)
    hashed = ["uv==9.9.9 --hash=sha256:ab --hash=sha256:cd"]
    assert [(index, locked) for _, index, locked in ran] == ([] if taken else [("https://mirror/simple", hashed)])
    assert all("--require-hashes" in command for command, _, _ in ran)


def test_the_lock_of_this_project_names_uv() -> None:
    version, requirement = install.locked_uv()
    assert re.fullmatch(rf"uv=={version}( --hash=sha256:[0-9a-f]{{64}})+", requirement)


def test_a_failing_installer_ends_with_one_line() -> None:
    with pytest.raises(SystemExit, match="ended with exit code"):
        install.run([sys.executable, "-c", "raise SystemExit(1)"], capture=True)
