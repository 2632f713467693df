"""What is trimmed from an environment; that the service misses nothing of it is for the engine's tests to see."""

import subprocess
import sys
from pathlib import Path

from tools.trim import STAMP, trim

ROOT = Path(__file__).parents[2]
PACKAGES = "lib/python3.13/site-packages"
GONE = ["onnxruntime/capi/libonnxruntime.so.1", "onnxruntime/tools/a.py", "numpy/f2py/b/c.py", "numpy/lib/tests/x.py"]
GONE += ["numpy/__init__.pyi", "numpy/_core/_simd.cpython-313-x86_64-linux-gnu.so", "cffi/api.py", "google/a.py"]
GONE += ["protobuf-7.dist-info/METADATA", "flatbuffers/a.py"]
GONE += ["flatbuffers-25.dist-info/METADATA"]
# REVIEW 9: what must be redistributed, and the metadata of what stays.
KEPT = [
    "onnxruntime/LICENSE",
    "onnxruntime/ThirdPartyNotices.txt",
    "onnxruntime/tools/COPYING",
    "cffi/licenses/AUTHORS",
]
KEPT += ["cffi-2.dist-info/METADATA", "cffi-2.dist-info/licenses/LICENSE", "_cffi_backend.so", "limits/a.py"]
KEPT += ["onnxruntime/capi/onnxruntime_pybind11_state.so", "numpy/_core/_multiarch.so", "numpy/__init__.py"]


def test_what_goes_and_what_stays(tmp_path: Path) -> None:
    gone, kept = ({tmp_path / PACKAGES / name for name in names} for names in (GONE, KEPT))
    gone |= {tmp_path / STAMP, tmp_path / "bin" / "f2py"}
    kept |= {tmp_path / "bin" / "python"}
    for path in gone | kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert trim(tmp_path) == len(gone)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == kept
    assert [path for path in tmp_path.rglob("*") if path.is_dir() and not any(path.iterdir())] == []
    assert trim(tmp_path) == 0
    assert f'"{STAMP}"' in (ROOT / "tools" / "install.py").read_text()


def test_no_environment_is_one_line(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "tools/trim.py", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (2, f"trim: {tmp_path} is no virtual environment\n")
