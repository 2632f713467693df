"""The command line: files, exit codes, and the page of a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from release.__main__ import main

from .conftest import DIGEST, FILES, PUBLISHED, ROOT, Change, contents
from .test_sbom import Layout
from .test_tags import SLSA, line

Run = Any


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("judge", folder)`` → exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["release", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    monkeypatch.chdir(ROOT)
    return call


def test_a_run_that_holds(run: Run, change: Change, tmp_path: Path) -> None:
    folder = change()
    assert run("judge", folder, "--published", PUBLISHED) == (0, f"{folder / 'report.md'}\n", "")
    verdict = json.loads((folder / "gates.json").read_text())
    assert verdict["passed"] is True
    assert {gate["verdict"] for gate in verdict["gates"]} == {"held", "not part of this run"}
    licences = json.loads((folder / "image/licences.json").read_text())["components"]
    assert [(one["name"], one["verdict"]) for one in licences] == [("flask", "allowed"), ("packaging", "allowed")]
    assert run("verdict", folder)[0] == 0
    # It is what the next release compares with.
    (tmp_path / "last.json").write_text(json.dumps(verdict))
    assert run("judge", folder, "--published", PUBLISHED, "--last", tmp_path / "last.json")[0] == 0
    assert "Settings and data are those of the last release." in (folder / "report.md").read_text()


def test_a_gate_that_failed(run: Run, change: Change) -> None:
    folder = change("model/evaluation.json", accuracy=0.5)
    code, _, said = run("judge", folder, "--published", PUBLISHED)
    assert (code, said) == (3, "failed: test accuracy: 50.00 %, the bound is ≥ 85.00 %\n")
    assert (folder / "report.md").read_text().startswith("# ❌ test accuracy: 50.00 %, the bound is ≥ 85.00 %\n")
    assert run("verdict", folder) == (3, "", "failed: test accuracy: 50.00 %\n")
    assert run("judge", folder, "--published", PUBLISHED, "--bound", "min_accuracy=0.4")[0] == 0


def test_bounds_are_named_before_any_work(run: Run) -> None:
    assert json.loads(run("bounds", "--bound", "max_p95_ms=false")[1])["max_p95_ms"] is False
    code, _, said = run("bounds", "--bound", "max_p95=1")
    assert (code, said.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    "verdict",
    [
        {},
        {"passed": True},
        {"passed": True, "gates": []},
        {"passed": True, "gates": [{"name": "x", "value": "1", "verdict": "failed"}]},
        {"passed": True, "gates": [{"name": "x", "value": "1"}]},
        {"passed": True, "gates": [{"name": "x", "value": "1", "verdict": "unheard of"}]},
        {"passed": True, "gates": ["x"]},
        {"passed": False, "gates": [{"name": "x", "value": "1", "verdict": "held"}]},
        {"gates": [{"name": "x", "value": "1", "verdict": "held"}]},
    ],
)
def test_no_other_file_is_a_verdict(run: Run, tmp_path: Path, verdict: Any) -> None:
    (tmp_path / "gates.json").write_text(json.dumps(verdict))
    code, _, said = run("verdict", tmp_path)
    assert code in (2, 3)
    assert said


def test_a_verdict_is_about_one_archive(run: Run, change: Change, tmp_path: Path) -> None:
    layout = Layout()
    root = layout.image("amd64")
    archive = layout.write(tmp_path / "image.tar", root)
    folder = change("image/image.json", digest=root["digest"])
    run("judge", folder)
    assert run("verdict", folder, "--archive", archive)[0] == 0
    run("judge", folder, "--without", "start")
    code, _, said = run("verdict", folder, "--archive", archive)
    assert (code, said) == (3, "failed: start-up: not part of this run, and nothing is released without\n")
    other = layout.write(tmp_path / "other.tar", layout.image("arm64"))
    assert run("verdict", folder, "--archive", other)[0] == 3


def test_of_several_platforms_the_tested_one_is_named(run: Run, tmp_path: Path) -> None:
    layout = Layout()
    root = layout.add({"manifests": [layout.image("amd64"), layout.image("arm64")]})
    archive = layout.write(tmp_path / "image.tar", root)
    code, _, said = run("sbom", archive, "--output", tmp_path)
    assert (code, "linux/amd64, linux/arm64: name by --platform" in said) == (2, True)


def test_what_could_not_be_asked_is_written_down(run: Run, change: Change) -> None:
    folder = change("image/sbom.cdx.json", {"components": []})
    code, _, said = run("vulnerabilities", folder / "image/sbom.cdx.json", "--output", folder / "image/osv.json")
    assert (code, said.count("\n")) == (2, 1)
    run("judge", folder)
    assert "known vulnerabilities: not measured (the SBOM lists no" in (folder / "report.md").read_text().replace(
        "\\", ""
    )


def test_an_attestation_is_there_or_not(run: Run, tmp_path: Path) -> None:
    found, same, other = (tmp_path / name for name in ("found", "same.json", "other.json"))
    found.write_text(line(SLSA, {"a": 1}))
    same.write_text('{"a": 1}')
    other.write_text('{"a": 2}')
    asked = ("attestation", found, "--type", "slsaprovenance1", "--digest", DIGEST)
    assert run(*asked, "--output", tmp_path / "predicate.json")[0] == 0
    assert json.loads((tmp_path / "predicate.json").read_text()) == {"a": 1}
    assert run(*asked, "--equals", same)[0] == 0
    assert run(*asked, "--equals", other)[0] == 3
    found.write_text("")
    assert run(*asked)[0] == 3


def test_tags_notes_and_provenance(run: Run, change: Change, tmp_path: Path) -> None:
    assert run("tags", "--revision", "0123abc", "--branch", "main") == (0, "0123abc\nmain\nlatest\n", "")
    assert run("tags")[0] == 2
    assert run("notes", ROOT / "CHANGELOG.md", "--tag", "v999")[0] == 2
    image = change() / "image/image.json"
    written = tmp_path / "slsa.json"
    assert run("provenance", image, "--builder", "me", "--parameter", "a=b", "--output", written)[0] == 0
    assert json.loads(written.read_text())["buildDefinition"]["externalParameters"] == {"a": "b"}


def test_bad_input_is_one_line(run: Run, tmp_path: Path) -> None:
    for arguments in (
        ("judge", tmp_path, "--last", tmp_path / "nowhere"),
        ("judge", tmp_path, "--gates", tmp_path / "nowhere"),
        ("sbom", tmp_path / "nowhere", "--output", tmp_path),
        ("notes", tmp_path / "nowhere", "--tag", "v1"),
    ):
        code, _, said = run(*arguments)
        assert (code, said.count("\n")) == (2, 1), arguments


LAST = {
    "figures": {"accuracy": 0.97, "accuracy_interval_95": [0.94, 0.98], "loss": 0.19, "keyword_accuracy": 0.5}
    | {"keyword_accuracy_interval_95": [0.45, 0.55]},
    "run": {"model_version": "old", "test_clips_digest": "c1", "settings": {"profile": "best", "seed": 0}, "data": {}},
}


def test_the_page_a_reviewer_wants(run: Run, change: Change, tmp_path: Path) -> None:
    folder = change()
    (tmp_path / "last.json").write_text(json.dumps(LAST))
    run("judge", folder, "--last", tmp_path / "last.json", "--not-proven", "not signed: there was no key")
    page = (folder / "report.md").read_text()
    for said in (
        "| test accuracy | 95.00 % | 97.00 % | -2.00 points (-6.12 to +1.61) |",  # noise is no news
        "| keywords heard | 95.00 % | 50.00 % | +45.00 points (+38.60 to +50.39, **more than chance**) |",
        "| settings.profile | best | quick |",
        "| **up** | 94 | 6 | 0 | 95.00 % |",
        r"| up/a\|b.wav | up | no | 90.00 % |",
        "line [52.0, 91.0]",
        "- running audio: 0 hours were asked for",
        "- 9 clips were left out",
        "- not signed: there was no key",
        "vulnerabilities of python 3.13: OSV is asked for Python and Debian alone",
        "Not part of this run: published /predict accuracy",
    ):
        assert said in page, said
    assert "settings.seed" not in page


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content", [None, "{", "{}", '{"counts": 1, "labels": 2, "history": 3, "mistakes": 4, "size_bytes": "x"}']
)
def test_the_page_of_a_broken_run_says_so(run: Run, change: Change, name: str, content: str | None) -> None:
    folder = change(name, content)
    assert run("judge", folder, "--published", PUBLISHED)[0] == 3
    assert (folder / "report.md").read_text().startswith("# ❌ ")


def test_the_page_fits_into_a_comment(run: Run, change: Change) -> None:
    words = [f"word{number}" * 3 for number in range(40)]
    evaluation = contents("model/evaluation.json")
    classes = dict.fromkeys(words, evaluation["per_class"]["up"])
    matrix = [[1000] * len(words)] * len(words)
    mistakes = [{"clip": "x" * 300, "label": "up", "prediction": "no", "probability": 1}] * 500
    folder = change(
        "model/evaluation.json", labels=words, per_class=classes, confusion_matrix=matrix, mistakes=mistakes
    )
    holes = [{"id": "CVE-1", "package": "p", "version": "1", "fixed": []}] * 500
    change("image/osv.json", unfixed=holes)
    change("inference/inference_metrics.json", failures=["wrong" * 20] * 500)
    run("judge", folder)
    assert len((folder / "report.md").read_text()) < 60_000
