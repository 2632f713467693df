"""Install locked dependency groups into a virtual environment: natively and in every container.

Standard library only: it runs before anything is installed, with any Python from 3.11 on. It brings the uv that
``uv.lock`` names, by its hash, and installs the versions and hashes of that file. PyTorch's CPU build (200 MB) comes
from PyTorch's own index, whose files no hash in the lock covers; where that cannot be reached it says so and takes the
package index's build, which on Linux carries CUDA (5 GB) and is hashed too.

``uv sync`` is not used because a lock names the files of the index it was made with: an export with hashes
installs the same files from any mirror.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

try:
    import tomllib
except ImportError:
    raise SystemExit(f"install: Python 3.11 or newer is needed; this is {sys.version.split()[0]}") from None

ROOT = Path(__file__).resolve().parent.parent
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TORCH_PACKAGES = re.compile(r"(torch|torchaudio)==[^\s;]+")
# What only the CUDA build of torch needs, as named by the lock.
CUDA_PACKAGES = re.compile(r"(nvidia-|cuda-|triton\b)")
PLATFORMS = {"linux/amd64": "x86_64-unknown-linux-gnu", "linux/arm64": "aarch64-unknown-linux-gnu"}


def main() -> None:
    options = parse_arguments()
    stamp, fingerprint = options.venv / ".kws-installed", digest_of_inputs(options)
    if stamp.is_file() and stamp.read_text() == fingerprint:
        return
    uv = find_uv(options.package_index)
    # A stale environment is made anew: what an older lock installed must not linger.
    run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(options.venv)], options.package_index)
    groups = [option for group in options.groups for option in ("--group", group)]
    export = [uv, "export", "--quiet", "--frozen", "--no-default-groups", "--no-emit-project", "--no-annotate"]
    # The lock's entries for the groups, each with all its hashes.
    locked = run([*export, "--no-header", *groups], capture=True).replace("\\\n", "").splitlines()
    torch = [found[0] for line in locked if (found := TORCH_PACKAGES.match(line))]
    cpu = bool(torch) and sys.platform == "linux" and index_answers(options.torch_index)
    if cpu:
        locked = [line for line in locked if not (CUDA_PACKAGES.match(line) or TORCH_PACKAGES.match(line))]
    install = [uv, "pip", "install", "--quiet", "--python", str(options.venv)]
    install += ["--python-platform", PLATFORMS[options.platform]] if options.platform else []
    install_hashed(install, locked, options.package_index)
    if cpu:
        # Its own dependencies stand in the lock and are installed already.
        run([*install, "--no-deps", *torch], options.torch_index)
    stamp.write_text(fingerprint)
    print(f"installed {', '.join(options.groups)} into {options.venv}", flush=True)


def parse_arguments() -> argparse.Namespace:
    torch_index, package_index = os.environ.get("KWS_TORCH_INDEX", CPU_INDEX), os.environ.get("KWS_PACKAGE_INDEX", "")
    parser = argparse.ArgumentParser(description="Install locked dependency groups into a virtual environment.")
    add = parser.add_argument
    add("groups", nargs="+", metavar="GROUP", help="a dependency group of pyproject.toml")
    add("--venv", type=Path, default=ROOT / ".venv", help="the environment (default: .venv)")
    add("--platform", choices=sorted(PLATFORMS), help="unpack another platform's wheels: nothing of them is run")
    add("--torch-index", default=torch_index, help="of torch's CPU build; empty: none [KWS_TORCH_INDEX] (%(default)s)")
    add("--package-index", default=package_index, help="a mirror of PyPI [KWS_PACKAGE_INDEX] (default: uv's and pip's)")
    return parser.parse_args()


def digest_of_inputs(options: argparse.Namespace) -> str:
    """SHA-256 over all that decides what the environment holds."""
    files = b"".join((ROOT / path).read_bytes() for path in ("pyproject.toml", "uv.lock", "tools/install.py"))
    told = repr((sys.version, sorted(options.groups), options.torch_index, options.platform))
    return hashlib.sha256(files + told.encode()).hexdigest()


def find_uv(package_index: str) -> str:
    """The path of the uv that the lock names: the machine's own, or one installed into ``.uv`` beside the project."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    (locked,) = (package for package in packages if package["name"] == "uv")
    version, folder = locked["version"], ROOT / ".uv"
    for found in (shutil.which("uv"), str(folder / "bin" / "uv")):
        if found and Path(found).is_file() and version_of(found) == [version]:
            return found
    if subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], capture_output=True).returncode:
        remedy = f"install its venv module (Debian: apt install python3-venv) or uv {version}"
        raise SystemExit(f"install: {sys.executable} cannot make a virtual environment: {remedy}")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    requirement = [f"uv=={version}", *(f"--hash={file['hash']}" for file in locked["wheels"])]
    install_hashed([*pip, "--only-binary=:all:"], [" ".join(requirement)], package_index)
    return str(folder / "bin" / "uv")


def version_of(uv: str) -> list[str]:
    """``["0.13.9"]`` of ``uv 0.13.9 (…)``; empty where it does not run."""
    try:
        return subprocess.run([uv, "--version"], capture_output=True, text=True).stdout.split()[1:2]
    except OSError:
        return []


def install_hashed(command: list[str], requirements: list[str], package_index: str) -> None:
    """Install requirements, each with its hashes: a file that has none of them is refused."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("\n".join(requirements) + "\n")
        run([*command, "--require-hashes", "--requirement", str(listed)], package_index)


def index_answers(index: str) -> bool:
    """Whether the index serves its page of torch within 8 seconds (an empty one does not); says what follows."""
    try:
        urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=8).close()  # noqa: S310 (the user's own URL)
        print(f"torch: the CPU build from {index}, by version: the lock has no hash of it", flush=True)
        return True
    except (OSError, ValueError):
        if index:
            cuda = "taking the package index's build, which carries CUDA: about 5 GB"
            print(f"torch: {index} cannot be reached (KWS_TORCH_INDEX names another index); {cuda}", flush=True)
        return False


def run(command: list[str], package_index: str = "", *, capture: bool = False) -> str:
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
    main()
