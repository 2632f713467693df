"""The whole way on real recordings, with the figures that the project promises of its quick profile."""

import json
from pathlib import Path

import onnxruntime
import pytest

from model import dataset
from model.data.layout import EVERY_WORD, scan
from model.data.source import CC_BY, from_path
from model.settings import LABELS, make_settings

from .conftest import Cli

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def artefacts(speech_commands: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("real") / "model"
    result = cli("train", "--dataset", speech_commands, "--output", output, "--profile", "quick")
    assert result.returncode == 0, result.stderr
    return output


def test_the_quick_profile_is_accurate(artefacts: Path) -> None:
    metrics = json.loads((artefacts / "train_metrics.json").read_text())
    evaluation = json.loads((artefacts / "evaluation.json").read_text())
    assert metrics["data"]["labels"] == [*LABELS, "_unknown_", "_silence_"]
    assert metrics["data"]["unseen_words"] == ["five", "go", "happy", "left", "stop", "wow"]
    assert sum(evaluation["per_class"][label]["clips"] for label in LABELS) == 183
    assert metrics["best_val_acc"] >= 0.94
    assert evaluation["accuracy"] >= 0.88  # one seed on a few hundred clips: points below the usual
    assert metrics["data"]["splits"]["training"]["padded"] == 401
    assert metrics["data"]["splits"]["testing"]["silent"] == 4
    assert metrics["data"]["licence"] == CC_BY


def test_the_exported_model_has_the_accuracy_that_is_reported(artefacts: Path, speech_commands: Path) -> None:
    words = (*LABELS, EVERY_WORD)
    layout = scan(from_path(speech_commands, words).root, words)
    corpus = dataset.load(layout, make_settings("quick"))
    session = onnxruntime.InferenceSession(artefacts / "model.onnx", providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(None, {"waveform": corpus.waveforms("testing")})
    correct = int((probabilities.argmax(axis=1) == corpus.splits["testing"].targets.numpy()).sum())
    evaluation = json.loads((artefacts / "evaluation.json").read_text())
    assert correct == evaluation["correct"]
