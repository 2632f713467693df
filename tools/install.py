"""Install locked dependency groups into a virtual environment: natively and in every container.

Standard library only: it runs before anything is installed, with any Python from 3.11 on. It brings uv where
there is none, installs the versions and hashes of ``uv.lock``, and takes PyTorch's CPU build (200 MB) from
PyTorch's own index; where that cannot be reached it says so and takes the package index's build, which on Linux
carries CUDA (5 GB).

``uv sync`` is not used because a lock names the files of the index it was made with: an export with hashes
installs the same files from any mirror.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV_VERSION = "0.13.9"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# What only the CUDA build of torch needs, as named by the lock.
CUDA_PACKAGES = re.compile(r"^(nvidia-|cuda-|triton\b)")
PLATFORMS = {"linux/amd64": "x86_64-unknown-linux-gnu", "linux/arm64": "aarch64-unknown-linux-gnu"}
TORCH_PACKAGES = re.compile(r"^(torch|torchaudio)==([^\s;]+)")


def main() -> int:
    options = parse_arguments()
    stamp = options.venv / ".kws-installed"
    fingerprint = digest_of_inputs(options)
    foreign = ["--python-platform", PLATFORMS[options.platform]] if options.platform else []
    if stamp.is_file() and stamp.read_text() == fingerprint:
        return 0
    uv = find_uv(options.package_index)
    # A stale environment is made anew: what an older lock installed must not linger.
    run(
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(options.venv)],
        options.package_index,
    )
    requirements = export(uv, options.groups)
    cpu_torch = [name for line in requirements if (name := torch_requirement(line))]
    if cpu_torch and sys.platform == "linux" and index_answers(options.torch_index):
        print(f"torch: the CPU build from {options.torch_index}", flush=True)
        requirements = [line for line in requirements if not torch_requirement(line) and not is_cuda(line)]
    elif cpu_torch:
        if sys.platform == "linux" and options.torch_index:
            print(
                f"torch: {options.torch_index} cannot be reached (KWS_TORCH_INDEX names another index); "
                "taking the package index's build, which carries CUDA: about 5 GB",
                flush=True,
            )
        cpu_torch = []
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("\n".join(requirements) + "\n")
        install = [uv, "pip", "install", "--quiet", "--python", str(options.venv), *foreign]
        run([*install, "--require-hashes", "--requirements", str(listed)], options.package_index)
    if cpu_torch:
        # Its own dependencies stand in the lock and are installed already.
        run([*install, "--no-deps", *cpu_torch], options.torch_index)
    stamp.write_text(fingerprint)
    print(f"installed {', '.join(options.groups)} into {options.venv}", flush=True)
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("groups", nargs="+", metavar="GROUP", help="a dependency group of pyproject.toml")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="the environment (default: .venv)")
    parser.add_argument(
        "--platform",
        choices=sorted(PLATFORMS),
        help="install another platform's wheels: they are unpacked, nothing of them is run (default: this machine's)",
    )
    parser.add_argument(
        "--torch-index",
        default=os.environ.get("KWS_TORCH_INDEX", CPU_INDEX),
        help="index of torch's CPU build; empty: the package index's build [KWS_TORCH_INDEX] (%(default)s)",
    )
    parser.add_argument(
        "--package-index",
        default=os.environ.get("KWS_PACKAGE_INDEX", ""),
        help="a mirror of PyPI [KWS_PACKAGE_INDEX] (default: what uv and pip are set to)",
    )
    return parser.parse_args()


def digest_of_inputs(options: argparse.Namespace) -> str:
    """SHA-256 over all that decides what the environment holds."""
    digest = hashlib.sha256()
    for path in ("pyproject.toml", "uv.lock", "tools/install.py"):
        digest.update((ROOT / path).read_bytes())
    digest.update(repr((sys.version, sorted(options.groups), options.torch_index, options.platform)).encode())
    return digest.hexdigest()


def find_uv(package_index: str) -> str:
    """The path of uv: the machine's own, or one installed into ``.uv`` beside the project."""
    if found := shutil.which("uv"):
        return found
    folder = ROOT / ".uv"
    uv = folder / "bin" / "uv"
    if not uv.is_file():
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], capture_output=True, text=True)
        if made.returncode:
            raise SystemExit(
                f"install: {sys.executable} cannot make a virtual environment: "
                "install its venv module (Debian: apt install python3-venv) or uv"
            )
        pip = [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        run([*pip, f"uv=={UV_VERSION}"], package_index)
    return str(uv)


def export(uv: str, groups: list[str]) -> list[str]:
    """The lock's entries for the groups, a requirement with all its hashes to a string."""
    names = [option for group in groups for option in ("--group", group)]
    command = [
        uv,
        "export",
        "--quiet",
        "--frozen",
        "--no-default-groups",
        "--no-emit-project",
        "--no-annotate",
    ]
    text = run([*command, "--no-header", *names], package_index="", capture=True)
    return text.replace("\\\n", "").splitlines()


def torch_requirement(line: str) -> str:
    """``torch==2.13.0`` of a line that asks for torch or torchaudio, else an empty string."""
    found = TORCH_PACKAGES.match(line)
    return found.group(0) if found else ""


def is_cuda(line: str) -> bool:
    return bool(CUDA_PACKAGES.match(line))


def index_answers(index: str, timeout: float = 8.0) -> bool:
    """Whether the index serves its page of torch within ``timeout`` seconds."""
    if not index:
        return False
    try:
        with urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=timeout):  # noqa: S310 (the user's own URL)
            return True
    except (urllib.error.URLError, OSError, ValueError):
        return False


def run(command: list[str], package_index: str, *, capture: bool = False) -> str:
    """Run an installer; its failure ends the program with the command's own message."""
    # Behind a firewall the CA of its proxy stands in the system's store, which uv does not read by default.
    environment = {"UV_SYSTEM_CERTS": "true", "UV_PYTHON_DOWNLOADS": "never", **os.environ}
    if package_index:
        environment |= {"UV_DEFAULT_INDEX": package_index, "PIP_INDEX_URL": package_index}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE if capture else None, text=True)
    if done.returncode:
        raise SystemExit(f"install: '{' '.join(command[:3])} …' ended with exit code {done.returncode}")
    return done.stdout or ""


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 (it is run by whatever Python there is)
        raise SystemExit(f"install: Python 3.11 or newer is needed; this is {sys.version.split()[0]}")
    raise SystemExit(main())
