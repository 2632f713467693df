"""Where an artefact comes from: the source's revision, the versions of what computed it."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

from model.console import log

_PACKAGES = ("torch", "torchaudio", "numpy", "onnx", "onnxruntime", "soundfile", "soxr")


@cache
def revision() -> str:
    """The git commit of this source, ``+dirty`` after it where files differ from it; empty where there is no git.

    ``KWS_REVISION`` goes before, for places where the source lies without its repository, as in a container.
    """
    root = Path(__file__).parents[1]
    if (given := os.environ.get("KWS_REVISION")) or not (root / ".git").exists():
        return given or ""  # a copy inside another repository is not that repository's commit
    describe = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+dirty"]
    try:
        return subprocess.run(describe, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().split("\n", 1)[0]
        remedy = f"where the checkout is another user's run `git config --global --add safe.directory {root}`"
        log.warning("the source's revision is not known (%s): set KWS_REVISION, or %s", said, remedy)
        return ""


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a result depends on."""
    return {"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}}
