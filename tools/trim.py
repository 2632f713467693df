"""Remove from a virtual environment what inference never touches: `python tools/trim.py VENV`. Standard library only.

ONNX Runtime's wheel holds its engine twice (the Python module is complete without the shared library) and tools for
making models; numpy's holds tests, headers and compilers' aids. What must go along with the rest stays: licences,
notices of what is bundled, and the metadata of every distribution of which anything stays, so that a bill of materials
tells what is there. `tests/service/inside_image.py` proves that nothing that the service needs is gone.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

# Patterns of `Path.glob` in site-packages. Of cffi `_cffi_backend` alone is needed for what was compiled with it.
PARTS = [
    *(f"onnxruntime/{name}" for name in ("backend", "datasets", "quantization", "tools", "transformers")),
    *(f"onnxruntime/capi/{name}" for name in ("libonnxruntime.so*", "training")),
    *(f"numpy/{name}" for name in ("distutils", "f2py", "testing", "_core/include", "_core/lib", "_pyinstaller")),
    *(f"numpy/{name}" for name in ("random/lib", "random/_examples", "doc", "conftest.py")),
    *(f"numpy/_core/{name}.*.so" for name in ("_simd", "_*_tests", "_operand_flag_tests")),
    *("numpy/**/tests", "numpy/**/*.pyi", "numpy/**/*.pxd", "cffi", "numpy/__pycache__/conftest.*.pyc"),
]
# Whole distributions, metadata too: ONNX Runtime's for making models in Python, cffi's for compiling.
WHOLE = {"flatbuffers": "flatbuffers", "protobuf": "google", "pycparser": "pycparser"}
KEPT = re.compile(r"(?i)(licen[cs]e|copying|notice|thirdparty|authors)")
STAMP = ".kws-installed"  # by which tools/install.py knows its own work: of no use in an image
# A console script's module is gone with it.
SCRIPTS = ("f2py", "numpy-config", "onnxruntime_test", "gen-cffi-src")


def superfluous(venv: Path) -> Iterator[Path]:
    """The files to remove. Raises FileNotFoundError where ``venv`` is no virtual environment."""
    packages = next(venv.glob("lib/python3*/site-packages"), None)
    if packages is None:
        raise FileNotFoundError(f"{venv} is no virtual environment")
    yield from filter(Path.exists, (venv / STAMP, *(venv / "bin" / name for name in SCRIPTS)))
    for pattern in PARTS:
        yield from (file for path in packages.glob(pattern) for file in files(path) if not KEPT.search(file.name))
    for distribution, package in WHOLE.items():
        metadata = list(packages.glob(f"{distribution}-*.dist-info"))
        yield from (file for path in metadata for part in (path, packages / package) for file in files(part))


def files(path: Path) -> list[Path]:
    """The file itself, or all files of a folder."""
    inner = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return [file for file in inner if file.is_symlink() or file.is_file()]


def trim(venv: Path) -> int:
    """Remove; returns the bytes that are free now."""
    gone = set(superfluous(venv))
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
