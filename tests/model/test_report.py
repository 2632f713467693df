"""The report and the model card: what they say of an evaluation, and what they must not."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model import evaluation, report
from model.data.speech import Speech
from model.report import model_card, training_report
from model.settings import Settings

from .stand_ins import ToneModel, corpus

Evaluated = Callable[..., dict[str, Any]]

METRICS: dict[str, Any] = {
    "epochs": 2,
    "best_epoch": 2,
    "best_val_acc": 0.9,
    "best_val_loss": 0.3,
    "training_time_sec": 12.0,
    "parameters": 72_774,
    "revision": "",
    "size_bytes": 450_000,
    "settings": {"profile": "quick", "seed": 0, "labels": ["low", "high"]},
    "versions": {"torch": "2.13.0"},
    "read": {"training": {"read": 9, "padded": 1, "cut": 0, "silent": 0, "broken": 1,
                          "broken_clips": {"low/a|b.wav": "no samples"}}},
    "history": [{"epoch": n, "train_loss": 1 / n, "val_loss": 1 / n, "train_acc": 0.5, "val_acc": 0.5} for n in (1, 2)],
}  # fmt: skip


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> Evaluated:
    def run(speakers: int = 0, **changes: Any) -> dict[str, Any]:
        leaks = {"speakers": speakers, "recordings": 0, "examples": ["anna"] * speakers}
        monkeypatch.setattr(evaluation.check, "leaks", lambda _: leaks)
        monkeypatch.setattr(evaluation, "_voices", lambda *_: None)
        model: Any = ToneModel()
        return evaluation.evaluate(model, corpus(**changes), Settings())

    return run


def test_a_training_leaves_report_card_and_plots(evaluated: Evaluated, speech: Speech, tmp_path: Path) -> None:
    found = evaluated(speech=speech)
    report.write(tmp_path, found, METRICS)
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# Training report\n\n**100.0 % of 17 test clips right** (95 % interval ")
    pictures = re.findall(r"\(plots/(.*?)\)", text)
    assert sorted(pictures) == ["curves.svg", "running.svg"]
    assert "**Left listening, it misses 0.0 % of the commands** (95 % interval 0.0 to 24.2 %)" in text
    for picture in pictures:
        drawn = (tmp_path / "plots" / picture).read_text()
        assert drawn.startswith("<?xml")
        assert 'fill="#ffffff"' not in drawn  # transparent: the page's own background
    for case in found["robustness"]["cases"]:
        assert f"| {case['name']} | {100 * case['accuracy']:.1f} % | {100 * case['difference']:+.1f} |" in text
    assert "**100.0 % as they are**" in text
    assert (
        "| | low | high | _unknown_ | _silence_ |\n| --- | ---: | ---: | ---: | ---: |\n| low | 6 | 0 | 0 | 0 |" in text
    )
    assert "| clips | low | high | _unknown_ | _silence_ | unknown words |" in text
    assert "| training | 6 | 6 | 3 | 2 | 1 |" in text
    assert "Held back from training, to test on: tree." in text
    assert r"- Broken: low/a\|b.wav (no samples)" in text
    assert (tmp_path / "model_card.md").read_text().startswith("---\nlanguage: en\nlicense: mit\n")
    (tmp_path / "alone").mkdir()
    speech.negatives = speech.without["testing"]
    report.write(tmp_path / "alone", evaluated(speech=speech))
    text = (tmp_path / "alone/report.md").read_text()
    assert text.startswith("# Evaluation report\n")
    assert ("| training |" in text, "curves.svg" in text) == (False, False)
    assert "| testing-a.wav | 0.2 | – | 0 |" in text  # alarms: of an evaluation alone none are known before
    assert not (tmp_path / "alone/model_card.md").exists()


def test_every_table_has_the_columns_of_its_header_and_mistakes_are_named(evaluated: Evaluated, speech: Speech) -> None:
    found = evaluated(speech=speech)
    mistake = {"label": "low", "prediction": "high", "probability": 0.9}
    found["mistakes"] = [{"clip": f"low/{number}.wav", **mistake} for number in range(20)]
    text = training_report.render(found, METRICS, {})
    assert ("| low/0.wav | low | high | 90.0 % |" in text, "low/15.wav" in text) == (True, False)
    assert "… and 5 more in `evaluation.json`." in text
    for text in (training_report.render(found, METRICS, {"curves": "C"}), model_card.render(found, METRICS)):
        assert "\n\n\n" not in text
        tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
        assert len(tables) > 1
        for table in tables:
            rows = [re.sub(r"\\\|", "", row).count("|") for row in table.splitlines()]
            assert len(set(rows)) == 1, table
            assert re.fullmatch(r"\|( -+:? \|)+", table.splitlines()[1]), table


@pytest.mark.parametrize(
    ("speakers", "changes", "first", "apart"),
    [
        (2, {}, "Leak: 2 speakers and 0 recordings are in two splits (anna, anna): the test", False),
        (0, {"speakers_known": False}, "Speakers are not known", False),
        (0, {"synthetic": False, "licence": ""}, "The licence of the data is not stated", True),
    ],
)
def test_what_is_wrong_with_the_data_stands_first_and_the_card_claims_nothing_else(
    evaluated: Evaluated, speakers: int, changes: dict[str, Any], first: str, apart: bool
) -> None:
    found = evaluated(speakers, **changes)
    text, card = training_report.render(found, METRICS, {}), model_card.render(found, METRICS)
    assert text.splitlines()[4].startswith(f"- ⚠️ {first}")
    assert f"- {first}" in card.partition("## Limits")[2]
    assert ("no speaker is in two splits" in card) == apart
    assert ("not stated" in card.partition("## Data")[2].partition("##")[0]) == (not found["data"]["licence"])


def test_the_card_names_licence_and_words_that_are_taken_for_a_keyword(evaluated: Evaluated) -> None:
    found = evaluated()
    found["data"] |= {"licence": 'own: "ours"', "source": "Speech Commands v0.02"}
    share = {"count": 9, "clips": 10, "share": 0.9, "interval_95": [0.6, 0.98]}
    found["operating"]["unseen_words"] = {"tree": share, "sea": {**share, "share": 0.01}}
    for number, case in enumerate(found["robustness"]["cases"]):
        case["accuracy"] = 0.25 if number == 3 else 0.5
    _, front, body = model_card.render(found, METRICS).split("---\n", 2)
    lines = front.splitlines()
    assert "license: other" in lines
    assert r'license_name: "own: \"ours\""' in lines
    assert "datasets: [google/speech_commands]" in lines
    assert f"      value: {found['accuracy']:.4f}" in lines
    assert "often takes for a keyword: tree (90.0 %)." in body
    assert f"{found['robustness']['cases'][3]['name']} costs most: 25.0 %" in body
    for section in ("Intended use", "Data", "Figures", "Limits", "How it was made"):
        assert f"\n## {section}\n" in body
