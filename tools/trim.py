"""Remove from a virtual environment what inference never touches: `python tools/trim.py VENV`. Standard library only.

It saves 17 of 48 packed megabytes. ONNX Runtime's wheel holds its engine twice (the Python module is complete without
the shared library) and tools for making models; numpy's holds tests, headers and compilers' aids. Licences, notices of
what is bundled, and the metadata of every distribution of which anything is used stay, for the bill of materials.
"""

import re
import sys
from pathlib import Path

STAMP = ".kws-installed"  # by which tools/install.py knows its own work: of no use in an image
PACKAGES = "lib/python3*/site-packages"
# Patterns of `Path.glob` in site-packages. Of cffi `_cffi_backend` alone is needed for what was compiled with it.
PARTS = [
    *(f"onnxruntime/{name}" for name in ("backend", "datasets", "quantization", "tools", "transformers")),
    *(f"onnxruntime/capi/{name}" for name in ("libonnxruntime.so*", "training")),
    *(f"numpy/{name}" for name in ("distutils", "f2py", "testing", "_core/include", "_core/lib", "_pyinstaller")),
    *("numpy/_core/_simd.*.so", "numpy/_core/_*_tests.*.so", "numpy/**/tests", "numpy/**/*.pyi", "cffi"),
    # Whole distributions, metadata too: ONNX Runtime's for making models in Python, cffi's for compiling.
    *(f"{name}-*.dist-info" for name in ("flatbuffers", "protobuf", "pycparser")),
    *("flatbuffers", "google", "pycparser"),
]
SCRIPTS = ("f2py", "numpy-config", "onnxruntime_test", "gen-cffi-src")  # their modules are gone with PARTS
PATTERNS = [STAMP, *(f"bin/{name}" for name in SCRIPTS), *(f"{PACKAGES}/{name}" for name in PARTS)]
KEPT = re.compile(r"(?i)(licen[cs]e|copying|notice|thirdparty|authors)")


def superfluous(venv: Path) -> set[Path]:
    """The files to remove. Raises FileNotFoundError where ``venv`` is no virtual environment."""
    if not any(venv.glob(PACKAGES)):
        raise FileNotFoundError(f"{venv} is no virtual environment")
    found = [path for pattern in PATTERNS for path in venv.glob(pattern)]
    inner = (each for path in found for each in ([path] if path.is_symlink() else [path, *path.rglob("*")]))
    return {path for path in inner if (path.is_symlink() or path.is_file()) and not KEPT.search(path.name)}


def trim(venv: Path) -> int:
    """Remove; returns the bytes that are free now."""
    gone = superfluous(venv)
    freed = sum(file.lstat().st_size for file in gone)
    for file in gone:
        file.unlink()
    for folder in sorted({parent for file in gone for parent in file.parents if venv in parent.parents}, reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    return freed


if __name__ == "__main__":
    try:
        print(f"trimmed: {trim(Path(*sys.argv[1:2])) / 1e6:.1f} MB less", flush=True)
    except FileNotFoundError as error:
        print(f"trim: {error}", file=sys.stderr)
        raise SystemExit(2) from None
