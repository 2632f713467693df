"""Where an artefact comes from: the source's revision, the versions of what computed it."""

import logging
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

log = logging.getLogger(__name__)

_PACKAGES = ("torch", "torchaudio", "numpy", "onnx", "onnxruntime", "soundfile", "soxr")


@cache
def revision() -> str:
    """The git commit of this source, ``+dirty`` after it where files differ from it; empty where there is no git.

    ``KWS_REVISION`` goes before, for places where the source lies without its repository, as in a container.
    """
    if given := os.environ.get("KWS_REVISION"):
        return given
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():  # a copy inside another repository is not that repository's commit
        return ""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("+dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().split("\n", 1)[0]
        log.warning(
            "the source's revision is not known (%s): set KWS_REVISION, or where the checkout is another user's run "
            "`git config --global --add safe.directory %s`",
            *(said, root),
        )
        return ""


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a result depends on."""
    return {"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()
