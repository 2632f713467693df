"""What is trimmed from an environment is not missed by the service (run in a copy of its dependencies)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

from tests.service.tones import save_model, save_samples
from tools.trim import STAMP, main, site_packages, trim

ROOT = Path(__file__).parents[2]
INSIDE = ROOT / "tests" / "service" / "inside_image.py"


def closure(names: list[str]) -> dict[str, Distribution]:
    """The installed distributions of these requirements and of theirs."""
    found: dict[str, Distribution] = {}
    while names:
        requirement = names.pop()
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0].replace("_", "-").lower()
        if name in found or "extra ==" in requirement:
            continue
        try:
            found[name] = distribution(name)
        except ModuleNotFoundError:  # for another platform or Python
            continue
        names += found[name].requires or []
    return found


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with what the group `service` asks for."""
    folder = tmp_path_factory.mktemp("trim") / "venv"
    venv.create(folder, symlinks=True)
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    for found in closure(list(groups["service"])).values():
        for file in found.files or ():
            if ".." not in file.parts and (source := Path(str(file.locate()))).is_file():
                target = site_packages(folder) / file
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(source, target)  # trimming only unlinks
                except OSError:
                    shutil.copy(source, target)
    return folder


def inside(environment: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    settings = {"KWS_MODEL": str(save_model(folder / "model.onnx")), "KWS_SAMPLES": str(save_samples(folder))}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KWS_", "PYTHON"))}
    return subprocess.run(
        [str(environment / "bin" / "python"), str(INSIDE)],
        cwd=ROOT,
        env=kept | settings,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_needed_is_gone(environment: Path, tmp_path: Path) -> None:
    before = sum(file.stat().st_size for file in environment.rglob("*") if file.is_file())
    freed = trim(environment)
    after = sum(file.stat().st_size for file in environment.rglob("*") if file.is_file())
    assert before - after == freed
    assert freed > 45e6
    run = inside(environment, tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert " formats" in run.stdout
    assert trim(environment) == 0
    packages = site_packages(environment)
    assert not list(packages.glob("protobuf*"))
    assert (packages / "limits").is_dir()
    # REVIEW 9: what must be redistributed, and the metadata of what stays.
    for kept in (
        "onnxruntime/ThirdPartyNotices.txt",
        "onnxruntime/LICENSE",
        "cffi-*.dist-info/METADATA",
        "cffi-*.dist-info/**/LICENSE",
    ):
        assert list(packages.glob(kept)), kept


def test_the_installer_s_stamp_goes(environment: Path) -> None:
    assert f'"{STAMP}"' in (ROOT / "tools" / "install.py").read_text()
    (environment / STAMP).touch()
    trim(environment)
    assert not (environment / STAMP).exists()


def test_the_proof_would_notice(environment: Path, tmp_path: Path) -> None:
    part = site_packages(environment) / "soxr"
    part.rename(part.with_name("hidden"))
    try:
        assert inside(environment, tmp_path).returncode != 0
    finally:
        part.with_name("hidden").rename(part)


def test_no_environment_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["trim", str(tmp_path)])
    assert main() == 2
    assert capsys.readouterr().err == f"trim: {tmp_path} is no virtual environment\n"
