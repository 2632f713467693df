"""The installer's choice of torch's build; the commands themselves are recorded, not run."""

from __future__ import annotations

import http.server
import sys
import threading
from collections.abc import Iterator
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


@pytest.fixture
def index() -> Iterator[str]:
    """A package index that serves a page for torch and nothing else."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/whl/cpu/torch/" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], str, list[str]]]:
    """Commands, the index they were given, and the requirements they would install."""
    commands: list[tuple[list[str], str, list[str]]] = []

    def record(command: list[str], package_index: str, *, capture: bool = False) -> str:
        listed = command[command.index("--requirements") + 1] if "--requirements" in command else ""
        commands.append((command, package_index, Path(listed).read_text().splitlines() if listed else []))
        if command[1] == "venv":
            Path(command[-1]).mkdir()
        return "\n".join(LOCKED) if capture else ""

    monkeypatch.setattr(install, "run", record)
    monkeypatch.setattr(install, "find_uv", lambda _: "uv")
    monkeypatch.setattr("sys.platform", "linux")
    return commands


def call(monkeypatch: pytest.MonkeyPatch, venv: Path, *options: str) -> None:
    monkeypatch.setattr("sys.argv", ["install.py", "--venv", str(venv), *options, "model"])
    assert install.main() == 0


def test_cpu_build_where_its_index_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, index: str, ran: list[tuple[list[str], str, list[str]]]
) -> None:
    call(monkeypatch, tmp_path / "venv", "--torch-index", f"{index}/whl/cpu")
    (_, _, locked), (torch, torch_index, _) = ran[-2:]
    assert [line.split("==")[0] for line in locked] == ["torchmetrics", "numpy"]
    assert torch[-3:] == ["--no-deps", "torch==2.13.0", "torchaudio==2.11.0"]
    assert torch_index == f"{index}/whl/cpu"


@pytest.mark.parametrize("torch_index", ["/nothing", "unreachable"])
def test_package_index_build_where_it_does_not_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    index: str,
    ran: list[tuple[list[str], str, list[str]]],
    capsys: pytest.CaptureFixture[str],
    torch_index: str,
) -> None:
    url = f"{index}{torch_index}" if torch_index.startswith("/") else "http://127.0.0.1:9/whl/cpu"
    call(monkeypatch, tmp_path / "venv", "--torch-index", url)
    assert ran[-1][2] == LOCKED
    assert "cannot be reached" in capsys.readouterr().out


def test_no_torch_index_is_a_choice_that_needs_no_warning(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    ran: list[tuple[list[str], str, list[str]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    call(monkeypatch, tmp_path / "venv", "--torch-index", "")
    assert ran[-1][2] == LOCKED
    assert "cannot be reached" not in capsys.readouterr().out


def test_hashes_are_required_and_a_mirror_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ran: list[tuple[list[str], str, list[str]]]
) -> None:
    call(monkeypatch, tmp_path / "venv", "--torch-index", "", "--package-index", "https://mirror/simple")
    command, package_index, _ = ran[-1]
    assert "--require-hashes" in command
    assert package_index == "https://mirror/simple"


def test_nothing_is_done_twice_but_a_changed_choice_installs_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ran: list[tuple[list[str], str, list[str]]]
) -> None:
    call(monkeypatch, tmp_path / "venv", "--torch-index", "")
    before = len(ran)
    call(monkeypatch, tmp_path / "venv", "--torch-index", "")
    assert len(ran) == before
    (tmp_path / "venv" / ".kws-installed").write_text("another lock")
    (tmp_path / "venv" / ".kws-installed").touch()
    (tmp_path / "venv").rename(tmp_path / "old")
    call(monkeypatch, tmp_path / "venv", "--torch-index", "")
    assert len(ran) > before


def test_a_failing_installer_ends_with_one_line() -> None:
    with pytest.raises(SystemExit, match="ended with exit code"):
        install.run([sys.executable, "-c", "raise SystemExit(1)"], "", capture=True)
