"""Reading what the stages left, where a missing or broken file is a finding and no crash, and writing beside it."""

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from jinja2 import ChainableUndefined, Environment, PackageLoader

EVALUATION, METRICS = "model/evaluation.json", "model/train_metrics.json"
INFERENCE, PUBLISHED = "inference/inference_metrics.json", "inference/published/inference_metrics.json"
IMAGE, SBOM, OSV, LICENCES = (f"image/{name}.json" for name in ("image", "sbom.cdx", "osv", "licences"))

TEMPLATES = Environment(  # noqa: S701  # no HTML: filters escape what must be
    loader=PackageLoader("release"), undefined=ChainableUndefined, trim_blocks=True, lstrip_blocks=True
)
Output = Annotated[Path, typer.Option(show_default=False)]
Repeated = Annotated[list[str] | None, typer.Option(help="Repeatable.")]


class InputError(Exception):
    """Bad input: one line that names it and the remedy (exit code 2)."""


class ToolError(Exception):
    """A tool that this program runs failed (exit code 1)."""


def read_file(path: Path, loads: Callable[[str], Any] = json.loads) -> dict[str, Any]:
    """A file's object, of JSON unless ``loads`` reads another form. Raises InputError where there is none."""
    try:
        return {**loads(path.read_text(encoding="utf-8-sig"))}
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}); run the stage that writes it, or mend it") from error


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def run_tool(*command: str, codes: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    """What a program ended with and said. Raises ToolError where it cannot be started, or ends with another code."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise ToolError(f"{command[0]} cannot be run ({error.strerror}): install it") from error
    if done.returncode not in codes:
        said = done.stderr.strip().rpartition("\n")[2]
        raise ToolError(f"{command[0]} ended with {done.returncode}: {said}")
    return done


def as_number(value: Any, *, share: bool = False) -> float | None:
    """A finite number from 0 on (a share: to 1), or None: neither a boolean nor NaN is a measurement."""
    return float(value) if type(value) in (int, float) and 0 <= value <= (1 if share else 1e300) else None


class Artifacts(NamedTuple):
    """An artefact directory; ``known`` are files that this run makes or is given: what is on disk does not count."""

    root: Path
    known: Mapping[str, dict[str, Any]] = {}

    def read(self, name: str) -> dict[str, Any]:
        """A file's object; of one that is missing or broken an object whose ``error`` says why."""
        path = self.root / name
        try:
            return self.known[name] if name in self.known else read_file(path)
        except InputError as error:
            # A stage that ended early leaves its words in place of its findings.
            log = path.with_name("train.log" if name == METRICS else "error.txt")
            said = log.read_text(encoding="utf-8", errors="replace").strip() if log.is_file() else ""
            absent = ": ".join(filter(None, [f"there is no {name}", said.rpartition("\n")[2]]))
            return {"error": str(error) if path.exists() else absent}

    def get(self, name: str, path: str) -> Any:
        """What stands in a file under keys and list indices, such as ``accuracy_interval_95/0``, or None."""
        found: Any = self.read(name)
        try:
            for key in path.split("/"):
                found = found[int(key)] if isinstance(found, list) else found[key]
        except (LookupError, TypeError, ValueError):
            return None
        return found

    def why_not(self, name: str, what: str = "") -> str:
        """Why something that a file should tell is not known, in the words of who should have measured it."""
        told = self.read(name).get("error") or self.get(name, f"not_measured/{what}") or f"{name} does not tell"
        return str(told).partition("\n")[0]
