"""The environment: the installer's choices (its commands are recorded, not run), and what is trimmed for an image."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import install
from tools.trim import STAMP, trim

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
        return tmp_path / "venv" / STAMP

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
    done = len(ran)
    stamp = call("--torch-index", index)  # nothing is done twice
    assert len(ran) == done
    stamp.write_text("another lock")
    call("--torch-index", index)
    assert len(ran) > done


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


def test_a_failing_installer_ends_with_one_line() -> None:
    with pytest.raises(SystemExit, match="ended with exit code"):
        install.run([sys.executable, "-c", "raise SystemExit(1)"], capture=True)


PACKAGES = "lib/python3.13/site-packages"
GONE = ["onnxruntime/capi/libonnxruntime.so.1", "onnxruntime/tools/a.py", "numpy/f2py/b/c.py", "numpy/lib/tests/x.py"]
GONE += ["numpy/__init__.pyi", "numpy/_core/_simd.cpython-313-x86_64-linux-gnu.so", "cffi/api.py", "google/a.py"]
GONE += ["protobuf-7.dist-info/METADATA", "flatbuffers/a.py", "flatbuffers-25.dist-info/METADATA"]
# REVIEW 9: what must be redistributed, and the metadata of what stays.
KEPT = ["onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt", "onnxruntime/tools/COPYING", "limits/a.py"]
KEPT += ["cffi/licenses/AUTHORS", "cffi-2.dist-info/METADATA", "cffi-2.dist-info/licenses/LICENSE", "_cffi_backend.so"]
KEPT += ["onnxruntime/capi/onnxruntime_pybind11_state.so", "numpy/_core/_multiarch.so", "numpy/__init__.py"]


def test_what_is_trimmed_and_what_stays(tmp_path: Path) -> None:
    gone, kept = ({tmp_path / PACKAGES / name for name in names} for names in (GONE, KEPT))
    gone |= {tmp_path / STAMP, tmp_path / "bin" / "f2py"}
    kept |= {tmp_path / "bin" / "python"}
    for path in gone | kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert trim(tmp_path) == len(gone)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == kept
    assert [path for path in tmp_path.rglob("*") if path.is_dir() and not any(path.iterdir())] == []
    run = [sys.executable, "tools/trim.py", str(tmp_path / "bin")]
    assert subprocess.run(run, cwd=install.ROOT, capture_output=True).returncode == 2  # it is no environment
