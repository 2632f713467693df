"""The gates' verdict and its exit code."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools import bounds, gates
from tools.artifacts import ArtifactError

from .conftest import EVALUATION, PROBE, ROOT, Change

BOUNDS = bounds.read(ROOT / "gates.toml")


def judged(folder: Path, release: Path | None = None, **changed: Any) -> dict[str, gates.Gate]:
    verdict = gates.judge(folder, dataclasses.replace(BOUNDS, **changed), release)
    return {gate.name: gate for gate in verdict.gates}


def failed(folder: Path, release: Path | None = None, **changed: Any) -> list[str]:
    return [name for name, gate in judged(folder, release, **changed).items() if gate.passed is False]


def test_all_pass_and_what_was_not_measured_is_not_judged(change: Change) -> None:
    found = judged(change())
    assert failed(change()) == []
    assert [name for name, gate in found.items() if gate.passed is None] == [
        "loss against the last release",
        "known vulnerabilities",
    ]


@pytest.mark.parametrize(
    ("file", "keys", "expected"),
    [
        ("model/evaluation.json", {"accuracy": 0.849}, ["model accuracy"]),
        ("model/evaluation.json", {"accuracy": 0.85}, []),
        ("model/evaluation.json", {"accuracy": float("nan")}, ["model accuracy"]),
        ("model/evaluation.json", {"accuracy_interval_95": [0.7, 1]}, ["model accuracy, lower 95 %"]),
        ("model/train_metrics.json", {"onnx": {"parity_max_difference": 0.01}}, ["ONNX against PyTorch"]),
        ("inference/inference_metrics.json", {"failures": ["404"]}, ["/predict answers"]),
        ("inference/inference_metrics.json", {"model_version": "def"}, ["/predict model"]),
        ("inference/inference_metrics.json", {"accuracy": 0.7}, ["/predict accuracy"]),
        ("inference/inference_metrics.json", {"p95_ms": 251}, ["/predict p95"]),
        ("inference/start_time.json", {"seconds": 16}, ["start-up"]),
        ("image/image.json", {"size_bytes": 151_000_000}, ["image size"]),
    ],
)
def test_each_bound(change: Change, file: str, keys: dict[str, Any], expected: list[str]) -> None:
    assert failed(change(file, **keys)) == expected


def test_a_start_that_failed_is_not_one_that_was_not_measured(change: Change) -> None:
    ended: dict[str, Any] = {"seconds": None, "runs": [], "error": "the service ended"}
    gate = judged(change("inference/start_time.json", ended))["start-up"]
    assert (gate.value, gate.passed) == ("the service ended", False)


def test_a_label_below_the_bound_is_named(change: Change) -> None:
    weak = {"up": {**EVALUATION["per_class"]["up"], "recall": 0.7}, "no": EVALUATION["per_class"]["no"]}  # type: ignore[index]
    assert failed(change("model/evaluation.json", per_class=weak)) == ["recall of up"]


def test_a_gate_that_is_off_is_said_to_be(change: Change) -> None:
    gate = judged(change("model/evaluation.json", accuracy=0.1), min_accuracy=None)["model accuracy"]
    assert (gate.bound, gate.value, gate.passed) == ("off", "10.00%", None)


def test_the_loss_is_held_against_the_last_release(change: Change, tmp_path: Path) -> None:
    name = "loss against the last release"
    release = tmp_path / "release.json"
    folder = change("model/evaluation.json", loss=0.35)
    release.write_text(json.dumps(EVALUATION))
    assert failed(folder, release) == [name]
    assert judged(folder, release)[name].value == "+0.1500"
    assert failed(folder, release, max_loss_increase=0.2) == []
    # gates.json of the release does as well
    gates.judge(folder, BOUNDS).write(release)
    assert judged(folder, release)[name].value == "+0.0000"


def test_losses_on_other_clips_do_not_compare(change: Change, tmp_path: Path) -> None:
    release = tmp_path / "release.json"
    fewer = {label: {**figures, "clips": 9} for label, figures in EVALUATION["per_class"].items()}  # type: ignore[attr-defined]
    release.write_text(json.dumps({**EVALUATION, "per_class": fewer}))
    folder = change("model/evaluation.json", loss=9.0, data_digest="new")
    gate = judged(folder, release)["loss against the last release"]
    assert (gate.value, gate.passed) == ("measured on other test clips", None)
    release.write_text(json.dumps({**EVALUATION, "data_digest": "old"}))
    assert judged(folder, release)["loss against the last release"].passed is None
    release.write_text(json.dumps({**EVALUATION, "data_digest": "new"}))
    assert judged(folder, release)["loss against the last release"].passed is False


@pytest.mark.parametrize(("content", "message"), [({}, "is neither"), ({"figures": {}}, "of another version")])
def test_a_release_that_is_none_is_named(change: Change, tmp_path: Path, content: Any, message: str) -> None:
    release = tmp_path / "release.json"
    release.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match=message):
        gates.judge(change(), BOUNDS, release)


def test_the_worst_disturbance_is_named(change: Change) -> None:
    gate = judged(change())["accuracy lost when disturbed"]
    assert (gate.value, gate.bound, gate.passed) == ("8.00% (noise at 0 dB)", "<= 15.00%", True)
    cases = [{"name": "telephone", "difference": -0.2}, {"name": "gain", "difference": 0.01}]
    assert failed(change("model/evaluation.json", robustness={"cases": cases})) == ["accuracy lost when disturbed"]


def test_what_is_no_keyword_has_a_bound_of_its_own(change: Change) -> None:
    other = {"_unknown_": {**EVALUATION["per_class"]["up"], "recall": 0.65}}  # type: ignore[index]
    folder = change("model/evaluation.json", per_class=other)
    assert failed(folder) == []
    assert failed(folder, min_rejection=0.7) == ["recall of _unknown_"]


def test_a_known_vulnerability_is_named(change: Change) -> None:
    found = [{"id": "CVE-1", "package": "flask"}]
    gate = judged(change("image/audit.json", {"vulnerabilities": found}))["known vulnerabilities"]
    assert (gate.value, gate.passed) == ("1: CVE-1 in flask", False)
    assert failed(change("image/audit.json", {"vulnerabilities": []})) == []


@pytest.mark.parametrize(
    ("licence", "held"),
    [
        ({"license": {"id": "AGPL-3.0-only"}}, False),
        ({"license": {"name": "AGPL-3.0"}}, False),
        ({"expression": "MIT AND AGPL-3.0-only"}, False),
        ({"expression": "(AGPL-3.0-only) OR SSPL-1.0"}, False),
        ({"expression": "MIT OR AGPL-3.0-only"}, True),
        ({"expression": "LGPL-2.1-or-later"}, True),
    ],
)
def test_denied_licences(change: Change, licence: dict[str, Any], held: bool) -> None:
    gate = judged(change("image/sbom.cdx.json", {"components": [{"name": "it", "licenses": [licence]}]}))["licences"]
    assert gate.passed is held
    assert held or gate.value.startswith("it (")


def test_many_failures_of_the_probe_stay_readable(change: Change) -> None:
    wrong = [f"clip {number} was answered wrongly" for number in range(40)]
    folder = change("inference/inference_metrics.json", failures=[*wrong, "the last word"])
    value = judged(folder)["/predict answers"].value
    assert "the last word" in value
    assert value.endswith("38 more")


def test_a_service_that_never_answered(change: Change) -> None:
    folder = change("inference/inference_metrics.json", None)
    assert failed(folder) == ["/predict answers"]
    (folder / "inference" / "error.txt").write_text("exit code 1\nand more\n")
    assert judged(folder)["/predict answers"].value == "the service never answered (exit code 1)"


def test_the_published_image_is_judged_too(change: Change) -> None:
    (change() / "inference" / "published").mkdir()
    assert failed(change()) == ["published /predict answers"]
    change("inference/published/inference_metrics.json", {**PROBE, "p95_ms": 999})
    assert failed(change()) == ["published /predict p95"]


@pytest.mark.parametrize(
    ("file", "keys", "message"),
    [
        ("model/evaluation.json", {"accuracy": None}, "evaluation.json is of another version (KeyError: 'accuracy')"),
        ("model/evaluation.json", {"robustness": None}, "is of another version (KeyError: 'robustness')"),
        ("model/evaluation.json", {"per_class": 3}, "is of another version"),
        ("model/train_metrics.json", {"onnx": None}, "is of another version (KeyError: 'onnx')"),
        ("inference/inference_metrics.json", {"failures": None}, "is of another version"),
        ("inference/start_time.json", {"seconds": None}, "start_time.json is of another version"),
        ("image/image.json", {"size_bytes": None}, "image.json is of another version"),
    ],
)
def test_an_artefact_of_another_version_is_one_clear_line(
    change: Change, file: str, keys: dict[str, Any], message: str
) -> None:
    folder = change(file, **keys)
    done = run("tools.report", folder)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    # What a reader of the artefacts meets says it too.
    assert (folder / "report.md").read_text().startswith("# ❌ artefacts: ")
    assert run("tools.gates", folder).returncode == gates.FAILED


def test_a_missing_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"evaluation\.json cannot be read"):
        gates.judge(tmp_path, BOUNDS)


def run(module: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    # -S and -I: no site-packages, so this is the standard library alone.
    code = f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); runpy.run_module({module!r}, run_name='__main__')"
    command = [sys.executable, "-S", "-I", "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_exit_code_says_the_verdict(change: Change) -> None:
    folder = change("model/evaluation.json", accuracy=0.5)
    line = "gate failed: model accuracy: 50.00%, the bound is >= 85.00%"
    reported = run("tools.report", folder)
    assert (reported.returncode, reported.stderr.splitlines()) == (gates.FAILED, [line])
    done = run("tools.gates", folder)
    assert (done.returncode, done.stderr.splitlines()) == (gates.FAILED, [line])
    assert run("tools.report", folder, "--bounds", "min_accuracy=0.4").returncode == 0
    passed = run("tools.gates", folder)
    assert passed.returncode == 0
    assert "not judged: loss against the last release" in passed.stdout


@pytest.mark.parametrize("content", [None, "{}", '{"gates": []}', '{"gates": [{"name": "x"}]}', "no"])
def test_no_verdict_is_an_error_of_its_own(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "gates.json").write_text(content)
    done = run("tools.gates", tmp_path)
    assert done.returncode == 2
    assert "no verdict" in done.stderr
    assert done.stderr.count("\n") == 1


def test_wrong_bounds_and_no_directory_are_one_line(change: Change, tmp_path: Path) -> None:
    for done in (run("tools.report", change(), "--bounds", "x=1"), run("tools.report", tmp_path / "none")):
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
