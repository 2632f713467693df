"""The headline figures of a run, and those of the last release to compare with. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.artifacts import ArtifactError, read, read_optional, same_version

Values = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """How a figure is called and written. ``scale`` is from the stored value to the written one."""

    title: str
    unit: str
    scale: float = 1
    digits: int = 1
    differs_in: str = ""  # the unit of a difference, where it is another

    def text(self, value: float | None) -> str:
        return "-" if value is None else f"{value * self.scale:.{self.digits}f} {self.unit}".rstrip()

    def difference(self, now: float | None, then: float | None) -> str:
        if now is None or then is None:
            return "-"
        return f"{(now - then) * self.scale:+.{self.digits}f} {self.differs_in or self.unit}".rstrip()


FIGURES = {
    "accuracy": Figure("test accuracy", "%", 100, 2, "points"),
    "accuracy_lower": Figure("lower end of its 95 % interval", "%", 100, 2, "points"),
    "lowest_recall": Figure("lowest recall of a label", "%", 100, 2, "points"),
    "loss": Figure("test loss", "", 1, 4),
    "clip_accuracy": Figure("`/predict` right", "%", 100, 1, "points"),
    "p95_ms": Figure("`/predict` p95", "ms", 1, 1),
    "start_seconds": Figure("start-up", "s", 1, 2),
    "image_bytes": Figure("image", "MB", 1e-6, 1),
    "vulnerabilities": Figure("known vulnerabilities", "", 1, 0),
}


def of_model(evaluation: dict[str, Any]) -> Values:
    """What ``evaluation.json`` gives: the figures, and what tells whether two of them compare."""
    return {
        "accuracy": float(evaluation["accuracy"]),
        "accuracy_lower": float(evaluation["accuracy_interval_95"][0]),
        "lowest_recall": min(float(label["recall"]) for label in evaluation["per_class"].values()),
        "loss": float(evaluation["loss"]),
        "model_version": str(evaluation["model_version"]),
        "test_clips": {label: figures["clips"] for label, figures in evaluation["per_class"].items()},
        "data_digest": str(evaluation.get("data_digest", "")),
    }


def same_clips(now: Values, then: Values) -> bool:
    """Whether two runs were measured on the same clips: as many of each label, of the same data where that is known."""
    digests = {values["data_digest"] for values in (now, then) if values.get("data_digest")}
    return bool(now["test_clips"] == then["test_clips"]) and len(digests) < 2


def collect(artifacts: Path) -> Values:
    """The figures of an artefact directory; None for what was not measured in this run.

    Raises ArtifactError where the model's part is missing, or a file is of another version.
    """
    path = artifacts / "model" / "evaluation.json"
    evaluation = read(path)
    with same_version(path):
        values = of_model(evaluation)
    served = read_optional(artifacts / "inference" / "inference_metrics.json") or {}
    values |= {"clip_accuracy": served.get("accuracy"), "p95_ms": served.get("p95_ms")}
    optional: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
        "start_seconds": ("inference/start_time.json", lambda start: start["seconds"]),
        "image_bytes": ("image/image.json", lambda image: int(image["size_bytes"])),
        "layers": ("image/image.json", _layers),
        "vulnerabilities": ("image/audit.json", lambda audit: len(audit["vulnerabilities"])),
    }
    for name, (file, pick) in optional.items():
        content = read_optional(artifacts / file)
        with same_version(artifacts / file):
            values[name] = None if content is None else pick(content)
    return values


def _layers(image: dict[str, Any]) -> list[str]:
    """The digests of all layers, for the next release to tell which of them are its own."""
    return sorted({layer["digest"] for each in image["images"] for layer in each["layers"]})


def of_release(path: Path) -> Values:
    """The figures of an earlier release: its ``gates.json``, or its ``evaluation.json`` alone."""
    content = read(path)
    with same_version(path):
        if "figures" in content:
            content["figures"]["loss"], content["figures"]["test_clips"]  # what a comparison cannot do without
            return dict(content["figures"])
        if "confusion_matrix" in content:
            return of_model(content)
    raise ArtifactError(f"{path} is neither the evaluation.json nor the gates.json of a release")
