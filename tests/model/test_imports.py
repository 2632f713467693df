"""What is imported where: the package stays quick to start and apart from the service."""

import ast
import subprocess
import sys

import pytest

from .conftest import ROOT

HEAVY = ("torch", "torchaudio", "onnx", "onnxruntime", "matplotlib", "soundfile", "numpy", "espeakng_loader")


@pytest.mark.parametrize("module", ["model", "model.cli", "model.data.official", "model.settings"])
def test_nothing_heavy_is_loaded_before_it_is_needed(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_trainer_does_not_know_the_service() -> None:
    for path in (ROOT / "model").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "service"], path
