"""The page of a run, beside the last release, and the verdict about one archive."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from release.artifacts import IMAGE

from .conftest import ROOT, artifacts, judged, run
from .test_sbom import Layout

FIGURES = {"accuracy": 0.97, "accuracy_interval_95": [0.94, 0.98], "loss": 0.19}
FIGURES |= {"keyword_accuracy": 0.5, "keyword_accuracy_interval_95": [0.45, 0.55]}
RUN = {"model_version": "old", "test_clips_digest": "c1", "settings": {"profile": "best", "seed": 0}, "data": {}}
ALWAYS = [
    "| **up** | 94 | 6 | 0 | 95.00 % |",
    r"| up/a\|b.wav | up | no | 90.00 % |",
    "line [0.52, 0.91]",
    "- synthetic voices: the data set has such voices itself",
    "- 9 clips were left out",
    "counted in 0.74 h of speech: at most 6.4 an hour",
    "- not signed: there was no key",
    "vulnerabilities of python 3.13: OSV is asked for Python and Debian alone",
    "published /predict accuracy, published /predict p95",
]
BESIDE = [
    "| test accuracy | 95.00 % | 97.00 % | -2.00 points (-6.12 to +1.61) |",  # noise is no news
    "| keywords heard | 95.00 % | 50.00 % | +45.00 points (+38.60 to +50.39, **more than chance**) |",
    "| settings.profile | best | quick |",
]
LASTS: list[tuple[Any, list[str]]] = [
    (None, ["No last release to compare with: none was given."]),
    ({"figures": FIGURES, "run": RUN}, [*BESIDE, "Both were measured on the same test clips."]),
    # REVIEW 32: as many clips of the same data, but not the same clips
    ({"figures": FIGURES, "run": RUN | {"test_clips_digest": "c2"}}, [*BESIDE, "was measured on other test clips"]),
]


@pytest.mark.parametrize(("last", "beside"), LASTS)
def test_the_page_a_reviewer_wants(tmp_path: Path, last: Any, beside: list[str]) -> None:
    (tmp_path / "last.json").write_text(json.dumps(last))
    told = ["--not-proven", "not signed: there was no key", *(["--last", tmp_path / "last.json"] if last else [])]
    judged(artifacts(tmp_path), *told, published="")
    page = (tmp_path / "report.md").read_text()
    assert [said for said in (*ALWAYS, *beside) if said not in page] == []
    assert "settings.seed" not in page


def test_a_release_is_what_the_next_compares_with(tmp_path: Path) -> None:
    judged(artifacts(tmp_path))
    judged(tmp_path, "--last", tmp_path / "gates.json")
    assert "Settings and data are those of the last release." in (tmp_path / "report.md").read_text()


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_a_failed_training_takes_no_former_model_away(tmp_path: Path) -> None:
    """By the Makefile, twice: what the run before left is kept: once a model, then a log alone."""
    root = artifacts(tmp_path, {"model/model.onnx": "good", "model.log": "error: no"})
    for _ in range(2):
        command = ["make", "failed", f"ARTIFACTS={root}", f"BIN={Path(sys.executable).parent}", "PYTHON=true"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, "error: no" in done.stdout) == (2, True), done.stderr
        assert (root / "model.before/model.onnx").read_text() == "good"
        assert [path.name for path in (root / "model").iterdir()] == ["train.log"]
    refused = subprocess.run(["make", "clean", "ARTIFACTS=a b"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (refused.returncode, "ARTIFACTS='a b' is not one path" in refused.stderr) == (2, True)


def test_a_verdict_is_about_one_archive(tmp_path: Path) -> None:
    """REVIEW 5, 36: what is released was judged, as this very archive, with model, image and /predict."""
    layout = Layout()
    root = layout.image("amd64")
    archive, other = layout.write(tmp_path / "image.tar", root), layout.write(tmp_path / "b", layout.image("arm64"))
    judged(artifacts(tmp_path, {IMAGE: {"digest": root["digest"]}}), published="")
    assert [run("verdict", tmp_path, "--archive", path)[0] for path in (archive, other)] == [0, 3]
    judged(tmp_path, "--without", "inference", published="")
    code, _, said = run("verdict", tmp_path, "--archive", archive)
    assert code == 3
    assert "failed: inference: not part of this run, and nothing is released without" in said.splitlines()
