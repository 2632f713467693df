"""``evaluate``: the same figures on the same clips as the training's own, whatever the training's options were."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kws.detection import DEFAULT_THRESHOLD
from kws.model_file import open_model
from model import export
from model.evaluation.clips import UNSEEN

from .conftest import QUICK, Cli, done, one_line, tone_files, write_files


def judge(main: Cli, model: Path, dataset: Path, output: Path, *options: str) -> dict[str, Any]:
    done(main("evaluate", model, "--dataset", dataset, "--output", output, "--stream-hours", "0", *options))
    found: dict[str, Any] = json.loads((output / "evaluation.json").read_text())
    return found


@pytest.mark.parametrize(
    "options",
    [("--unseen-words", "none"), ("--unseen-words", "cat"), ("--unknown-share", "0.25", "--silence-share", "2")],
)
def test_it_finds_what_training_found(main: Cli, tones: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    arguments = ("--dataset", tones, "--output", tmp_path / "model", "--epochs", "1", *options)
    done(main("train", *QUICK, *arguments))
    then = json.loads((tmp_path / "model/evaluation.json").read_text())
    now = judge(main, tmp_path / "model/model.onnx", tones, tmp_path / "out")
    assert now == then
    missing = {"none": "no word was held back from training"}.get(options[1])
    assert (now["not_measured"].get(UNSEEN), UNSEEN in now["operating"]["false_accepts"]) == (missing, not missing)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"evaluation.json", "report.md", "plots"}


def test_other_data_need_not_have_the_words_that_were_held_back(main: Cli, trained: Path, tmp_path: Path) -> None:
    model = trained / "model.onnx"
    assert json.loads(open_model(model).info.metadata["unseen_words"])
    found = judge(main, model, write_files(tmp_path / "own", tone_files(("low", "high"))), tmp_path / "out")
    assert found["not_measured"][UNSEEN] == "the data set has no other words"
    line = one_line(main("evaluate", model, "--dataset", tmp_path / "own", "--unseen-words", "cow"))
    assert "the data set has no other word 'cow'" in line
    assert "--threads -1 is out of range; give 0 to" in one_line(main("evaluate", model, "--threads", "-1"))


def test_a_model_without_the_classes_and_a_threshold_is_judged_by_the_defaults_it_is_served_by(
    main: Cli, trained: Path, tones: Path, tmp_path: Path
) -> None:
    said = {
        name: value
        for name, value in open_model(trained / "model.onnx").info.metadata.items()
        if name in ("labels", "sample_rate", "clip_samples", "model_version")
    }
    bare = tmp_path / "bare.onnx"
    bare.write_bytes(export.with_metadata((trained / "model.onnx").read_bytes(), said))
    found = judge(main, bare, tones, tmp_path / "out")
    assert found["operating"]["threshold"] == open_model(bare).info.threshold == DEFAULT_THRESHOLD
    assert found["not_measured"]["parity"] == "no checkpoint was given"


def test_another_model_s_checkpoint_is_refused(main: Cli, trained: Path, tones: Path, tmp_path: Path) -> None:
    checkpoint = export.load_checkpoint(trained / "best_model.pth")
    with export.torch.no_grad():
        checkpoint.network.classifier.bias[0] += 1e-6
    (tmp_path / "best_model.pth").write_bytes(checkpoint.to_bytes())
    shutil.copy(trained / "model.onnx", tmp_path)
    for arguments in (
        (trained / "model.onnx", "--checkpoint", tmp_path / "best_model.pth"),
        (tmp_path / "model.onnx",),
    ):
        line = one_line(main("evaluate", *arguments, "--dataset", tones, "--output", tmp_path / "out"))
        assert "is not what the model was exported from; give --checkpoint its own" in line
    assert not (tmp_path / "out").exists()
