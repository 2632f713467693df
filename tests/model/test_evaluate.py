"""``evaluate``: the same figures as the training run's, gates with exit code 3, and the report."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from model import export

from .conftest import Cli, one_line


@pytest.fixture(scope="module")
def evaluated(cli: Cli, trained: Path, spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("evaluated") / "evaluation"
    result = cli("evaluate", trained / "model.onnx", "--dataset", spoken, "--output", output, "--hours", "0.02")
    assert result.returncode == 0, result.stderr
    return output


def read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "evaluation.json").read_text())
    return content


def test_it_finds_what_training_found(trained: Path, evaluated: Path) -> None:
    then, now = read(trained), read(evaluated)
    for key in ("accuracy", "keyword_accuracy", "confusion_matrix", "operating", "robustness", "calibration"):
        assert now[key] == then[key], key
    assert now["streaming"]["rule"] == then["streaming"]["rule"]
    assert now["model_version"] == then["model_version"]
    assert now["data"]["licence"] == "CC0 1.0"
    assert now["parity"]["other_answers"] == 0
    assert [gate["passed"] for gate in now["gates"]] == [True, True]  # parity, for the weights are beside the model


@pytest.mark.parametrize("folder", ["trained", "evaluated"])
def test_the_report_has_its_pictures_and_figures(folder: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(folder)
    report, evaluation = (path / "report.md").read_text(), read(path)
    pictures = re.findall(r"\(plots/(.*?)\)", report)
    assert {"confusion.svg", "operating.svg", "reliability.svg", "robustness.svg", "streaming.svg"} <= set(pictures)
    assert ("curves.svg" in pictures) == (folder == "trained")
    for picture in pictures:
        text = (path / "plots" / picture).read_text()
        assert text.startswith("<?xml")
        assert 'fill="#ffffff"' not in text  # transparent: the page's own background
    for case in evaluation["robustness"]["cases"]:
        assert f"| {case['name']} | {100 * case['accuracy']:.1f} % |" in report
    for mistake in evaluation["mistakes"][:3]:
        assert mistake["clip"] in report


def test_the_model_card_is_filled_in_from_the_run(trained: Path) -> None:
    card, evaluation = (trained / "model_card.md").read_text(), read(trained)
    _, front, body = card.split("---\n", 2)
    assert "license: cc0-1.0\n" in front
    assert f"value: {evaluation['accuracy']:.4f}\n" in front
    assert evaluation["model_version"] in body
    assert "CC0 1.0" in body
    for section in ("Intended use", "Data", "Figures", "Limits"):
        assert f"\n## {section}\n" in body


def test_a_failed_gate_is_code_3_with_a_line_each_and_the_files_stay(
    main: Cli, trained: Path, spoken: Path, tmp_path: Path
) -> None:
    baseline = tmp_path / "former.json"
    baseline.write_text(json.dumps({"accuracy": 2.0, "loss": 0.0}))
    result = main(
        *("evaluate", trained / "model.onnx", "--dataset", spoken, "--output", tmp_path / "out", "--hours", "0"),
        *("--min-accuracy", "0", "--min-accuracy-lower", "1", "--baseline", baseline, "--max-accuracy-drop", "0.01"),
    )
    assert result.returncode == 3
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("gate failed: accuracy, lower end of the 95 % interval: ")
    assert lines[0].endswith(", the bound is >= 100.00 %")
    assert lines[1].startswith("gate failed: accuracy against the baseline: -")
    gates = {gate["name"]: gate["passed"] for gate in read(tmp_path / "out")["gates"]}
    assert gates["accuracy"] is True
    assert gates["accuracy against the baseline"] is False
    report = (tmp_path / "out/report.md").read_text()
    assert report.splitlines()[2].startswith("- ❌ **accuracy, lower end of the 95 % interval**")
    assert "Not measured: running audio (0 hours were asked for)." in report


def test_other_weights_fail_parity(main: Cli, trained: Path, spoken: Path, tmp_path: Path) -> None:
    checkpoint = export.load_checkpoint(trained / "best_model.pth")
    with torch.no_grad():
        checkpoint.network.classifier.bias[0] += 0.5
    (tmp_path / "other.pth").write_bytes(checkpoint.to_bytes())
    options = ("--dataset", spoken, "--output", tmp_path / "out", "--hours", "0")
    result = main("evaluate", trained / "model.onnx", *options, "--checkpoint", tmp_path / "other.pth")
    assert result.returncode == 3
    assert "gate failed: ONNX against PyTorch: " in result.stderr


def test_what_cannot_be_judged_is_one_line(main: Cli, trained: Path, spoken: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("[]")
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    former = torch.load(trained / "best_model.pth", weights_only=True)
    former["config"]["front_end"]["hop_length"] = 160
    torch.save(former, tmp_path / "former.pth")
    model = trained / "model.onnx"
    for arguments, message in (
        ((tmp_path / "none.onnx",), "does not exist; train one"),
        ((model, "--baseline", tmp_path / "none.json"), "--baseline '"),
        ((model, "--baseline", tmp_path / "bad.json"), "is no evaluation; give a former run's evaluation.json"),
        ((model, "--max-loss-increase", "0.1"), "give its --baseline"),
        ((model, "--checkpoint", tmp_path / "bad.pth"), "is none of this trainer ("),
        ((model, "--checkpoint", tmp_path / "former.pth"), "on other features (hop_length 160 there, 256 here); "),
        ((model, "--min-accuracy", "96"), "--min-accuracy"),
    ):
        line = one_line(main("evaluate", *arguments, "--dataset", spoken, "--output", tmp_path / "out"))
        assert message in line
    assert not (tmp_path / "out").exists()
