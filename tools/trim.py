"""Remove from a virtual environment what inference never touches: `python tools/trim.py VENV`. Standard library only.

ONNX Runtime's wheel holds its engine twice (the Python module is complete without the shared library) and tools for
making models; numpy's holds tests, headers and compilers' aids. Distributions of which nothing stays go with their
metadata, so that a bill of materials tells what is there. `tests/service/inside_image.py` proves that nothing that the
service needs is gone.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

# Of the packages here only the named parts go. Patterns of `Path.glob` in site-packages.
PARTS = [
    *(f"onnxruntime/{name}" for name in ("backend", "datasets", "quantization", "tools", "transformers")),
    *(f"onnxruntime/capi/{name}" for name in ("libonnxruntime.so*", "training")),
    "onnxruntime/ThirdPartyNotices.txt",
    *(f"numpy/{name}" for name in ("distutils", "f2py", "testing", "_core/include", "_core/lib", "_pyinstaller")),
    *(f"numpy/{name}" for name in ("random/lib", "random/_examples", "doc", "conftest.py")),
    *(f"numpy/_core/{name}.*.so" for name in ("_simd", "_*_tests", "_operand_flag_tests")),
    "numpy/**/tests",
    "numpy/**/*.pyi",
    "numpy/**/*.pxd",
]
# Whole distributions, with all their packages: ONNX Runtime's for making and reading models in Python, cffi's for
# compiling (what was compiled needs `_cffi_backend` alone).
WHOLE = {"flatbuffers": ["flatbuffers"], "protobuf": ["google"], "pycparser": ["pycparser"], "cffi": ["cffi"]}
STAMP = (
    ".kws-installed"  # by which tools/install.py knows its own work: of no use in an image, and it tells of the lock
)
# A console script's module is gone with it.
SCRIPTS = ("f2py", "numpy-config", "onnxruntime_test")


def site_packages(venv: Path) -> Path:
    """The one `site-packages` of `venv`.

    Raises:
        FileNotFoundError: there is none.
    """
    found = sorted(venv.glob("lib/python3*/site-packages"))
    if not found:
        raise FileNotFoundError(f"{venv} is no virtual environment")
    return found[0]


def trim(venv: Path) -> int:
    """Remove; returns the bytes that are free now."""
    packages = site_packages(venv)
    gone = [path for pattern in PARTS for path in packages.glob(pattern)]
    for distribution, names in WHOLE.items():
        information = [
            path
            for path in packages.glob("*.dist-info")
            if re.sub(r"[-_.]+", "-", path.name.partition("-")[0]).lower() == distribution
        ]
        if information:
            gone += [*information, *(packages / name for name in names)]
    gone += [venv / "bin" / name for name in SCRIPTS]
    gone.append(venv / STAMP)
    return sum(remove(path) for path in gone)


def remove(path: Path) -> int:
    """Remove a file (with its bytecode) or folder where it is; returns its bytes."""
    if path.is_symlink() or path.is_file():
        size = path.lstat().st_size
        path.unlink()
        compiled = path.parent.glob(f"__pycache__/{path.stem}.*.pyc") if path.suffix == ".py" else ()
        return size + sum(remove(file) for file in compiled)
    if not path.is_dir():
        return 0
    size = sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
    shutil.rmtree(path)
    return size


def main() -> int:
    """Trim, and say by how much."""
    parser = argparse.ArgumentParser(prog="trim", description=__doc__)
    parser.add_argument("venv", type=Path)
    options = parser.parse_args()
    try:
        freed = trim(options.venv)
    except FileNotFoundError as error:
        print(f"trim: {error}", file=sys.stderr)
        return 2
    print(f"trimmed {options.venv}: {freed / 1e6:.1f} MB less", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
