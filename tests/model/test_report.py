"""The report and the model card: what they say of an evaluation, and what they must not."""

import re
from pathlib import Path
from typing import Any

import pytest

from model.report import model_card, training_report

from .conftest import judge, read


@pytest.fixture
def found(trained: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The evaluation and the metrics of a run, to be changed."""
    evaluation, metrics = read(trained, "evaluation.json", "train_metrics.json")
    evaluation["data"] |= {"leaks": {"speakers": 0, "recordings": 0, "examples": []}, "licence": "MIT"}
    return evaluation, metrics


def test_a_training_leaves_report_card_and_plots(trained: Path, tones: Path, shared: Path, tmp_path: Path) -> None:
    evaluation = read(trained, "evaluation.json")
    judge(trained / "model.onnx", tones, tmp_path / "alone", "--negatives", shared / "rooms")
    text, alone = ((folder / "report.md").read_text() for folder in (trained, tmp_path / "alone"))
    share = f"**{100 * evaluation['accuracy']:.1f} % of {evaluation['n']} test clips right** (95 % interval "
    assert text.startswith(f"# Training report\n\n{share}")
    assert alone.startswith(f"# Evaluation report\n\n{share}")
    pictures = re.findall(r"\((plots/.*?)\)", text)
    assert sorted(pictures) == ["plots/curves.svg", "plots/running.svg"]
    assert all((trained / picture).read_text().startswith("<?xml") for picture in pictures)
    for case in evaluation["robustness"]["cases"]:
        assert f"| {case['name']} | {100 * case['accuracy']:.1f} % | {100 * case['difference']:+.1f} |" in text
    (alarms,) = evaluation["negatives"]
    assert f"| kitchen.wav | 0.1 | {alarms['before']} | {alarms['alarms']} |" in text
    assert f"| kitchen.wav | 0.1 | – | {alarms['alarms']} |" in alone  # none are known from before
    numbers = " | ".join(map(str, evaluation["clips"]["training"].values()))
    assert (f"| training | {numbers} |" in text, "| training |" in alone) == (True, False)
    assert "**Left listening, it misses " in text
    assert (trained / "model_card.md").read_text().startswith("---\nlanguage: en\nlicense: cc0-1.0\n")
    assert not (tmp_path / "alone/model_card.md").exists()


def test_every_table_has_the_columns_of_its_header_and_mistakes_are_named(found: Any) -> None:
    evaluation, metrics = found
    mistake = {"label": "low", "prediction": "high", "probability": 0.9}
    evaluation["mistakes"] = [{"clip": f"low/{number}.wav", **mistake} for number in range(20)]
    metrics["read"]["training"]["broken_clips"] = {"low/a|b.wav": "no samples"}
    text = training_report.render(evaluation, metrics, {"curves": "C"})
    assert ("| low/0.wav | low | high | 90.0 % |" in text, "low/15.wav" in text) == (True, False)
    assert "… and 5 more in `evaluation.json`." in text
    assert r"- Broken: low/a\|b.wav (no samples)" in text
    for page in (text, model_card.render(evaluation, metrics)):
        assert "\n\n\n" not in page
        tables = re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE)
        assert len(tables) > 1
        for table in tables:
            rows = [re.sub(r"\\\|", "", row).count("|") for row in table.splitlines()]
            assert len(set(rows)) == 1, table
            assert re.fullmatch(r"\|( -+:? \|)+", table.splitlines()[1]), table


LEAK = {"leaks": {"speakers": 2, "recordings": 0, "examples": []}}


@pytest.mark.parametrize(
    ("changes", "apart"), [(LEAK, False), ({"speakers_known": False}, False), ({"licence": ""}, True)]
)
def test_what_is_wrong_stands_first_and_the_card_claims_nothing_else(found: Any, changes: Any, apart: bool) -> None:
    evaluation, metrics = found
    evaluation["data"] |= changes
    evaluation["caveats"] = ["This is wrong with it."]
    text, card = training_report.render(evaluation, metrics, {}), model_card.render(evaluation, metrics)
    first = 4 + 2 * (evaluation["running_audio"] is not None)
    assert text.splitlines()[first] == "- ⚠️ This is wrong with it."
    assert "- This is wrong with it." in card.partition("## Limits")[2]
    assert ("no speaker is in two splits" in card) == apart
    assert ("not stated" in card.partition("## Data")[2].partition("##")[0]) == (not evaluation["data"]["licence"])


def test_the_card_names_licence_and_words_that_are_taken_for_a_keyword(found: Any) -> None:
    evaluation, metrics = found
    evaluation["data"] |= {"licence": 'own: "ours"', "source": "Speech Commands v0.02"}
    share = {"count": 9, "clips": 10, "share": 0.9, "interval_95": [0.6, 0.98]}
    evaluation["operating"]["other_words"] = {"tree": share, "sea": {**share, "share": 0.01}}
    case = evaluation["robustness"]["cases"][3]
    case["accuracy"] = -1.0
    _, front, body = model_card.render(evaluation, metrics).split("---\n", 2)
    lines = front.splitlines()
    assert {"license: other", r'license_name: "own: \"ours\""', "datasets: [google/speech_commands]"} < {*lines}
    assert f"      value: {evaluation['accuracy']:.4f}" in lines
    assert "often takes for a keyword: tree (90.0 %)." in body
    assert f"{case['name']} costs most: -100.0 %" in body
