"""The gates: what the artefacts must show before an image may be published. Standard library only.

``judge`` is the one authority: the pipeline asks it before it publishes, the report shows its table, and
``python -m tools.gates ARTIFACTS`` turns the verdict that stands in ``gates.json`` into an exit code.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tools.artifacts import ArtifactError, read, read_optional, same_version
from tools.bounds import Bounds
from tools.figures import Values, collect, of_release, same_clips
from tools.sbom import stated_licences

FAILED = 3


@dataclass(frozen=True)
class Gate:
    """A bound, what was found, and whether it held; None: not judged, and ``value`` says why."""

    name: str
    bound: str
    value: str
    passed: bool | None

    def line(self) -> str:
        return f"{self.name}: {self.value}, the bound is {self.bound}"


@dataclass(frozen=True)
class Verdict:
    """All gates of a run, and its figures beside those of the last release, or why there are none of one."""

    gates: list[Gate]
    figures: Values
    release: Values | None = None
    no_release: str = "none was given"

    @property
    def failed(self) -> list[Gate]:
        return [gate for gate in self.gates if gate.passed is False]

    def write(self, path: Path) -> None:
        """``gates.json``: whether the run passed, each gate, the figures."""
        content = {"passed": not self.failed, **asdict(self)}
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def judge(
    artifacts: Path, bounds: Bounds, release: Path | None = None, no_release: str = Verdict.no_release
) -> Verdict:
    """Judge an artefact directory, against the last release's ``evaluation.json`` or ``gates.json`` where given.

    ``no_release`` says why there is none to give.

    Raises ArtifactError where an artefact is missing, broken or of another version.
    """
    last = None if release is None else of_release(release)
    now = collect(artifacts)
    with same_version(artifacts):
        gates = [
            *_model(artifacts / "model", bounds, now, last),
            *_inference("/predict", artifacts / "inference", bounds, now["model_version"]),
            _start(read_optional(artifacts / "inference" / "start_time.json"), bounds.max_start_seconds),
            *_image(artifacts / "image", bounds, now),
        ]
        published = artifacts / "inference" / "published"
        if published.is_dir():
            gates += _inference("published /predict", published, bounds, now["model_version"])
    return Verdict(gates, now, last, "" if last else no_release)


def _least(name: str, value: float | None, bound: float | None, form: str = ".2%") -> Gate:
    return _gate(name, value, bound, ">=", form, value is not None and bound is not None and value >= bound)


def _most(name: str, value: float | None, bound: float | None, form: str = "g") -> Gate:
    return _gate(name, value, bound, "<=", form, value is not None and bound is not None and value <= bound)


def _gate(name: str, value: float | None, bound: float | None, sign: str, form: str, held: bool) -> Gate:
    unit = form.partition(" ")[2]
    form = form.partition(" ")[0]
    shown = "not measured" if value is None else f"{value:{form}} {unit}".rstrip()
    if bound is None:
        return Gate(name, "off", shown, None)
    return Gate(name, f"{sign} {bound:{form}} {unit}".rstrip(), shown, None if value is None else held)


def _model(folder: Path, bounds: Bounds, now: Values, last: Values | None) -> Iterator[Gate]:
    evaluation, metrics = read(folder / "evaluation.json"), read(folder / "train_metrics.json")
    yield _least("model accuracy", now["accuracy"], bounds.min_accuracy)
    yield _least("model accuracy, lower 95 %", now["accuracy_lower"], bounds.min_accuracy_lower)
    for label, measured in evaluation["per_class"].items():
        # By the trainer's convention the classes beside the keywords are called _unknown_ and _silence_.
        bound = bounds.min_rejection if label.startswith("_") else bounds.min_recall
        yield _least(f"recall of {label}", float(measured["recall"]), bound)
    yield _loss(bounds.max_loss_increase, now, last)
    difference = float(metrics["onnx"]["parity_max_difference"])
    yield _most("ONNX against PyTorch", difference, bounds.max_parity_difference, ".1e")
    yield _robustness(evaluation["robustness"]["cases"], bounds.max_disturbed_drop)


def _loss(bound: float | None, now: Values, last: Values | None) -> Gate:
    """Two losses compare where both were measured on the same clips."""
    name = "loss against the last release"
    if last is None:
        return Gate(name, "off" if bound is None else f"<= {bound:+.4f}", "no last release", None)
    if not same_clips(now, last):
        return Gate(name, "off" if bound is None else f"<= {bound:+.4f}", "measured on other test clips", None)
    return _most(name, now["loss"] - last["loss"], bound, "+.4f")


def _robustness(cases: list[dict[str, Any]], bound: float | None) -> Gate:
    """The worst loss of accuracy among the evaluation's disturbances of the test clips."""
    worst = min(cases, key=lambda case: float(case["difference"]))
    gate = _most("accuracy lost when disturbed", -float(worst["difference"]), bound, ".2%")
    return Gate(gate.name, gate.bound, f"{gate.value} ({worst['name']})", gate.passed)


