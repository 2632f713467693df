"""Reading what the stages left: a missing or broken file is a finding for the gates, never a crash."""

from __future__ import annotations

import json
import math
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

EVALUATION = "model/evaluation.json"
METRICS = "model/train_metrics.json"
INFERENCE = "inference/inference_metrics.json"
PUBLISHED = "inference/published/inference_metrics.json"
START = "inference/start_time.json"
IMAGE = "image/image.json"
SBOM = "image/sbom.cdx.json"
OSV = "image/osv.json"


class InputError(Exception):
    """Bad input: one line that names it and the remedy (exit code 2)."""


class ToolError(Exception):
    """A tool that this program runs failed (exit code 1)."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises InputError where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}); run the stage that writes it") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object; run the stage that writes it again")
    return content


def read_toml(path: Path) -> dict[str, Any]:
    """Raises InputError where there is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as TOML ({error})") from error


def run_tool(*command: str) -> subprocess.CompletedProcess[str]:
    """What a program ended with and said. Raises ToolError where it cannot be started."""
    try:
        return subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise ToolError(f"{command[0]} cannot be run ({error.strerror}): install it") from error


def last_line(text: str) -> str:
    """The last line that is not blank."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def as_number(value: Any) -> float | None:
    """A finite number, or None: neither a boolean nor NaN is a measurement."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def package_name(name: str) -> str:
    """A Python package's name in PEP 503's form."""
    return re.sub(r"[-_.]+", "-", name).lower()


class Artifacts:
    """An artefact directory. Each file is read once; what cannot be read is an empty object."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._read: dict[str, dict[str, Any]] = {}

    def read(self, name: str) -> dict[str, Any]:
        """The JSON object of a file; where it is missing or broken, one whose ``error`` says so."""
        if name not in self._read:
            try:
                self._read[name] = read_json(self.root / name)
            except InputError as error:
                there = (self.root / name).exists()
                self._read[name] = {"error": str(error) if there else f"there is no {name}"}
        return self._read[name]

    def get(self, name: str, path: str) -> Any:
        """What stands in a file under keys and list indices, such as ``accuracy_interval_95/0``, or None."""
        found: Any = self.read(name)
        for key in path.split("/"):
            try:
                found = found[int(key)] if isinstance(found, list) else found[key]
            except (KeyError, IndexError, TypeError, ValueError):
                return None
        return found

    def why_not(self, name: str) -> str:
        """Why something that a file should tell is not known."""
        lines = str(self.read(name).get("error") or "").splitlines()
        return lines[0] if lines else f"{name} does not tell"

    def text(self, name: str) -> str:
        """What a text file says; empty where there is none."""
        path = self.root / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