def _inference(name: str, folder: Path, bounds: Bounds, model_version: str) -> Iterator[Gate]:
    """The probe's verdict: answers of the right form, the model asked is the one trained, accuracy and time."""
    path = folder / "inference_metrics.json"
    metrics = read_optional(path)
    if metrics is None:
        reason = folder / "error.txt"
        why = reason.read_text(encoding="utf-8").splitlines()[0] if reason.is_file() else f"no {path.name}"
        yield Gate(f"{name} answers", "no failure", f"the service never answered ({why})", False)
        return
    failures, answered = metrics["failures"], metrics.get("model_version")
    yield Gate(f"{name} answers", "no failure", _shortened(failures) or "no failure", not failures)
    yield Gate(f"{name} model", f"version {model_version}", f"version {answered}", answered == model_version)
    # Where the probe did not come so far, the first gate has failed already.
    yield _least(f"{name} accuracy", metrics.get("accuracy"), bounds.min_clip_accuracy)
    yield _most(f"{name} p95", metrics.get("p95_ms"), bounds.max_p95_ms, ".4g ms")


def _start(measured: dict[str, Any] | None, bound: float | None) -> Gate:
    gate = _most("start-up", measured["seconds"] if measured else None, bound, ".4g s")
    if measured and measured["error"]:
        return Gate(gate.name, gate.bound, measured["error"], None if bound is None else False)
    return gate


def _image(folder: Path, bounds: Bounds, now: Values) -> Iterator[Gate]:
    size = now["image_bytes"]
    yield _most("image size", None if size is None else size / 1e6, bounds.max_size_mb, ".4g MB")
    yield _vulnerabilities(read_optional(folder / "audit.json"), bounds.max_vulnerabilities)
    yield _licences(read_optional(folder / "sbom.cdx.json"), bounds.denied_licences)


def _vulnerabilities(audit: dict[str, Any] | None, bound: float | None) -> Gate:
    name = "known vulnerabilities"
    if audit is None:
        return _most(name, None, bound)
    found = audit["vulnerabilities"]
    gate = _most(name, float(len(found)), bound)
    named = [f"{entry['id']} in {entry['package']}" for entry in found]
    return Gate(name, gate.bound, gate.value + (f": {_shortened(named)}" if named else ""), gate.passed)


def _licences(sbom: dict[str, Any] | None, denied: list[str] | None) -> Gate:
    """No component of the CycloneDX document under a denied licence, unless it leaves the choice of another."""
    name, bound = "licences", "off" if denied is None else f"none of {', '.join(denied)}"
    if sbom is None:
        return Gate(name, bound, "not measured", None)
    components = sbom.get("components", [])
    stated = {component["name"]: " AND ".join(stated_licences(component)) for component in components}
    wrong = [f"{what} ({licence})" for what, licence in stated.items() if _is_denied(licence, denied or [])]
    unstated = sum(not licence for licence in stated.values())
    shown = _shortened(wrong) or f"none among {len(components)} components"
    shown += f", {unstated} state none" if unstated else ""
    return Gate(name, bound, shown, None if denied is None else not wrong)


def _is_denied(expression: str, denied: list[str]) -> bool:
    """Of an SPDX expression: every alternative names a denied licence."""
    alternatives = [re.split(r"\s+AND\s+|\s+WITH\s+", choice.strip("() ")) for choice in expression.split(" OR ")]
    return all(any(fnmatchcase(licence.strip("() "), pattern) for licence in choice for pattern in denied)
               for choice in alternatives)  # fmt: skip


def _shortened(failures: list[str], most: int = 3) -> str:
    """The last few (the probe's own limits come last), and how many more there are."""
    more = [f"{len(failures) - most} more"] if len(failures) > most else []
    return "; ".join(failures[-most:] + more)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fail, with a line a failed gate, where the verdict was no.")
    parser.add_argument("artifacts", type=Path, help="the pipeline's artefact directory")
    options = parser.parse_args()
    try:
        path = options.artifacts / "gates.json"
        verdict = read(path)
        with same_version(path):
            gates = [Gate(**gate) for gate in verdict["gates"]]
            if not gates:
                raise ArtifactError(f"{path} names no gate")
    except ArtifactError as error:
        print(f"gates: {options.artifacts} holds no verdict of the pipeline: {error}", file=sys.stderr)
        return 2
    failed = [gate for gate in gates if gate.passed is False]
    for gate in failed:
        print(f"gate failed: {gate.line()}", file=sys.stderr)
    if failed:
        return FAILED
    skipped = [gate.name for gate in gates if gate.passed is None]
    print(f"{len(gates) - len(skipped)} gates passed" + (f"; not judged: {', '.join(skipped)}" if skipped else ""))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
